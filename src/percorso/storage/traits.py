"""Traits: what is said of a customer, such as a name, a language, a tier; each with its source and time.

A trait is stored under the identity that it was said of and never changed: a customer's traits are the latest of all
its identities. So joining customers and taking them apart again touches no trait, and what was said before stays.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.storage.database import WriteSession

MOST_VALUE_BYTES: Final = 8 * 1024
"""Of a trait's value."""


def spelled(value: Any) -> str | None:
    """A JSON value in the one spelling that it is stored in, None for null; ValueError where that is too long."""
    if value is None:
        return None
    said = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if len(said.encode()) > MOST_VALUE_BYTES:
        raise ValueError(f"must be at most {MOST_VALUE_BYTES} bytes of JSON")
    return said


class Trait(NamedTuple):
    """What is said of an identity; `value` is JSON in one spelling, None where there is no such trait from then on."""

    identity_id: UUID
    name: str
    value: str | None
    occurred_at: datetime
    source: str
    received_at: datetime
    set_by: str

    @property
    def digest(self) -> UUID:
        """What tells it from others that are said of the same identity at the same moment."""
        return UUID(ids.statement_digest(self.name, self.value, self.source))


async def insert(session: WriteSession, traits: Sequence[Trait]) -> int:
    """Store what was not said before; how much that is."""
    # In one order, so that two who say the same at once wait for each other in one direction only.
    keyed = sorted((((each.identity_id, each.occurred_at, each.digest), each) for each in traits), key=itemgetter(0))
    new = await session.fetch(
        "INSERT INTO traits (digest, identity_id, name, value, occurred_at, source, received_at, set_by) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::json[], $5::timestamptz[], $6::text[], "
        "$7::timestamptz[], $8::text[]) ON CONFLICT DO NOTHING RETURNING digest",
        [digest for (_, _, digest), _ in keyed],
        *([getattr(each, name) for _, each in keyed] for name in Trait._fields),
    )
    return len(new)
