"""What tests of retention share: a run at a moment of the test's choice, and what stands after it."""

from datetime import UTC, datetime
from typing import Any

from percorso.queries.retention import Policy
from percorso.workers import retention
from percorso.workers.retention import Outcome
from support import settings_for
from writing import Database

NOW = datetime(2026, 6, 15, 12, 30, tzinfo=UTC)


def policy(**given: Any) -> Policy:
    """The policy of these settings."""
    return Policy.of(settings_for("postgresql://unused", **given))


async def retain(url: str, *, now: datetime = NOW, **given: Any) -> Outcome:
    """Take away what these settings do not keep at this moment."""
    outcome = await retention.run(url, settings_for(url), policy(**given), now)
    assert outcome is not None
    return outcome


async def partitions_of(database: Database, parent: str) -> list[str]:
    """The partitions a table has, and what is left of those that were taken out."""
    found = await database.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ ('^' || $1 || '_\\d{4}') ORDER BY 1", parent
    )
    return [record["relname"] for record in found]


async def deletions(database: Database) -> list[Any]:
    """The rows of the commit log that name deletions, in order."""
    return await database.fetch("SELECT * FROM commits WHERE what = 'deleted' ORDER BY generation, xid8")
