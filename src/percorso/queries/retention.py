"""What is kept for how long, and what is due to go."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import Problem, StartupError
from percorso.interaction import CHANNELS
from percorso.settings import Settings
from percorso.storage.database import ReadSession

BEGINNING: Final = datetime(ids.EPOCH_YEAR, 1, 1, tzinfo=UTC)
"""Before this nothing can have occurred."""

_HOUR: Final = timedelta(hours=1)
_ROWS_AT_ONCE: Final = 1_000
_MONTHS: Final = r"^interactions_(\d{4})_(\d{2})$"
_DAYS: Final = r"^commits_(\d{4})_(\d{2})_(\d{2})$"


@dataclass(frozen=True, slots=True)
class Policy:
    """For how many days something is kept; None is for ever. What is said of a channel goes before what is said of all.

    Whole days in UTC count: what is kept for a day may be there for nearly two.
    """

    days: int | None
    channel_days: Mapping[str, int]
    quarantine_days: int | None
    commit_log_days: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say; StartupError where they name a channel that is none."""
        for channel in settings.retention_channel_days:
            if channel not in CHANNELS:
                problem = Problem("PERCORSO_RETENTION_CHANNEL_DAYS", f"names {channel!r}, which is no channel")
                raise StartupError("A setting is not as it must be.", problems=[problem])
        return cls(
            settings.retention_days,
            settings.retention_channel_days,
            settings.quarantine_days,
            settings.commit_log_days,
        )

    def cutoffs(self, now: datetime) -> dict[str, datetime]:
        """Of each channel that is not kept for ever, the moment before which its interactions are to go."""
        days = {channel: self.channel_days.get(channel, self.days) for channel in CHANNELS}
        return {channel: _days_ago(now, count) for channel, count in days.items() if count is not None}

    def months_before(self, now: datetime) -> datetime | None:
        """The moment before which whatever occurred is to go, on whatever channel; None where there is none."""
        cutoffs = self.cutoffs(now)
        return min(cutoffs.values()) if len(cutoffs) == len(CHANNELS) else None

    def quarantine_before(self, now: datetime) -> datetime | None:
        """The moment before which what was refused is to go; None where it stays."""
        return None if self.quarantine_days is None else _days_ago(now, self.quarantine_days)

    def commits_before(self, now: datetime) -> datetime:
        """The moment before which the commit log is to go, where all that follow it have read so far."""
        return _days_ago(now, self.commit_log_days)


def _days_ago(now: datetime, days: int) -> datetime:
    """The beginning of the day in UTC so many days ago, or of all times."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return max(today - timedelta(days=min(days, (today - BEGINNING).days)), BEGINNING)


@dataclass(frozen=True, slots=True)
class Part:
    """A partition: its range of time, the end excluded; its size with its indexes; about how many rows it has."""

    name: str
    first: datetime
    following: datetime
    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class Span:
    """Interactions of these channels that occurred in a range of time, the end excluded."""

    channels: Sequence[str]
    low: datetime
    high: datetime


@dataclass(frozen=True, slots=True)
class Read:
    """How far the commit log was read: all with a lower `(generation, xid8)`."""

    generation: int
    xid8: int


@dataclass(frozen=True, slots=True)
class State:
    """The last run that was completed: when, how far it read the commit log, and what it took away."""

    began_at: datetime
    ended_at: datetime
    read: Read
    partitions: int
    interactions: int
    rejected: int
    commit_days: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Count:
    """So many interactions of a channel in a month are to go; `whole` where the month goes as a whole.

    `bytes` is their share in the month's size by number.
    """

    month: Part
    channel: str
    interactions: int
    bytes: int
    whole: bool


async def months(session: ReadSession) -> list[Part]:
    """The months of interactions there are, the oldest first. Reads the catalogue only."""
    return await _parts(session, "interactions", _MONTHS)


async def whole_months(session: ReadSession, policy: Policy, now: datetime) -> list[Part]:
    """The months that are to go as a whole, since nothing that occurred in them is kept. Reads the catalogue only."""
    before = policy.months_before(now)
    return [] if before is None else [part for part in await months(session) if part.following <= before]


async def commit_days(session: ReadSession, policy: Policy, now: datetime) -> list[Part]:
    """The days of the commit log that are to go: old enough, and read by everything that follows it.

    Relies on the primary key of commits.
    """
    before = policy.commits_before(now)
    old = [part for part in await _parts(session, "commits", _DAYS) if part.following <= before]
    return [part for part in old if not await _is_awaited(session, part)]


async def _is_awaited(session: ReadSession, part: Part) -> bool:
    """Whether anything that follows the commit log has still to read some of this part."""
    return bool(
        await session.fetchval(
            f'SELECT EXISTS (SELECT FROM followers f WHERE EXISTS (SELECT FROM "{part.name}" c '
            "WHERE (c.generation, c.xid8) > (f.generation, f.xid8)))"
        )
    )


async def _parts(session: ReadSession, parent: str, pattern: str) -> list[Part]:
    rows = await session.fetch(
        "SELECT c.relname AS name, pg_total_relation_size(c.oid) AS size, greatest(c.reltuples, 0)::bigint AS rows, "
        "regexp_match(c.relname, $2) AS ends FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid "
        "WHERE h.inhparent = to_regclass($1) AND NOT h.inhdetachpending AND c.relname ~ $2 ORDER BY c.relname",
        parent,
        pattern,
    )
    return [Part(row["name"], *_range([int(each) for each in row["ends"]]), row["size"], row["rows"]) for row in rows]


def _range(ends: Sequence[int]) -> tuple[datetime, datetime]:
    """A month, given as year and month, or a day."""
    if len(ends) == len(("year", "month", "day")):
        first = datetime(ends[0], ends[1], ends[2], tzinfo=UTC)
        return first, first + timedelta(days=1)
    year, month = ends
    return datetime(year, month, 1, tzinfo=UTC), datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


async def swept(session: ReadSession) -> dict[str, datetime]:
    """How far each channel was swept."""
    rows = await session.fetch("SELECT channel, swept_until FROM retention_sweeps")
    return {row["channel"]: row["swept_until"] for row in rows}


async def state(session: ReadSession) -> State | None:
    """The last run that was completed; None where there was none."""
    row = await session.fetchrow(
        "SELECT began_at, ended_at, generation, xid8::text, partitions, interactions, rejected, commit_days, bytes "
        "FROM retention_state"
    )
    return None if row is None else State(row[0], row[1], Read(row[2], int(row[3])), *row[4:])


async def readable(session: ReadSession) -> Read:
    """How far the commit log can be read now without missing a commit that is still open."""
    row = await session.fetchrow(
        "SELECT generation, pg_snapshot_xmin(pg_current_snapshot())::text AS xid8 FROM deployment"
    )
    assert row is not None  # noqa: S101 - it is made at the first start
    return Read(row["generation"], int(row["xid8"]))


async def late(session: ReadSession, since: Read, until: Read, before: datetime) -> list[datetime]:
    """The hours before a moment in which something was stored or enriched by commits in this range of the log.

    Relies on the primary key of commits.
    """
    rows = await session.fetch(
        "SELECT DISTINCT hour FROM commits c CROSS JOIN LATERAL unnest(c.hours) AS hour "
        "WHERE (c.generation, c.xid8) >= ($1, $2::text::xid8) AND (c.generation, c.xid8) < ($3, $4::text::xid8) "
        "AND c.what IN ('stored', 'changed') AND hour < $5 ORDER BY hour",
        since.generation,
        str(since.xid8),
        until.generation,
        str(until.xid8),
        before,
    )
    return [row["hour"] for row in rows]


def spans(
    cutoffs: Mapping[str, datetime], swept: Mapping[str, datetime], late: Iterable[datetime], months: Sequence[Part]
) -> list[Span]:
    """What is to be searched for interactions to delete, each span within one of the months, none of them twice.

    That is what came of age since each channel was last swept, and the hours before that in which something came late.
    """
    done = {channel: min(swept.get(channel, BEGINNING), cutoff) for channel, cutoff in cutoffs.items()}
    groups: dict[tuple[datetime, datetime], list[str]] = {}
    for channel, cutoff in cutoffs.items():
        groups.setdefault((done[channel], cutoff), []).append(channel)
    wanted = [Span(channels, low, high) for (low, high), channels in groups.items()]
    for hour in late:
        channels = [channel for channel in cutoffs if hour < done[channel]]
        last = wanted[-1] if wanted else None
        if last is not None and last.high == hour and last.channels == channels:
            wanted[-1] = Span(channels, last.low, hour + _HOUR)
        else:
            wanted.append(Span(channels, hour, hour + _HOUR))
    within = (
        Span(span.channels, max(span.low, month.first), min(span.high, month.following))
        for month in months
        for span in wanted
        if span.channels
    )
    return [span for span in within if span.low < span.high]


async def expired(session: ReadSession, span: Span) -> AsyncGenerator[Sequence[tuple[UUID, UUID]]]:
    """The interactions of a span, some at a time, each as its identity's id and its own.

    Relies on the BRIN index on id, where they came in order of time; else it reads one partition once.
    """
    cursor = await session.cursor(
        "SELECT identity_id, id FROM interactions WHERE id >= $1 AND id < $2 AND channel = ANY($3)",
        *bounds(span),
        span.channels,
    )
    while rows := await cursor.fetch(_ROWS_AT_ONCE):
        yield [(row["identity_id"], row["id"]) for row in rows]


def bounds(span: Span | Part) -> tuple[UUID, UUID]:
    """The ids of a range of time, the last excluded."""
    low, high = (span.low, span.high) if isinstance(span, Span) else (span.first, span.following)
    return ids.first_id_at(low), ids.first_id_at(high)


async def counts(session: ReadSession, policy: Policy, now: datetime) -> AsyncIterator[Count]:
    """Count the interactions that are to go, month by month. Reads each month that has any whole, once."""
    cutoffs = policy.cutoffs(now)
    whole = {part.name for part in await whole_months(session, policy, now)}
    latest = max(cutoffs.values(), default=BEGINNING)
    for month in await months(session):
        if month.first >= latest:
            break
        rows = await session.fetch(
            f"SELECT i.channel, count(*) AS held, count(*) FILTER (WHERE i.id < c.cutoff) AS expired "
            f'FROM "{month.name}" i LEFT JOIN unnest($1::text[], $2::uuid[]) AS c(channel, cutoff) '
            "ON c.channel = i.channel GROUP BY i.channel ORDER BY i.channel",
            list(cutoffs),
            [ids.first_id_at(cutoff) for cutoff in cutoffs.values()],
        )
        held = sum(row["held"] for row in rows)
        for row in rows:
            if expired := row["expired"]:
                share = month.size * expired // held
                yield Count(month, row["channel"], expired, share, whole=month.name in whole)


async def count_rejected(session: ReadSession, policy: Policy, now: datetime) -> int:
    """How many refused items are to go. Relies on the primary key, which is ordered by time."""
    before = policy.quarantine_before(now)
    if before is None:
        return 0
    found: int = await session.fetchval(
        "SELECT count(*) FROM rejected_interactions WHERE rejection_id < $1", ids.first_id_at(before)
    )
    return found
