"""What `percorso doctor` looks at, what it makes of it, and what it says is to be done."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.cli.running import pool_of
from percorso.queries import condition, doctor, health
from percorso.queries.condition import Backlog, Lag, Server
from percorso.queries.doctor import Key, Slot, Table
from percorso.settings import Settings
from percorso.storage import schema
from percorso.storage.database import OLDEST_SERVER, is_away, reading
from percorso.workers.sampling import Disk, disk_of

Status = Literal["ok", "warn", "fail"]

_GIB: Final = 1024**3
_MINUTE: Final = 60.0
_DISK: Final = (0.15, 0.05)
_CLOCK_SECONDS: Final = (1.0, 30.0)
_OLDEST_SECONDS: Final = (5 * _MINUTE, 60 * _MINUTE)
_LAG_SECONDS: Final = (5 * _MINUTE, 60 * _MINUTE)
_DELIVERY_SECONDS: Final = (10 * _MINUTE, 240 * _MINUTE)
_CONNECTIONS: Final = (0.8, 0.95)
_AGE: Final = (0.3, 0.7)
_QUARANTINE: Final = (1_000, condition.MOST_ITEMS)
_SLOT_BYTES: Final = (_GIB, 20 * _GIB)
_DEAD_ROWS: Final = 100_000
_EXPIRES_WITHIN: Final = timedelta(days=14)
"""From where on it warns, and from where on something fails."""
_OTHERS: Final = 2
"""Connections of a process beside its pools and its writer's: of its workers, and of what retention does."""


_SHORTEST_KEY: Final = 32


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do about it where it is not well."""

    check: str
    status: Status
    found: str
    todo: str | None = None


async def examine(settings: Settings) -> list[Finding]:
    """Everything that is looked at, in order; where the database is away, only that."""
    async with pool_of(settings) as engine:
        try:
            return [*await _findings(engine, settings), *of_settings(settings)]
        except Exception as error:
            if not is_away(error):
                raise
            found = f"cannot be reached ({type(error).__name__})"
            todo = "See that it runs, and that PERCORSO_DATABASE_URL leads to it with a user that may log in."
            return [Finding("database", "fail", found, todo)]


async def _findings(engine: AsyncEngine, settings: Settings) -> list[Finding]:
    async with reading(engine) as session:
        asked = datetime.now(UTC)
        server = await condition.server(session)
        answered = datetime.now(UTC)
        set_up = await doctor.settings(session)
        found = [
            of_server(int(set_up["server_version_num"]), replica=await doctor.is_replica(session)),
            of_schema(version := await health.schema_version(session), schema.newest()),
            of_durability(set_up),
            of_clock((server.now - (asked + (answered - asked) / 2)).total_seconds()),
            of_connections(server, settings),
            of_disk(server, disk_of(server.data_directory)),
            of_transactions(server),
            of_cleaning(await doctor.uncleared(session, least=_DEAD_ROWS), set_up, await doctor.age(session)),
            of_slots(await doctor.slots(session)),
        ]
        if version is None:
            return found
        found += [
            of_workers(await doctor.processes(session)),
            *of_partitions(await condition.days_left(session, server.now)),
            *of_followers(await condition.lags(session)),
            of_deliveries(await condition.backlogs(session)),
            of_quarantine(await condition.quarantined(session)),
            of_keys(await doctor.keys(session), server.now),
        ]
        return found


def of_server(version: int, *, replica: bool) -> Finding:
    """Whether the server is one that the service can run on."""
    found = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < OLDEST_SERVER:
        return Finding("database", "fail", f"{found} is too old", "Upgrade it to PostgreSQL 15 or newer.")
    if replica:
        todo = "Point PERCORSO_DATABASE_URL at the primary, or promote this server."
        return Finding("database", "fail", f"{found} follows another server and takes no writes", todo)
    return Finding("database", "ok", found)


def of_schema(version: str | None, newest: str) -> Finding:
    """Whether the schema is this release's."""
    if version == newest:
        return Finding("schema", "ok", newest)
    found = "there is none" if version is None else f"is at {version}; this release needs {newest}"
    return Finding("schema", "fail", found, "Run `percorso db upgrade` with this release.")


def of_durability(set_up: Mapping[str, str]) -> Finding:
    """Whether what is committed is on a disk, as each 2xx says."""
    off = [f"{name} = off" for name in ("fsync", "full_page_writes") if set_up[name] == "off"]
    if off:
        todo = "Turn them on: after a crash of the machine the database may be lost."
        return Finding("durability", "fail", ", ".join(off), todo)
    if set_up["synchronous_commit"] == "off":
        todo = "Turn it on: what was acknowledged in the last moment before a crash may be lost."
        return Finding("durability", "warn", "synchronous_commit = off", todo)
    return Finding("durability", "ok", "a commit is on disk before it is acknowledged")


def of_clock(ahead: float) -> Finding:
    """Whether the clocks of the database and of this machine agree."""
    found = f"the database is {abs(ahead):.3f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    todo = "Run NTP on both: moments are compared across them, such as how far something is behind."
    return _rated("clock", abs(ahead), _CLOCK_SECONDS, found, todo)


def of_connections(server: Server, settings: Settings) -> Finding:
    """Whether the server has connections left, and as many as this process may ask for."""
    each = settings.pool_size + settings.analytics_connections + settings.commit_connections + _OTHERS
    wanted, most = settings.workers * each, server.most_connections
    found = f"{server.connections} of {most} are used; with these settings a replica may use {wanted}"
    todo = "Raise max_connections, or lower PERCORSO_POOL_SIZE or PERCORSO_WORKERS; a pooler needs session mode."
    if wanted > most:
        return Finding("connections", "fail", found, todo)
    return _rated("connections", server.connections / most, _CONNECTIONS, found, todo)


def of_disk(server: Server, disk: Disk | None) -> Finding:
    """Whether there is room; of a database elsewhere only its size is known."""
    size = f"the database has {server.size / _GIB:.1f} GiB"
    if disk is None:
        return Finding("disk", "ok", f"{size}; its disk is not on this machine, so watch it there")
    found = f"{size}; {disk.free / _GIB:.1f} of {disk.size / _GIB:.1f} GiB are free"
    todo = "Make room, or set PERCORSO_RETENTION_DAYS: on a full disk nothing is stored."
    return _rated("disk", -disk.free / disk.size, (-_DISK[0], -_DISK[1]), found, todo)


def of_transactions(server: Server) -> Finding:
    """Whether a transaction holds back all that follow the commit log."""
    if server.oldest < _OLDEST_SECONDS[0]:
        return Finding("transactions", "ok", f"the oldest is {server.oldest:.0f} s old")
    who = f"that of {server.oldest_application or 'unknown'}" + (
        "" if server.oldest_pid is None else f" (pid {server.oldest_pid})"
    )
    found = f"the oldest, {who}, is {_spoken(server.oldest)} old"
    todo = (
        f"End it: SELECT pg_terminate_backend({server.oldest_pid})."
        if server.oldest_pid is not None
        else f"It is prepared: COMMIT PREPARED or ROLLBACK PREPARED '{server.oldest_application}'."
    )
    return _rated("transactions", server.oldest, _OLDEST_SECONDS, found, f"{todo} Rollups, profiles and feeds wait.")


def of_cleaning(tables: Sequence[Table], set_up: Mapping[str, str], age: float) -> Finding:
    """Whether dead rows are cleared away, and transaction ids freed."""
    if set_up["autovacuum"] == "off":
        return Finding("vacuum", "fail", "autovacuum = off", "Turn it on: tables grow without it, and ids run out.")
    if age >= _AGE[0]:
        found = f"{age:.0%} of all transaction ids are used"
        return _rated(
            "vacuum", age, _AGE, found, "Run VACUUM FREEZE, and end what holds it back, such as old transactions."
        )
    if tables:
        found = ", ".join(f"{each.name}: {each.dead} dead rows, {each.live} live" for each in tables)
        return Finding("vacuum", "warn", found, "Run VACUUM on these; look for old transactions, which hold it back.")
    return Finding("vacuum", "ok", "dead rows are cleared away")


def of_slots(slots: Sequence[Slot]) -> Finding:
    """Whether the server keeps its log for someone who is gone."""
    if not slots:
        return Finding("replication", "ok", "no slot is left behind")
    worst = slots[0]
    found = f"slot {worst.name} is read by no one; {worst.kept / _GIB:.1f} GiB of the log are kept for it"
    todo = f"Start its reader, or SELECT pg_drop_replication_slot('{worst.name}'): it fills the disk."
    return _rated("replication", worst.kept, _SLOT_BYTES, found, todo)


def of_workers(processes: int) -> Finding:
    """Whether anyone does what is to be done beside requests."""
    if processes:
        return Finding("workers", "ok", f"{processes} processes share what is done beside requests")
    todo = "Start the service, with PERCORSO_BACKGROUND_WORKERS on in one process at least."
    return Finding("workers", "warn", "no running process does what is done beside requests", todo)


def of_partitions(days: Mapping[str, float]) -> Iterator[Finding]:
    """Whether partitions are made ahead: without them each first group of a new month or day waits for one."""
    for table, left in days.items():
        found = f"{table} have room for {left:.1f} more days" if left else f"{table} have no partition for now"
        todo = "It is made when it is needed; see to a process with PERCORSO_BACKGROUND_WORKERS, which makes it before."
        yield Finding("partitions", "ok", found) if left >= 1 else Finding("partitions", "warn", found, todo)


def of_followers(lags: Sequence[Lag]) -> Iterator[Finding]:
    """Whether what follows the commit log keeps up."""
    if not lags:
        yield Finding("followers", "warn", "none has begun", "Start the service once; see `workers`.")
    for lag in lags:
        found = f"{lag.follower} is {_spoken(lag.seconds)} behind, by {lag.commits} commits"
        if lag.filling:
            found += ", and has not been through what was stored before"
        todo = "See the log for `a worker failed`, and `workers` and `transactions` here."
        yield _rated("followers", lag.seconds, _LAG_SECONDS, found, todo)


def of_deliveries(backlogs: Sequence[Backlog]) -> Finding:
    """Whether subscribers take what they are told."""
    if not backlogs:
        return Finding("deliveries", "ok", "there are no subscriptions")
    worst = max(backlogs, key=lambda each: each.oldest)
    found = (
        f"{sum(each.waiting for each in backlogs)} wait; the oldest, of {worst.protocol}, for {_spoken(worst.oldest)}"
    )
    todo = "See the log for which subscription fails, and mend its receiver or delete it."
    return _rated("deliveries", worst.oldest, _DELIVERY_SECONDS, found, todo)


def of_quarantine(items: int) -> Finding:
    """Whether quarantine is looked at: it grows where a sender goes wrong."""
    found = f"{'over ' if items >= condition.MOST_ITEMS else ''}{items} items"
    todo = "Read GET /v1/rejected, mend the sender, and set PERCORSO_QUARANTINE_DAYS."
    rated = _rated("quarantine", items, _QUARANTINE, found, todo)
    return rated._replace(status="warn") if rated.status == "fail" else rated


def of_keys(keys: Sequence[Key], now: datetime) -> Finding:
    """Whether there is a key to call with, and none that will end unnoticed."""
    todo = "Run `percorso keys create NAME --scope …`."
    if not keys:
        return Finding("keys", "fail", "no key is valid: no one can call the service", todo)
    if not any(key.admin for key in keys):
        return Finding("keys", "warn", "no key that is valid has the scope admin", todo)
    soon = [key for key in keys if key.expires_at is not None and key.expires_at - now < _EXPIRES_WITHIN]
    if soon:
        found = ", ".join(f"{key.name} ends {key.expires_at:%Y-%m-%d}" for key in soon[:5])
        return Finding("keys", "warn", found, "Give their holders new ones before.")
    return Finding("keys", "ok", f"valid: {len(keys)}")


def of_settings(settings: Settings) -> Iterator[Finding]:
    """Settings that work, and do what may not be meant."""
    risks = {
        "PERCORSO_ALLOW_PRIVATE_CALLBACKS": (
            settings.allow_private_callbacks,
            "callers may have the service post into its own network",
        ),
        "PERCORSO_AUDIT_READS": (settings.audit_reads < 1, "not every read of a customer is in the audit log"),
        "PERCORSO_BACKGROUND_WORKERS": (
            not settings.background_workers,
            "this process keeps no rollups, profiles or retention; another must",
        ),
        "PERCORSO_BOOTSTRAP_KEY": (
            settings.bootstrap_key is not None and len(settings.bootstrap_key.get_secret_value()) < _SHORTEST_KEY,
            f"is shorter than {_SHORTEST_KEY} characters: it can be guessed",
        ),
    }
    risky = [(name, found) for name, (so, found) in risks.items() if so]
    for name, found in risky:
        yield Finding("settings", "warn", f"{name}: {found}", f"Change {name}, unless that is meant.")
    if not risky:
        yield Finding("settings", "ok", "none that endangers anything")


def _rated(check: str, value: float, bounds: tuple[float, float], found: str, todo: str) -> Finding:
    """A finding by how large a value is: the bounds are from where on it warns, and from where on it fails."""
    if value < bounds[0]:
        return Finding(check, "ok", found)
    return Finding(check, "warn" if value < bounds[1] else "fail", found, todo)


def _spoken(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
