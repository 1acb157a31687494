"""Partitions on demand: a month of `interactions`, a day of `commits`.

A partition is made beside its table and then attached, which lets reads and writes of the table go on
(`CREATE TABLE … PARTITION OF` would stop them all).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from percorso import ids
from percorso.storage.database import WriteSession

_DAY_MS = 86_400_000
_LOCK = 0x70657263_70617274
"""Advisory lock: one process makes partitions at a time."""


def months_of(occurred_ms: Iterable[int]) -> set[int]:
    """The months of Unix times in ms, as running numbers: year × 12 + month − 1."""
    days = {moment // _DAY_MS for moment in occurred_ms}
    firsts = (ids.from_unix_ms(day * _DAY_MS) for day in days)
    return {first.year * 12 + first.month - 1 for first in firsts}


def _first_of(month: int) -> datetime:
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


async def ensure_months(session: WriteSession, months: Iterable[int]) -> None:
    """Make the partitions of `interactions` for these running months, where they do not exist."""
    for month in sorted(set(months)):
        first, following = _first_of(month), _first_of(month + 1)
        await _ensure(
            session,
            "interactions",
            f"interactions_{first:%Y_%m}",
            str(ids.first_id_at(first)),
            str(ids.first_id_at(following)),
        )


async def ensure_days(session: WriteSession, days: Iterable[datetime]) -> None:
    """Make the partitions of `commits` for the days that these moments fall on, where they do not exist."""
    for day in sorted({moment.astimezone(UTC).date() for moment in days}):
        await _ensure(
            session, "commits", f"commits_{day:%Y_%m_%d}", f"{day} 00:00+00", f"{day + timedelta(days=1)} 00:00+00"
        )


async def _ensure(session: WriteSession, parent: str, name: str, low: str, high: str) -> None:
    if await _exists(session, name):
        return
    async with session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await _exists(session, name):
            return
        await session.execute(f'CREATE TABLE "{name}" (LIKE "{parent}" INCLUDING ALL)')
        await session.execute(
            f"ALTER TABLE \"{parent}\" ATTACH PARTITION \"{name}\" FOR VALUES FROM ('{low}') TO ('{high}')"
        )


async def _exists(session: WriteSession, name: str) -> bool:
    """Whether there is such a table; `to_regclass` may still say what was so before the lock was waited for."""
    sql = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = $1 AND relnamespace = current_schema()::regnamespace)"
    return bool(await session.fetchval(sql, name))
