"""What Postgres alone can do on one connection: the bare COPY of rows, and the bare SQL of a journey."""

from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Final

from percorso.bench.events import Events
from percorso.bench.load import percentiles
from percorso.errors import StartupError
from percorso.ingest.identity import Identifiers
from percorso.ingest.pipeline import Pipeline
from percorso.ingest.verdict import Verdict
from percorso.ingest.writer import Writer
from percorso.queries import baseline
from percorso.settings import Settings
from percorso.storage import database, deployment, interactions, partitions, touchpoints
from percorso.storage.database import WriteSession
from percorso.storage.deployment import Deployment
from percorso.storage.interactions import Row
from percorso.storage.rejected import Rejection

_TOGETHER: Final = 10
"""Batches prepared before the clock runs, so that the transactions follow one another as they do in a service."""


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY events of `source` from number `first`, `batch` a transaction, for `seconds` or until there are `count`."""

    source: str
    now: str
    first: int
    batch: int = 1000
    count: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Copied:
    """Events `first` up to `following` are committed, in so many seconds; preparing them is not counted."""

    seconds: float
    first: int
    following: int
    latencies_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Read:
    """Read the first page of these customers' journeys, one after the other, for `seconds`; each is a `kind:value`."""

    customers: list[str]
    seconds: float
    limit: int = 50


@dataclass(frozen=True, slots=True)
class HaveRead:
    """So many pages, in so many seconds."""

    seconds: float
    pages: int
    latencies_ms: dict[str, float]


class Keeper(Writer):
    """Keeps the rows that would be written: the pipeline then prepares rows, and nothing else."""

    kept: Sequence[Row] = ()

    async def write(
        self,
        rows: Sequence[Row],
        rejections: Sequence[Rejection],
        *,
        wait: bool = False,  # noqa: ARG002 - the writer's signature
    ) -> list[Verdict]:
        """Keep these rows until the next."""
        if rejections:
            raise StartupError(f"An event of the bench is not valid: {rejections[0].problems[0].pointer}.")
        self.kept = rows
        return [Verdict("stored")] * len(rows)


async def copy(session: WriteSession, this: Deployment, settings: Settings, wanted: Copy) -> Copied:
    """The limit of ingest: rows prepared beforehand, both tables in one transaction a batch."""
    identifiers = Identifiers(this.salt, None, settings.seen_identities)
    keeper = Keeper(_never, settings, identifiers, generation=this.generation)
    pipeline = Pipeline(settings, this, identifiers, keeper)
    events = Events(wanted.source, datetime.fromisoformat(wanted.now))
    end = None if wanted.count is None else wanted.first + wanted.count
    following, seconds, latencies = wanted.first, 0.0, array("d")
    known: dict[str, int] = {}
    while (wanted.seconds is None or seconds < wanted.seconds) and (end is None or following < end):
        batches: list[list[Row]] = []
        while len(batches) < _TOGETHER and (end is None or following < end):
            size = wanted.batch if end is None else min(wanted.batch, end - following)
            await pipeline.take([events.one(number) for number in range(following, following + size)])
            batches.append(sorted(keeper.kept, key=lambda row: row.key))
            following += size
        rows = [row for batch in batches for row in batch]
        await partitions.ensure_months(session, partitions.months_of(row.occurred_ms for row in rows))
        known |= await touchpoints.register(session, {row.touchpoint: row.channel for row in rows})
        for batch in batches:
            begun = perf_counter()
            async with session.transaction():
                await interactions.copy_keys(session, batch)
                await interactions.copy(session, batch, known)
            latencies.append(perf_counter() - begun)
        seconds = sum(latencies)
    return Copied(seconds, wanted.first, following, percentiles(latencies))


async def _never() -> WriteSession:
    raise StartupError("A writer that stores nothing has no connection.")


async def read(session: WriteSession, this: Deployment, settings: Settings, wanted: Read) -> HaveRead:
    """The limit of a journey: the statements that a page needs, prepared, on one connection."""
    identifiers = Identifiers(this.salt, None, settings.seen_identities)
    identities = [identifiers.one(*customer.split(":", 1)).id for customer in wanted.customers]
    latencies = array("d")
    begun = perf_counter()
    while perf_counter() - begun < wanted.seconds:
        sent = perf_counter()
        await baseline.journey(session, identities[len(latencies) % len(identities)], limit=wanted.limit)
        latencies.append(perf_counter() - sent)
    return HaveRead(perf_counter() - begun, len(latencies), percentiles(latencies))


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[tuple[WriteSession, Deployment]]:
    """One connection to the settings' database, whose statements may take their time, and what the deployment is."""
    connection = await database.connect(database.url_of(settings), settings, name="percorso-bench")
    try:
        # To vacuum or to verify millions of rows takes longer than any statement of a service may.
        await connection.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        session = WriteSession(connection)
        async with connection.transaction():
            this = await deployment.ensure(session)
        yield session, this
    finally:
        await connection.close()
