"""In what condition the database is: how full, how far behind, how long until it is in want of something."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from percorso.storage.database import ReadSession

MOST_COMMITS: Final = 10_000
MOST_ITEMS: Final = 100_000
"""What is more is not counted: it takes long, and is bad enough."""
_AT_ONCE: Final = 100
"""More transactions than are open at the same time: so far the commit log need not be in order of time."""
_MOST_DAYS: Final = 3_660

_day_of: Final = re.compile(r"\w+_(\d{4})_(\d{2})(?:_(\d{2}))?").fullmatch


class Server(NamedTuple):
    """The database server, as seen from this connection; `data_directory` is None to who may not know it.

    `oldest` is the age of the oldest transaction of any database, in seconds; its database and application are named,
    and its process, so that it can be found.
    """

    database: str
    now: datetime
    size: int
    connections: int
    most_connections: int
    data_directory: str | None
    oldest: float
    oldest_pid: int | None
    oldest_application: str | None


class Lag(NamedTuple):
    """A follower of the commit log: the age in seconds of what it has to take next, and how many commits those are.

    `filling` while its first pass over what there was when it began is not complete.
    """

    follower: str
    seconds: float
    commits: int
    filling: bool


class Backlog(NamedTuple):
    """Deliveries of a protocol that wait, and the age in seconds of the oldest."""

    protocol: str
    waiting: int
    oldest: float


async def server(session: ReadSession) -> Server:
    """Read from the server's own views. Prepared transactions count too: those can be of any age."""
    row = await session.fetchrow(
        "SELECT current_database(), clock_timestamp(), pg_database_size(current_database()), "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int, "
        "current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, "
        "(SELECT setting FROM pg_settings WHERE name = 'data_directory'), "
        "coalesce(extract(epoch FROM clock_timestamp() - o.begun)::float8, 0), o.pid, o.application "
        "FROM (SELECT 1) AS one LEFT JOIN LATERAL (SELECT * FROM ("
        "SELECT xact_start AS begun, pid, application_name AS application FROM pg_stat_activity "
        "WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
        "AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) "
        "UNION ALL SELECT prepared, NULL, gid FROM pg_prepared_xacts) AS open "
        "ORDER BY begun LIMIT 1) AS o ON true"
    )
    assert row is not None  # noqa: S101 - there is always one
    return Server(*row)


async def lags(session: ReadSession) -> list[Lag]:
    """How far each follower is behind. Relies on the primary key of each partition of the commit log.

    Of those whose names have a part after a colon, such as one for each of many subscriptions, the worst is told.
    """
    rows = await session.fetch(
        "SELECT split_part(f.name, ':', 1), greatest(coalesce(extract(epoch FROM clock_timestamp() - ("
        "SELECT min(at) FROM (SELECT at FROM commits WHERE (generation, xid8) > (f.generation, f.xid8) "
        "ORDER BY generation, xid8 LIMIT $1) AS next))::float8, 0), 0), "
        "(SELECT count(*)::int FROM "
        "(SELECT FROM commits WHERE (generation, xid8) > (f.generation, f.xid8) LIMIT $2) AS still), "
        "f.filled_to IS NOT NULL FROM followers f ORDER BY 1, 2, 3",
        _AT_ONCE,
        MOST_COMMITS,
    )
    return list({lag.follower: lag for lag in (Lag(*row) for row in rows)}.values())


async def backlogs(session: ReadSession) -> list[Backlog]:
    """What is still to be delivered. Relies on the index on `(subscription_id, seq)`; subscriptions are few."""
    rows = await session.fetch(
        "SELECT s.protocol, sum(d.waiting)::int, "
        "coalesce(extract(epoch FROM clock_timestamp() - min(d.at))::float8, 0) FROM subscriptions s "
        "CROSS JOIN LATERAL (SELECT count(*) AS waiting, (SELECT at FROM deliveries "
        "WHERE subscription_id = s.subscription_id ORDER BY seq LIMIT 1) AS at FROM (SELECT FROM deliveries "
        "WHERE subscription_id = s.subscription_id LIMIT $1) AS part) AS d GROUP BY s.protocol ORDER BY s.protocol",
        MOST_ITEMS,
    )
    return [Backlog(*row) for row in rows]


async def quarantined(session: ReadSession) -> int:
    """How many items are in quarantine, up to `MOST_ITEMS`. Reads no more of the table than so many rows."""
    sql = "SELECT count(*) FROM (SELECT FROM rejected_interactions LIMIT $1) AS part"
    return int(await session.fetchval(sql, MOST_ITEMS))


async def days_left(session: ReadSession, now: datetime) -> Mapping[str, float]:
    """Days from now to the end of the last partition that follows without a gap, of each partitioned table."""
    rows = await session.fetch(
        "SELECT p.relname AS parent, array_agg(c.relname::text) AS names FROM pg_inherits i "
        "JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE p.relkind = 'p' AND p.relnamespace = current_schema()::regnamespace AND p.relname = ANY($1) GROUP BY 1",
        ["interactions", "commits"],
    )
    found = {row["parent"]: row["names"] for row in rows}
    return {table: until(found.get(table, ()), now) for table in ("interactions", "commits")}


def until(partitions: Collection[str], now: datetime) -> float:
    """Days from now to the end of the last of these that follows without a gap; each is named for its month or day."""
    days: set[date] = set()
    for name in partitions:
        if (found := _day_of(name)) is None:
            continue
        year, month, day = int(found[1]), int(found[2]), found[3]
        first = date(year, month, int(day or 1))
        following = first + timedelta(days=1) if day else date(year + month // 12, month % 12 + 1, 1)
        days.update(first + timedelta(days=number) for number in range((following - first).days))
    at = now.astimezone(UTC).date()
    for _ in range(_MOST_DAYS):
        if at not in days:
            break
        at += timedelta(days=1)
    return max((datetime(at.year, at.month, at.day, tzinfo=UTC) - now).total_seconds() / 86_400, 0.0)
