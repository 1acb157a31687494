"""One group commit: rows and rejections in, a verdict on each row out, all of it committed.

The usual case is tried first: COPY into the keys and the interactions. Where a key is stored already the transaction
is rolled back and the group takes the careful path, which finds out of each row whether it is new, a duplicate or a
conflict. A row that Postgres itself refuses is isolated by halving the group; it goes into quarantine, its neighbours
are stored.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from percorso.errors import Problem
from percorso.ingest import quarantine
from percorso.ingest.compare import same
from percorso.ingest.known import Known
from percorso.ingest.verdict import Verdict
from percorso.storage import commits, identities, interactions, partitions, rejected, touchpoints
from percorso.storage.database import WriteSession, limited
from percorso.storage.identities import Identifier, Link
from percorso.storage.interactions import Row, Stored
from percorso.storage.rejected import Rejection

REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""What Postgres raises where a row itself cannot be stored, however often it is tried."""

_CAREFUL_GROUPS: Final = 8
"""After a duplicate, so many groups take the careful path at once: repeated batches come one after the other."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where groups go: a connection, what is known of what lies behind it, and the seconds a transaction may take."""

    session: WriteSession
    known: Known
    generation: int
    seconds: float


async def write(target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], *, again: bool) -> list[Verdict]:
    """Commit a group and give the verdict on each row, in order.

    `again`: an earlier try may have been committed; rows that it stored are recognised and reported as stored.
    """
    known = target.known
    firsts = {row.key: row for row in reversed(rows)}
    own = frozenset(map(id, firsts.values())) if again else frozenset[int]()
    await _prepare(target, rows)
    careful = again or known.careful > 0 or len(firsts) < len(rows)
    try:
        verdicts = await _whole(target, rows, rejections, own, careful=careful)
    except REFUSED:
        # Perhaps for want of a partition, which may have been dropped since it was last looked for.
        known.forget_partitions()
        await _prepare(target, rows)
        verdicts = await _isolate(target, rows, rejections, own)
    if known.careful and not any(verdict.status in {"duplicate", "conflict"} for verdict in verdicts):
        known.careful -= 1
    return verdicts


async def _whole(
    target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], own: Collection[int], *, careful: bool
) -> list[Verdict]:
    """The whole group in one transaction: the quick way, unless `careful` or until a key is found to be stored."""
    if not careful:
        try:
            return await _commit(target, rows, rejections, careful=False)
        except asyncpg.UniqueViolationError:
            target.known.careful = _CAREFUL_GROUPS
    return await _commit(target, rows, rejections, careful=True, own=own)


async def _prepare(target: Target, rows: Sequence[Row]) -> None:
    """Make the partitions and register the touchpoints that a group needs, each in a transaction of its own."""
    session, known = target.session, target.known
    now = datetime.now(UTC)
    if now.date() not in known.days:
        with limited(session, target.seconds):
            await partitions.ensure_days(session, (now, now + timedelta(days=1)))
        known.days = {now.date()}
    for month in sorted(partitions.months_of(row.occurred_ms for row in rows) - known.months):
        with limited(session, target.seconds):
            await partitions.ensure_months(session, (month,))
        known.months.add(month)
    known.make_room()
    new = {row.touchpoint: row.channel for row in rows if row.touchpoint not in known.touchpoints}
    if new:
        with limited(session, target.seconds):
            known.touchpoints.update(await touchpoints.register(session, new))


async def _isolate(
    target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], own: Collection[int]
) -> list[Verdict]:
    """Take the careful path, halving the group where Postgres refuses a row until that row stands alone."""
    try:
        return await _commit(target, rows, rejections, careful=True, own=own)
    except REFUSED as error:
        if rejections:
            await _quarantine(target, rejections)
            return await _isolate(target, rows, (), own)
        if len(rows) == 1:
            return [await _refuse(target, rows[0], error)]
    middle = len(rows) // 2
    return await _isolate(target, rows[:middle], (), own) + await _isolate(target, rows[middle:], (), own)


async def _refuse(target: Target, row: Row, error: asyncpg.PostgresError) -> Verdict:
    """Put a row that Postgres refuses into quarantine, without the values that its message may carry."""
    problems = (Problem("", f"The database refuses it: {error.sqlstate} {type(error).__name__}."),)
    payload = row.document.encode()
    seed = blake2b(payload, key=row.key.bytes, digest_size=10).digest()
    rejection = quarantine.rejection(payload, problems, received_at=row.received_at, keep=len(payload), seed=seed)
    await _quarantine(target, (rejection,))
    return Verdict.rejected(rejection.id, problems)


async def _quarantine(target: Target, rejections: Sequence[Rejection]) -> None:
    """Store rejections apart from any row; of one that Postgres refuses, the payload alone."""
    try:
        await _commit(target, (), rejections, careful=True)
    except REFUSED:
        if len(rejections) > 1:
            for rejection in rejections:
                await _quarantine(target, (rejection,))
        else:
            await _commit(target, (), (quarantine.bare(rejections[0]),), careful=True)


async def _commit(
    target: Target,
    rows: Sequence[Row],
    rejections: Sequence[Rejection],
    *,
    careful: bool,
    own: Collection[int] = (),
) -> list[Verdict]:
    """One transaction. Whatever it locks it locks in the order of keys, and the lock on links comes last.

    `own` are the rows, by `id()`, that an earlier try may have stored.
    """
    session, known = target.session, target.known
    standing: dict[UUID, Stored] = {}
    with limited(session, target.seconds):
        async with session.transaction():
            new = await _new_rows(session, rows) if careful else sorted(rows, key=_key)
            if new:
                if not careful:
                    await interactions.copy_keys(session, new)
                await interactions.copy(session, new, known.touchpoints)
                await _record(target, new)
            if rejections:
                await rejected.insert(session, rejections)
            stored = {id(row) for row in new}
            if len(new) < len(rows):
                standing = await interactions.stored_under(session, [row.key for row in rows if id(row) not in stored])
            customers, links = await _identify(session, known, new, standing.values())
    known.learn(customers, links)
    if not standing:
        return [_stored(row, customers[row.identifiers[0].id]) for row in rows]
    return [
        _stored(row, customers[row.identifiers[0].id])
        if id(row) in stored or (id(row) in own and _is_own(row, standing[row.key]))
        else _repeated(row, standing[row.key], customers)
        for row in rows
    ]


async def _record(target: Target, new: Sequence[Row]) -> None:
    await commits.record(
        target.session,
        target.generation,
        "stored",
        at=datetime.now(UTC),
        occurred_ms=[row.occurred_ms for row in new],
        identity_ids=[row.identifiers[0].id for row in new],
        interaction_ids=[row.id for row in new],
    )


def _key(row: Row) -> UUID:
    return row.key


def _received(row: Row) -> datetime:
    return row.received_at


async def _new_rows(session: WriteSession, rows: Sequence[Row]) -> list[Row]:
    """Store the keys that are new, and give back their rows; of rows with the same key the first counts."""
    firsts = sorted({row.key: row for row in reversed(rows)}.values(), key=_key)
    keys = await interactions.insert_new_keys(session, firsts) if firsts else set()
    return [row for row in firsts if row.key in keys]


async def _identify(
    session: WriteSession, known: Known, new: Sequence[Row], standing: Iterable[Stored]
) -> tuple[dict[UUID, UUID], dict[tuple[UUID, UUID], None]]:
    """Store the identities and links of new rows; the customer of every identity concerned, and the links."""
    seen: dict[Identifier, datetime] = {}
    links: dict[tuple[UUID, UUID], Link] = {}
    customers: dict[UUID, UUID] = {}
    for row in sorted(new, key=_received) if len(new) > 1 else new:
        first = row.identifiers[0]
        for identifier in row.identifiers:
            customer = known.customers.get(identifier.id)
            if customer is None:
                seen.setdefault(identifier, row.received_at)
            else:
                customers[identifier.id] = customer
            if identifier is not first:
                pair = (first.id, identifier.id) if first.id < identifier.id else (identifier.id, first.id)
                if pair not in known.links and pair not in links:
                    links[pair] = Link(*pair, row.id, row.source, row.received_at)
                    # An identity that is to be linked must be stored, whatever is known of it.
                    seen.setdefault(first, row.received_at)
                    seen.setdefault(identifier, row.received_at)
    if seen:
        customers |= await identities.insert(session, seen)
    others = {stored.identity_id for stored in standing} - customers.keys()
    if others:
        customers |= await identities.customers_of(session, others)
    if links and await identities.link(session, list(links.values())):
        customers |= await identities.customers_of(session, customers)
    return customers, dict.fromkeys(links)


def _is_own(row: Row, standing: Stored) -> bool:
    """Whether what stands is this very row, committed by an earlier try whose outcome was not heard."""
    return row.id == standing.interaction_id and standing.received_at in {None, row.received_at}


def _stored(row: Row, customer: UUID) -> Verdict:
    return Verdict("stored", row.id, customer, row.received_at)


def _repeated(row: Row, standing: Stored, customers: Mapping[UUID, UUID]) -> Verdict:
    """`duplicate` or `conflict`; what was deleted since, or dropped for its age, can only be a duplicate."""
    said = [document for document in (standing.document, standing.enriched) if document is not None]
    same = not said or any(_same(row, document) for document in said)
    return Verdict(
        "duplicate" if same else "conflict",
        standing.interaction_id,
        customers.get(standing.identity_id),
        standing.received_at,
    )


def _same(row: Row, stored: str) -> bool:
    """Whether a row says the same as a stored document, an assigned time aside."""
    if row.document == stored:
        return True
    ours, theirs = json.loads(row.document), json.loads(stored)
    if row.time_assigned:
        del ours["occurred_at"], theirs["occurred_at"]
    return same(ours, theirs)
