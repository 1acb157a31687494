"""Retention: takes away what the settings say is not to be kept, without being in anybody's way.

Months of which nothing is kept go as a whole; of others, what is not kept is deleted, some at a time, with a rest after
each that is as long as it took. What came late, or was enriched while it was passed by, is found through the commit log
at the next run.
"""

from asyncio import sleep
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Final, TypeAlias, TypeVar

import asyncpg
import structlog

from percorso.ops import metrics
from percorso.queries import retention as queries
from percorso.queries.retention import Part, Policy, Read, Span
from percorso.settings import Settings
from percorso.storage import database, deployment, dropping, rates, retention
from percorso.storage.database import ReadSession, WriteSession
from percorso.storage.dropping import Leaving
from percorso.workers.runtime import Worker

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
T = TypeVar("T")

_log = structlog.get_logger("percorso.retention")

_EVERY_SECONDS: Final = 3600.0
LOCK: Final = 0x70657263_72657461
"""Advisory lock: one run at a time, of the worker or of the command."""
_LONGEST_REST_SECONDS: Final = 1.0
SERVER: Final = {
    "statement_timeout": "0",  # a detach waits for others, and to look through a month takes long
    "idle_in_transaction_session_timeout": "600000",
    "lock_timeout": "5000",
    # What is deleted is named by its primary key; a wrong guess at how much it is must not lead to a scan.
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""The server's settings for a run."""


@dataclass(slots=True)
class Outcome:
    """What a run took away, `bytes` being the size of the partitions. `postponed`: those that others used for long."""

    partitions: int = 0
    interactions: int = 0
    rejected: int = 0
    commit_days: int = 0
    bytes: int = 0
    postponed: list[str] = field(default_factory=list)


def worker(url: str, settings: Settings, policy: Policy) -> Worker:
    """The worker that does so."""

    async def work() -> bool:
        await run(url, settings, policy, datetime.now(UTC))
        return False

    return Worker("retention", _EVERY_SECONDS, work)


async def run(url: str, settings: Settings, policy: Policy, now: datetime) -> Outcome | None:
    """Take away all that is due at this moment; None where another run is in progress.

    It may be ended at any time: what is done is done, and the next run goes on with the rest.
    """
    connect = partial(database.connect, url, settings, name="percorso-retention", **SERVER)
    async with _cut_at_end(await connect()) as writer, _cut_at_end(await connect()) as reader:
        if not await writer.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            return None
        await deployment.ensure(WriteSession(writer))
        readable = await queries.readable(ReadSession(reader))
        this = _Run(WriteSession(writer), ReadSession(reader), policy, now, readable)
        await this.everything()
    if this.outcome != Outcome():
        _log.info("what is not to be kept is gone", **asdict(this.outcome))
    return this.outcome


@asynccontextmanager
async def _cut_at_end(session: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[Session]:
    """Cut a connection at the end: whatever goes on there, on an answer or on nothing, ends with it."""
    try:
        yield session
    finally:
        session.terminate()


@dataclass(slots=True)
class _Run:
    """One run: a connection to write on, one to read on, and how far the commit log could be read as it began."""

    writer: WriteSession
    reader: ReadSession
    policy: Policy
    now: datetime
    readable: Read
    outcome: Outcome = field(default_factory=Outcome)

    async def everything(self) -> None:
        """Take away all that is due. The commit log is last: only what was swept was read there for the last time."""
        began_at = datetime.now(UTC)
        for leaving in await dropping.unfinished(self.writer):
            await self._leave(leaving)
        for month in await queries.whole_months(self.reader, self.policy, self.now):
            await self._drop("interactions", month)
        cutoffs = self.policy.cutoffs(self.now)
        for span in await self._spans(cutoffs) if cutoffs else ():
            await self._sweep(span)
        if (before := self.policy.quarantine_before(self.now)) is not None:
            async with aclosing(retention.delete_rejected(self.writer, before)) as deleted:
                async for number in _rested(deleted):
                    self._count("rejected", number)
        await rates.forget(self.writer)
        for day in await queries.commit_days(self.reader, self.policy, self.now):
            await self._drop("commits", day)
        done = self.outcome
        await retention.save(
            self.writer,
            cutoffs,
            began_at=began_at,
            read=(self.readable.generation, self.readable.xid8),
            partitions=done.partitions,
            interactions=done.interactions,
            rejected=done.rejected,
            commit_days=done.commit_days,
            size=done.bytes,
        )

    async def _drop(self, parent: str, part: Part) -> None:
        leaving = Leaving(parent, part.name, part.first, part.following)
        await dropping.intend(self.writer, leaving)
        await self._leave(leaving)

    async def _leave(self, leaving: Leaving) -> None:
        """Go on with the drop of a partition, from wherever it stands."""
        if leaving.parent == "commits":
            await retention.raise_floor(self.writer, leaving)
        if not await dropping.take_out(self.writer, leaving):
            self.outcome.postponed.append(leaving.partition)
            return
        size = await dropping.size(self.writer, leaving)
        if size is None:
            await dropping.forget(self.writer, leaving)
            return
        if leaving.parent == "commits":
            await dropping.drop(self.writer, leaving)
            self._count("commit_days", 1)
        else:
            generation = self.readable.generation
            async with aclosing(retention.empty(self.writer, generation, leaving)) as emptied:
                async for _ in _rested(emptied):
                    pass
            await retention.drop(self.writer, generation, leaving)
            self._count("partitions", 1)
        self.outcome.bytes += size

    async def _spans(self, cutoffs: Mapping[str, datetime]) -> Sequence[Span]:
        """What is to be searched for interactions to delete."""
        swept = await queries.swept(self.reader)
        last = await queries.state(self.reader)
        late = [] if last is None else await queries.late(self.reader, last.read, self.readable, max(cutoffs.values()))
        # Months that are to go as a whole and could not, being in use, wait for the next run.
        before = self.policy.months_before(self.now)
        months = [month for month in await queries.months(self.reader) if before is None or month.following > before]
        return queries.spans(cutoffs, swept, late, months)

    async def _sweep(self, span: Span) -> None:
        """Delete the interactions of a span."""
        low, high = queries.bounds(span)
        transaction = self.reader.transaction(readonly=True)
        await transaction.start()
        async with aclosing(queries.expired(self.reader, span)) as found:
            async for pairs in _rested(found):
                deleted = await retention.delete(self.writer, self.readable.generation, pairs, low, high)
                self._count("interactions", deleted)
        await transaction.commit()

    def _count(self, what: str, number: int) -> None:
        setattr(self.outcome, what, getattr(self.outcome, what) + number)
        metrics.EXPIRED.labels(what).inc(number)


async def _rested(batches: AsyncIterator[T]) -> AsyncGenerator[T]:
    """These, with a rest after each that is as long as it took to get and to use it: half the time is others'."""
    began = monotonic()
    async for batch in batches:
        yield batch
        await sleep(min(monotonic() - began, _LONGEST_REST_SECONDS))
        began = monotonic()
