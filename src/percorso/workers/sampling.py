"""Puts into the metrics how the database is, every few seconds, so that no one who asks for metrics asks it.

One process of all replicas does. When it does no more, what it said last is unsaid: `NaN`, which no alert is raised by
and which `max` passes over.
"""

import os
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.ops import metrics
from percorso.queries import condition
from percorso.storage.database import ReadSession, reading
from percorso.workers.runtime import Worker

_EVERY_SECONDS: Final = 15.0


class Disk(NamedTuple):
    """The disk that holds a directory: free to those who are not root, and in all; bytes."""

    free: int
    size: int


def worker(engine: AsyncEngine) -> Worker:
    """The worker that does so."""
    told: set[tuple[Gauge, str]] = set()

    async def run() -> bool:
        async with reading(engine) as session:
            samples = [sample async for sample in _samples(session)]
        now = {(gauge, label): value for gauge, label, value in samples}
        _unsay(told - now.keys())
        for (gauge, label), value in now.items():
            gauge.labels(label).set(value)
        told.clear()
        told.update(now)
        return False

    def ended() -> None:
        _unsay(told)
        told.clear()

    return Worker("sampling", _EVERY_SECONDS, run, ended)


def disk_of(directory: str | None) -> Disk | None:
    """The disk of a cluster's data directory; None where that is not on this machine, or may not be looked at."""
    if directory is None or not hasattr(os, "statvfs"):
        return None
    try:
        if not (Path(directory) / "PG_VERSION").is_file():
            return None
        found = os.statvfs(directory)
    except OSError:
        return None
    return Disk(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


async def _samples(session: ReadSession) -> AsyncIterator[tuple[Gauge, str, float]]:
    now = datetime.now(UTC)
    server = await condition.server(session)
    name = server.database
    # Half of the way there and back is not the clock's.
    yield metrics.DATABASE_CLOCK, name, (server.now - (now + (datetime.now(UTC) - now) / 2)).total_seconds()
    yield metrics.DATABASE_BYTES, name, server.size
    yield metrics.DATABASE_CONNECTIONS, name, server.connections
    yield metrics.DATABASE_CONNECTIONS_LIMIT, name, server.most_connections
    yield metrics.DATABASE_OLDEST, name, server.oldest
    if (disk := disk_of(server.data_directory)) is not None:
        yield metrics.DISK_FREE, name, disk.free
        yield metrics.DISK_SIZE, name, disk.size
    for table, days in (await condition.days_left(session, server.now)).items():
        yield metrics.PARTITION_DAYS, table, days
    for lag in await condition.lags(session):
        yield metrics.FOLLOWER_SECONDS, lag.follower, lag.seconds
        yield metrics.FOLLOWER_COMMITS, lag.follower, lag.commits
        yield metrics.FOLLOWER_FILLING, lag.follower, lag.filling
    for backlog in await condition.backlogs(session):
        yield metrics.DELIVERIES_WAITING, backlog.protocol, backlog.waiting
        yield metrics.DELIVERIES_OLDEST, backlog.protocol, backlog.oldest
    yield metrics.QUARANTINE, name, await condition.quarantined(session)


def _unsay(told: Iterable[tuple[Gauge, str]]) -> None:
    for gauge, label in told:
        gauge.labels(label).set(nan)
