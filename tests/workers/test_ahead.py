"""Partitions are made before they are needed."""

from datetime import UTC, datetime

import pytest

from percorso.http.services import Services
from percorso.workers import partitions
from writing import Database


async def _tables(database: Database) -> list[str]:
    found = await database.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhrelid IN "
        "(SELECT oid FROM pg_class WHERE relkind = 'r') ORDER BY 1"
    )
    return [record["name"] for record in found]


@pytest.mark.parametrize(
    ("now", "months", "days"),
    [
        ("2026-11-25T03:00:00Z", ["2026_11", "2026_12"], ["2026_11_25", "2026_11_26", "2026_11_27"]),
        ("2026-12-31T23:59:59Z", ["2026_12", "2027_01"], ["2026_12_31", "2027_01_01", "2027_01_02"]),
    ],
)
async def test_the_coming_month_and_days_have_their_partitions_before_they_come(
    services: Services, database: Database, now: str, months: list[str], days: list[str]
) -> None:
    for _ in range(2):
        await partitions.ensure_ahead(services.engine, datetime.fromisoformat(now).astimezone(UTC))
        wanted = [f"commits_{day}" for day in days] + [f"interactions_{month}" for month in months]
        assert await _tables(database) == wanted
