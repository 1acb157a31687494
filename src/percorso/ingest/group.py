"""One group commit: rows and rejections in, a verdict on each row out, all of it committed.

The usual case is tried first: COPY into the keys and the interactions. Where a key is stored already the transaction
is rolled back and the group takes the careful path, which finds out of each row whether it is new, a duplicate or a
conflict. A row that Postgres itself refuses is isolated by halving the group; it goes into quarantine, its neighbours
are stored.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from percorso.errors import Problem
from percorso.ingest import quarantine
from percorso.ingest.known import Known
from percorso.ingest.verdict import Verdict
from percorso.storage import commits, identities, interactions, partitions, rejected, touchpoints
from percorso.storage.database import WriteSession
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


async def write(
    session: WriteSession,
    known: Known,
    rows: Sequence[Row],
    rejections: Sequence[Rejection],
    *,
    generation: int,
    again: bool,
) -> list[Verdict]:
    """Commit a group and give the verdict on each row, in order.

    `again`: an earlier try may have been committed; rows that it stored are recognised and reported as stored.
    """
    await _prepare(session, known, rows)
    if not again and not known.careful and len({row.key for row in rows}) == len(rows):
        try:
            return await _commit(session, known, rows, rejections, generation, careful=False)
        except asyncpg.UniqueViolationError:
            known.careful = _CAREFUL_GROUPS
        except REFUSED:
            known.months.clear()
            await _prepare(session, known, rows)
    verdicts = await _isolate(session, known, rows, rejections, generation, again=again)
    if known.careful and not any(verdict.status in {"duplicate", "conflict"} for verdict in verdicts):
        known.careful -= 1
    return verdicts


async def _prepare(session: WriteSession, known: Known, rows: Sequence[Row]) -> None:
    """Make the partitions and register the touchpoints that a group needs, each in a transaction of its own."""
    now = datetime.now(UTC)
    if now.date() not in known.days:
        await partitions.ensure_days(session, (now, now + timedelta(days=1)))
        known.days = {now.date()}
    months = {partitions.month_of(row.occurred_ms) for row in rows} - known.months
    if months:
        await partitions.ensure_months(session, months)
        known.months |= months
    new = {row.touchpoint: row.channel for row in rows if row.touchpoint not in known.touchpoints}
    if new:
        known.learn_touchpoints(await touchpoints.register(session, new))


async def _isolate(
    session: WriteSession,
    known: Known,
    rows: Sequence[Row],
    rejections: Sequence[Rejection],
    generation: int,
    *,
    again: bool,
) -> list[Verdict]:
    """Take the careful path, halving the group where Postgres refuses a row until that row stands alone."""
    try:
        return await _commit(session, known, rows, rejections, generation, careful=True, again=again)
    except REFUSED as error:
        if not rows:
            raise
        if len(rows) == 1:
            return [await _refuse(session, known, rows[0], rejections, generation, error)]
    middle = len(rows) // 2
    first = await _isolate(session, known, rows[:middle], rejections, generation, again=again)
    return first + await _isolate(session, known, rows[middle:], (), generation, again=again)


async def _refuse(
    session: WriteSession,
    known: Known,
    row: Row,
    rejections: Sequence[Rejection],
    generation: int,
    error: asyncpg.PostgresError,
) -> Verdict:
    """Put a row that Postgres refuses into quarantine, without the values that its message may carry."""
    problems = (Problem("", f"The database refuses it: {error.sqlstate} {type(error).__name__}."),)
    payload = row.document.encode()
    rejection = quarantine.rejection(payload, problems, received_at=row.received_at, keep=len(payload))
    await _commit(session, known, (), (*rejections, rejection), generation, careful=True)
    return Verdict.rejected(rejection.id, problems)


async def _commit(
    session: WriteSession,
    known: Known,
    rows: Sequence[Row],
    rejections: Sequence[Rejection],
    generation: int,
    *,
    careful: bool,
    again: bool = False,
) -> list[Verdict]:
    """One transaction. Whatever it locks it locks in the order of keys, and the lock on links comes last."""
    standing: dict[UUID, Stored] = {}
    async with session.transaction():
        new = await _new_rows(session, rows) if careful else sorted(rows, key=_key)
        if new:
            if not careful:
                await interactions.copy_keys(session, new)
            await interactions.copy(session, new, known.touchpoints)
            await commits.record(
                session,
                generation,
                "stored",
                at=datetime.now(UTC),
                occurred_ms=[row.occurred_ms for row in new],
                identity_ids=[row.identifiers[0].id for row in new],
                interaction_ids=[row.id for row in new],
            )
        if rejections:
            await rejected.insert(session, rejections)
        if len(new) < len(rows):
            stored = {id(row) for row in new}
            standing = await interactions.stored_under(session, [row.key for row in rows if id(row) not in stored])
        customers, links = await _identify(session, known, new, standing.values())
    known.learn(customers, links)
    if not standing:
        return [_stored(row, customers[row.identifiers[0].id]) for row in rows]
    firsts = {row.key: row for row in reversed(rows)}
    return [
        _stored(row, customers[row.identifiers[0].id])
        if id(row) in stored or (again and firsts[row.key] is row and _is_own(row, standing[row.key]))
        else _repeated(row, standing[row.key], customers)
        for row in rows
    ]


def _key(row: Row) -> UUID:
    return row.key


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
    for row in new:
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
    same = standing.document is None or _same(row, standing.document)
    return Verdict(
        "duplicate" if same else "conflict",
        standing.interaction_id,
        customers.get(standing.identity_id),
        standing.received_at,
    )


def _same(row: Row, stored: str) -> bool:
    """Whether a row says the same as a stored document: as JSON values, null as absent, an assigned time aside."""
    if row.document == stored:
        return True
    aside = {"occurred_at"} if row.time_assigned else frozenset[str]()
    ours, theirs = (
        {name: value for name, value in json.loads(text).items() if value is not None and name not in aside}
        for text in (row.document, stored)
    )
    return bool(ours == theirs)
