"""What is said of a customer, beside what happened: traits and consents, under the identity that they are said of.

What says something new enters the commit log, so that whatever follows it looks at the customer again.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import UnknownCustomer
from percorso.formats.segment import Call
from percorso.ingest.identity import Identifiers
from percorso.ingest.verdict import Verdict
from percorso.storage import commits, identities, partitions
from percorso.storage import consents as consents_
from percorso.storage import traits as traits_
from percorso.storage.consents import Consent
from percorso.storage.database import WriteSession
from percorso.storage.traits import Trait, spelled


class Told(NamedTuple):
    """By which source traits were said, when that was received, and with which key."""

    source: str
    received_at: datetime
    set_by: str


async def traits(
    session: WriteSession, identity_id: UUID, said: Sequence[Trait], *, at: datetime, generation: int
) -> None:
    """Store traits of an identity, unless the same was said before. Raises UnknownCustomer."""
    await _hold(session, identity_id)
    if await traits_.insert(session, said):
        await _log(session, [identity_id], at, generation)


async def traits_of_several(session: WriteSession, said: Sequence[Trait], *, at: datetime, generation: int) -> None:
    """Store traits of several identities, unless the same was said before; those of whom is gone are passed over."""
    there = await identities.hold_all(session, {each.identity_id for each in said})
    kept = [each for each in said if each.identity_id in there]
    if kept and await traits_.insert(session, kept):
        await _log(session, sorted(there), at, generation)


def traits_of_call(call: Call, verdict: Verdict, told: Told, identifiers: Identifiers) -> Iterator[Trait]:
    """The traits that a call says, of the identity and as of the time that its interaction is stored under.

    Also those of one that was stored before: whoever stored it may not have come to its traits.
    """
    if not call.traits or verdict.status not in {"stored", "duplicate"} or verdict.interaction_id is None:
        return
    identity = identifiers.of(call.customer)[0].id
    occurred_at = ids.from_unix_ms(ids.occurred_ms(verdict.interaction_id.bytes))
    for name, value in call.traits.items():
        try:
            said = spelled(value)
        except ValueError:
            # What is too long for a trait stands in the interaction's attributes all the same.
            continue
        yield Trait(identity, name, said, occurred_at, *told)


async def consents(
    session: WriteSession, identity_id: UUID, said: Sequence[Consent], *, at: datetime, generation: int
) -> None:
    """Store consents of an identity, unless the same was said before. Raises UnknownCustomer."""
    await _hold(session, identity_id)
    if await consents_.insert(session, said):
        await _log(session, [identity_id], at, generation)


async def _hold(session: WriteSession, identity_id: UUID) -> None:
    if not await identities.hold(session, identity_id):
        raise UnknownCustomer("No identifier and no customer id matches.")


async def _log(session: WriteSession, identity_ids: Sequence[UUID], at: datetime, generation: int) -> None:
    await partitions.ensure_days(session, (at,))
    await commits.record(session, generation, "said", at=at, identity_ids=identity_ids)
