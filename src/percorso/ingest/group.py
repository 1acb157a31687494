"""One group commit: rows and rejections in, a verdict on each row out, all of it committed.

A small group is stored by one statement, which finds out of each row whether it is new. Of a large one the usual case
is tried first: COPY into the keys and the interactions. Where a key is stored already the transaction is rolled back
and the group takes the careful path, which finds that out of each row too. A row that Postgres itself refuses is
isolated by halving the group; it goes into quarantine, its neighbours are stored.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import blake2b
from typing import Final, NamedTuple, Self, TypeAlias

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from percorso.errors import Problem
from percorso.ingest import judge, quarantine
from percorso.ingest.known import Known
from percorso.ingest.verdict import Verdict
from percorso.storage import (
    commits,
    consents,
    epoch,
    groups,
    identities,
    interactions,
    partitions,
    rejected,
    tombstones,
    touchpoints,
)
from percorso.storage.database import WriteSession, limited
from percorso.storage.epoch import OutOfDate
from percorso.storage.identities import Identifier, Link
from percorso.storage.interactions import Row, Stored
from percorso.storage.rejected import Rejection
from percorso.storage.tombstones import Erased

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
    """Where groups go: a connection, and what is known of what lies behind it.

    A transaction may take so many `seconds`; a group of at most `statement_rows` is stored by one statement. Once
    prepared for, `touchpoint_ids` has those of the group.
    """

    session: WriteSession
    known: Known
    generation: int
    seconds: float
    statement_rows: int
    touchpoint_ids: dict[str, int] = field(default_factory=dict)


_Outcome: TypeAlias = tuple[Collection[UUID], dict[UUID, UUID]]
"""The keys that were new, and the customers of identities that were not known."""


class _Way(Enum):
    """How the rows of a group are stored."""

    STATEMENT = "one statement"
    COPY = "COPY, which fails where a key is stored"
    CAREFUL = "the keys that are new first, then COPY of their rows"


class _Unmet(NamedTuple):
    """Of rows, what is not known in an epoch to be stored: identifiers and links, each with a row that names it."""

    epoch: int
    identifiers: Sequence[tuple[Row, Identifier]]
    links: Sequence[tuple[Row, Link]]

    def of(self, keys: Collection[UUID]) -> Self:
        """What the rows with these keys name of it."""
        return self._replace(
            identifiers=[pair for pair in self.identifiers if pair[0].key in keys],
            links=[pair for pair in self.links if pair[0].key in keys],
        )


async def write(target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], *, again: bool) -> list[Verdict]:
    """Commit a group and give the verdict on each row, in order.

    `again`: an earlier try may have been committed; rows that it stored are recognised and reported as stored.
    """
    known = target.known
    own = frozenset(map(id, _firsts(rows))) if again else frozenset[int]()
    await _prepare(target, rows)
    if len(rows) <= target.statement_rows:
        way = _Way.STATEMENT
    else:
        way = _Way.CAREFUL if again or known.careful else _Way.COPY
    try:
        verdicts = await _whole(target, rows, rejections, own, way)
    except REFUSED:
        # Perhaps for want of a partition, which may have been dropped since it was last looked for.
        known.forget_partitions()
        await _prepare(target, rows)
        verdicts = await _isolate(target, rows, rejections, own)
    if known.careful and not any(verdict.status in {"duplicate", "conflict"} for verdict in verdicts):
        known.careful -= 1
    return verdicts


async def _whole(
    target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], own: Collection[int], way: _Way
) -> list[Verdict]:
    """The whole group in one transaction; what is to be copied takes the careful path once a key is found stored."""
    if way is _Way.COPY:
        try:
            return await _commit(target, rows, rejections, way)
        except asyncpg.UniqueViolationError:
            target.known.careful = _CAREFUL_GROUPS
            way = _Way.CAREFUL
    return await _commit(target, rows, rejections, way, own)


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
    own = {row.touchpoint: row.channel for row in rows}
    # The group's own copy: what is known may make room for another group while this one is being stored.
    target.touchpoint_ids.update((slug, known.touchpoints[slug]) for slug in own.keys() & known.touchpoints.keys())
    if new := {slug: channel for slug, channel in own.items() if slug not in target.touchpoint_ids}:
        with limited(session, target.seconds):
            registered = await touchpoints.register(session, new)
        target.touchpoint_ids.update(registered)
        known.learn_touchpoints(registered)


async def _isolate(
    target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], own: Collection[int]
) -> list[Verdict]:
    """Take the careful path, halving the group where Postgres refuses a row until that row stands alone."""
    try:
        return await _commit(target, rows, rejections, _Way.CAREFUL, own)
    except REFUSED as error:
        if rejections:
            await _quarantine(target, rejections)
            return await _isolate(target, rows, (), own)
        if len(rows) == 1:
            return [Verdict("retry") if _lacks_partition(error) else await _refuse(target, rows[0], error)]
    middle = len(rows) // 2
    return await _isolate(target, rows[:middle], (), own) + await _isolate(target, rows[middle:], (), own)


def _lacks_partition(error: asyncpg.PostgresError) -> bool:
    """Whether a row has no partition, though it was looked for: such is being taken out, as retention does to old ones.

    As soon as that is done there can be a new one.
    """
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None


async def _refuse(target: Target, row: Row, error: asyncpg.PostgresError) -> Verdict:
    """Put a row that Postgres refuses into quarantine, without the values that its message may carry.

    One that is replayed from quarantine stands there already.
    """
    problems = (Problem("", f"The database refuses it: {error.sqlstate} {type(error).__name__}."),)
    if row.rejection_id is not None:
        return Verdict.rejected(row.rejection_id, problems)
    payload = row.document
    seed = blake2b(payload, key=row.key.bytes, digest_size=10).digest()
    rejection = quarantine.rejection(payload, problems, received_at=row.received_at, keep=len(payload), seed=seed)
    named = [identifier.id for identifier in row.identifiers]
    await _quarantine(target, (replace(rejection, identity_ids=named),))
    return Verdict.rejected(rejection.id, problems)


async def _quarantine(target: Target, rejections: Sequence[Rejection]) -> None:
    """Store rejections apart from any row; of one that Postgres refuses, the payload alone."""
    try:
        await _commit(target, (), rejections, _Way.CAREFUL)
    except REFUSED:
        if len(rejections) > 1:
            for rejection in rejections:
                await _quarantine(target, (rejection,))
        else:
            await _commit(target, (), (quarantine.bare(rejections[0]),), _Way.CAREFUL)


async def _commit(
    target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], way: _Way, own: Collection[int] = ()
) -> list[Verdict]:
    """One transaction, and a verdict on each row; again where what was known proves out of date.

    Rows that name someone who was erased are refused, and leave nothing behind; the others are stored all the same.
    """
    erased: frozenset[UUID] = frozenset()
    while True:
        kept = [row for row in rows if erased.isdisjoint(judge.named(row))] if erased else rows
        try:
            verdicts = await _transaction(target, kept, rejections, way, own) if kept or rejections else []
        except OutOfDate as error:
            target.known.forget(error.epoch)
        except Erased:
            erased = await _erased_among(target, rows)
        else:
            break
    if not erased:
        return verdicts
    given = iter(verdicts)
    return [next(given) if erased.isdisjoint(judge.named(row)) else judge.as_erased(row, erased) for row in rows]


async def _transaction(
    target: Target, rows: Sequence[Row], rejections: Sequence[Rejection], way: _Way, own: Collection[int]
) -> list[Verdict]:
    """Commit. Whatever it locks it locks in the order of keys, and the lock on links comes last.

    `own` are the rows, by `id()`, that an earlier try may have stored.
    """
    session, known = target.session, target.known
    firsts = _firsts(rows)
    unmet = _unmet(known, firsts)
    standing: dict[UUID, Stored] = {}
    saying = {row.key: row.consent for row in firsts if row.consent is not None}
    alone = way is _Way.STATEMENT and not rejections and not saying
    with limited(session, target.seconds):
        if alone:
            keys, met = await _by_statement(target, firsts, unmet)
        else:
            async with session.transaction():
                await epoch.enter(session, unmet.epoch)
                if rejections:
                    await rejected.insert(session, rejections)
                keys, met = await _STORE[way](target, firsts, unmet) if rows else ((), {})
                if said := [consent for key, consent in saying.items() if key in keys]:
                    # By interactions that are new: no other transaction says the same, so none is waited for.
                    await consents.insert(session, said)
        links = [link[:2] for row, link in unmet.links if row.key in keys] if unmet.links else ()
        known.learn(unmet.epoch, met, links)
        all_new = len(keys) == len(rows)
        stored = None if all_new else {id(row) for row in firsts if row.key in keys}
        if stored is not None:
            standing = await interactions.stored_under(session, [row.key for row in rows if id(row) not in stored])
        customers = await _customers(target, rows, standing, met)
    if stored is None:
        return [judge.as_stored(row, customers[row.identifiers[0].id]) for row in rows]
    gone = [row for row in rows if row.key in standing and standing[row.key].document is None]
    erased = await _erased_among(target, gone) if gone else frozenset[UUID]()
    return [
        judge.as_stored(row, customers[row.identifiers[0].id])
        if id(row) in stored or (id(row) in own and judge.is_own(row, standing[row.key]))
        else judge.as_repeated(row, standing[row.key], customers, erased)
        for row in rows
    ]


async def _customers(
    target: Target, rows: Iterable[Row], standing: Mapping[UUID, Stored], met: Mapping[UUID, UUID]
) -> dict[UUID, UUID]:
    """The customer of each identity under which something is stored that a verdict names."""
    of = {row.identifiers[0].id for row in rows if row.key not in standing}
    of.update(each.identity_id for each in standing.values())
    known = target.known.customers
    customers = {identity: customer for identity in of if (customer := known.get(identity) or met.get(identity))}
    if len(customers) < len(of):
        customers |= await identities.customers_of(target.session, of - customers.keys())
    return customers


async def _by_statement(target: Target, rows: Sequence[Row], unmet: _Unmet) -> _Outcome:
    return await groups.store(
        target.session,
        rows,
        met=unmet.identifiers,
        links=unmet.links,
        touchpoint_ids=target.touchpoint_ids,
        generation=target.generation,
        at=datetime.now(UTC),
        since=unmet.epoch,
    )


async def _by_copy(target: Target, rows: Sequence[Row], unmet: _Unmet) -> _Outcome:
    await interactions.copy_keys(target.session, rows)
    return {row.key for row in rows}, await _follow_keys(target, rows, unmet)


async def _carefully(target: Target, rows: Sequence[Row], unmet: _Unmet) -> _Outcome:
    keys = await interactions.insert_new_keys(target.session, rows)
    new = [row for row in rows if row.key in keys]
    if len(new) < len(rows):
        unmet = unmet.of(keys)
    return keys, await _follow_keys(target, new, unmet) if new else {}


_STORE: Final = {_Way.STATEMENT: _by_statement, _Way.COPY: _by_copy, _Way.CAREFUL: _carefully}


async def _follow_keys(target: Target, new: Sequence[Row], unmet: _Unmet) -> dict[UUID, UUID]:
    """Store all but the keys of new rows; the customers of those of their identities that were not known."""
    session, at = target.session, datetime.now(UTC)
    await interactions.copy(session, new, target.touchpoint_ids)
    await commits.record(
        session,
        target.generation,
        "stored",
        at=at,
        occurred_ms=[row.occurred_ms for row in new],
        identity_ids=[row.identifiers[0].id for row in new],
        interaction_ids=[row.id for row in new],
    )
    return await groups.meet(session, unmet.identifiers, unmet.links, at=at) if unmet.identifiers else {}


def _firsts(rows: Sequence[Row]) -> list[Row]:
    """Of rows with the same key the first, in the order of keys."""
    firsts = {row.key.bytes: row for row in reversed(rows)}
    return [firsts[key] for key in sorted(firsts)]


def _unmet(known: Known, rows: Iterable[Row]) -> _Unmet:
    identifiers: list[tuple[Row, Identifier]] = []
    links: list[tuple[Row, Link]] = []
    customers = known.customers
    for row in rows:
        first = row.identifiers[0]
        if len(row.identifiers) == 1:
            if first.id not in customers:
                identifiers.append((row, first))
            continue
        linked = len(links)
        for other in row.identifiers[1:]:
            pair = (first.id, other.id) if first.id < other.id else (other.id, first.id)
            if not known.has_link(*pair):
                links.append((row, Link(*pair, row.id, row.source, row.received_at)))
        # An identity that is to be linked must be stored, whatever is known of it.
        fresh = len(links) > linked
        identifiers += [(row, each) for each in row.identifiers if fresh or each.id not in customers]
    return _Unmet(known.epoch, identifiers, links)


async def _erased_among(target: Target, rows: Iterable[Row]) -> frozenset[UUID]:
    """Which of the identities that these rows name were erased."""
    with limited(target.session, target.seconds):
        return await tombstones.among(target.session, {identity for row in rows for identity in judge.named(row)})
