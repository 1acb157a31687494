"""Makes the partitions of the coming month and days before they are needed, so that no group of the writer has to."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.storage import partitions
from percorso.storage.database import writing
from percorso.workers.runtime import Worker

_EVERY_SECONDS: Final = 3600.0
_DAYS_AHEAD: Final = 2


def worker(engine: AsyncEngine) -> Worker:
    """The worker that does so."""

    async def run() -> bool:
        await ensure_ahead(engine, datetime.now(UTC))
        return False

    return Worker("partitions", _EVERY_SECONDS, run)


async def ensure_ahead(engine: AsyncEngine, now: datetime) -> None:
    """Make the partitions of this month and the next, and of today and the two days after it."""
    [month] = partitions.months_of([ids.unix_ms(now)])
    days = [now + timedelta(days=number) for number in range(_DAYS_AHEAD + 1)]
    async with writing(engine) as session:
        await partitions.ensure_months(session, (month, month + 1))
    async with writing(engine) as session:
        await partitions.ensure_days(session, days)
