"""Traits: what is said of a customer, such as a name, a language, a tier; each with its source and time.

A trait is stored under the identity that it was said of and never changed: a customer's traits are the latest of all
its identities. So joining customers and taking them apart again touches no trait, and what was said before stays.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.storage.database import WriteSession


class Trait(NamedTuple):
    """What is said; `value` is JSON in one spelling, None where there is no such trait from then on."""

    name: str
    value: str | None
    occurred_at: datetime
    source: str

    @property
    def digest(self) -> UUID:
        """What tells it from others that are said of the same identity at the same moment."""
        return UUID(ids.statement_digest(self.name, self.value, self.source))


async def insert(
    session: WriteSession, identity_id: UUID, traits: Sequence[Trait], *, received_at: datetime, set_by: str
) -> int:
    """Store what is said of an identity and was not said before; how much that is."""
    # In one order, so that two who say the same at once wait for each other in one direction only.
    rows = sorted(((trait.digest, trait) for trait in traits), key=itemgetter(0))
    new = await session.fetch(
        "INSERT INTO traits (identity_id, digest, name, value, occurred_at, source, received_at, set_by) "
        "SELECT $1, said.*, $7, $8 FROM unnest($2::uuid[], $3::text[], $4::json[], $5::timestamptz[], $6::text[]) "
        "AS said ON CONFLICT DO NOTHING RETURNING digest",
        identity_id,
        [digest for digest, _ in rows],
        [trait.name for _, trait in rows],
        [trait.value for _, trait in rows],
        [trait.occurred_at for _, trait in rows],
        [trait.source for _, trait in rows],
        received_at,
        set_by,
    )
    return len(new)
