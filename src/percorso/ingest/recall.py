"""What a process learns before it meets it: the customers who were active last, and their links.

Who is not known costs a look-up in the group that meets them, and a process that has just started knows no one. The
commit log says who was stored last, so most of those to come are learnt from it, some thousands at a time.
"""

from typing import Final

from asyncpg.pgproto.pgproto import UUID

from percorso.ingest.identity import Identifiers
from percorso.ingest.known import Known
from percorso.storage import commits, epoch, identities
from percorso.storage.database import WriteSession

_STEP: Final = 2_000
"""Identities that are looked up together: a fraction of a second of anyone's time."""
_LOOK_BACK: Final = 4
"""Interactions looked through at most, for each identity there is room for."""


async def recall(session: WriteSession, known: Known, identifiers: Identifiers) -> None:
    """Learn the customers of the latest interactions, and how they are named, as far as `known` has room.

    For the background: it takes as long as the database takes for as many look-ups by key. All is read from one
    snapshot, of one epoch; once `known` has gone on to a later one, nothing more is learnt.
    """
    async with session.transaction(isolation="repeatable_read", readonly=True):
        since = await epoch.current(session)
        active = set[UUID]()
        seen = 0
        async for commit in commits.latest(session):
            seen += len(commit)
            active.update(commit)
            if len(active) < _STEP:
                continue
            if not await _learn(session, known, identifiers, active, since) or seen > known.size * _LOOK_BACK:
                return
            active = set()
        await _learn(session, known, identifiers, active, since)


async def _learn(session: WriteSession, known: Known, identifiers: Identifiers, active: set[UUID], since: int) -> bool:
    """Learn these identities, those linked to them, and the links, as of an epoch; whether to go on."""
    unknown = [identity for identity in active if identity not in known.customers]
    links = await identities.links_of(session, unknown, most=known.size)
    others = {identity for pair in links for identity in pair if identity not in known.customers}
    found = await identities.known_as(session, list(others.union(unknown)))
    # One object stands for an identity wherever it is remembered.
    own = {identity: identity for identity, _, _, _ in found}
    goes_on = known.recall(
        since,
        {identity: own.get(customer, customer) for identity, _, _, customer in found},
        [(own.get(a, a), own.get(b, b)) for a, b in links],
    )
    if goes_on:
        identifiers.recall((identity, kind, value) for identity, kind, value, _ in found)
    return goes_on
