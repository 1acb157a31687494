"""What may be wrong with a database that works: how it is set up, what it has put off, who may call the service."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from percorso.storage.database import ReadSession

_SETTINGS: Final = ("server_version_num", "fsync", "full_page_writes", "synchronous_commit", "autovacuum")


class Table(NamedTuple):
    """A table whose dead rows were not cleared away: how many there are, and how many live ones."""

    name: str
    dead: int
    live: int


class Slot(NamedTuple):
    """A replication slot that no one reads, and the bytes of the log that are kept for it."""

    name: str
    kept: int


class Key(NamedTuple):
    """A key that is valid now, and until when; None: until it is revoked."""

    name: str
    admin: bool
    expires_at: datetime | None


async def settings(session: ReadSession) -> Mapping[str, str]:
    """How the server is set up, in its own words."""
    rows = await session.fetch("SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name", _SETTINGS)
    return {row["name"]: row["value"] for row in rows}


async def is_replica(session: ReadSession) -> bool:
    """Whether the server only follows another, and takes no writes."""
    return bool(await session.fetchval("SELECT pg_is_in_recovery()"))


async def age(session: ReadSession) -> float:
    """How much of its transaction ids the database has used since they were last freed, from 0 to 1."""
    sql = "SELECT age(datfrozenxid)::float8 / 2147483647 FROM pg_database WHERE datname = current_database()"
    return float(await session.fetchval(sql))


async def uncleared(session: ReadSession, *, least: int) -> list[Table]:
    """Tables that have at least so many dead rows, and more than live ones; the worst first. Reads statistics only."""
    rows = await session.fetch(
        "SELECT relname::text, n_dead_tup, n_live_tup FROM pg_stat_user_tables "
        "WHERE n_dead_tup >= $1 AND n_dead_tup > n_live_tup ORDER BY n_dead_tup DESC LIMIT 5",
        least,
    )
    return [Table(*row) for row in rows]


async def slots(session: ReadSession) -> list[Slot]:
    """Replication slots that no one reads; the one for which most is kept first."""
    rows = await session.fetch(
        "SELECT slot_name::text, coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() "
        "ELSE pg_current_wal_lsn() END, restart_lsn), 0)::int8 FROM pg_replication_slots WHERE NOT active "
        "ORDER BY 2 DESC"
    )
    return [Slot(*row) for row in rows]


async def processes(session: ReadSession) -> int:
    """How many processes of the service do their share of what is done beside requests: each has one such session."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'percorso-workers'"
    )
    return int(await session.fetchval(sql))


async def keys(session: ReadSession) -> list[Key]:
    """The keys that are valid now, the first to expire first. Reads all there are: they are few."""
    rows = await session.fetch(
        "SELECT k.name, 'admin' = ANY(k.scopes), k.expires_at FROM (SELECT name, scopes, revoked_at, "
        # Also of a schema in which keys do not expire.
        "(to_jsonb(api_keys) ->> 'expires_at')::timestamptz AS expires_at FROM api_keys) AS k "
        "WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) ORDER BY 3 NULLS LAST, 1"
    )
    return [Key(*row) for row in rows]
