"""Tombstones: the salted hashes of identifiers whose persons were erased, by which what is sent of them is refused."""

from collections.abc import Collection

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


class Erased(asyncpg.PostgresError):
    """Someone who was erased is named: the transaction did nothing. `among` says who."""

    sqlstate = "PC002"


async def among(session: WriteSession, identity_ids: Collection[UUID]) -> frozenset[UUID]:
    """Which of these identities were erased. Relies on the primary key."""
    records = await session.fetch(
        "SELECT identity_id FROM erased_identities WHERE identity_id = ANY($1)", list(identity_ids)
    )
    return frozenset(record["identity_id"] for record in records)
