"""What tests of watches share: rules, a clock that is moved, a worker that does all there is to do, and what fired."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from percorso.http.services import Services
from percorso.http.watch_rules import WatchRule
from percorso.queries import followers
from percorso.queries.watching import FOLLOWER
from percorso.storage import watching as store
from percorso.storage.database import ReadSession, reading, writing
from percorso.storage.watching import Put
from percorso.workers.watching import Watching
from writing import Database

Said: TypeAlias = dict[str, Any]

UNANSWERED: Final[Said] = {
    "when": [{"match": {"complaint": True}}],
    "then_absent": {"match": {"direction": "outbound"}, "within": "4h", "same": "conversation"},
}
THREE: Final[Said] = {"when": [{"match": {"reaches_out": True}, "count": 3, "within": "7d"}], "same": "topic"}
ABANDONED: Final[Said] = {
    "when": [{"match": {"channel": "phone", "outcome": "abandoned"}}],
    "then_absent": {"match": {"channel": "purchase"}, "within": "2d"},
}


class Clock:
    """The clock of the database as the worker reads it, moved ahead."""

    def __init__(self) -> None:
        self.start = datetime.now(UTC) + timedelta(minutes=1)
        self.ahead = timedelta()

    async def __call__(self, _: ReadSession) -> datetime:
        return datetime.now(UTC) + self.ahead

    def move(self, hours: float) -> None:
        """Let it be so many hours after the start, and two minutes."""
        self.ahead = timedelta(hours=hours, minutes=3)

    def at(self, hours: float) -> str:
        """So many hours after the start."""
        return (self.start + timedelta(hours=hours)).isoformat()


def watcher(services: Services, *, late: int = 7, kept: int = 365) -> Watching:
    """What watches; days."""
    return Watching(
        services.engine,
        generation=services.deployment.generation,
        late=timedelta(days=late),
        kept=timedelta(days=kept),
    )


async def watch(services: Services, name: str, rule: Said, *, enabled: bool = True) -> Put:
    """Say a watch, and let the worker see that it is there."""
    async with writing(services.engine) as session:
        put = await store.put(
            session,
            name,
            description=None,
            rule=WatchRule.model_validate(rule, strict=False).stored(),
            enabled=enabled,
            by="t",
        )
    await look(services)
    return put


async def look(services: Services, this: Watching | None = None) -> None:
    """Look at all there is to look at."""
    this = this or watcher(services)
    while await this.run():
        pass
    async with reading(services.engine) as session:
        assert await followers.as_of(session, FOLLOWER) is not None


async def fired(database: Database) -> list[tuple[str, Sequence[str]]]:
    """What fired, in order: the watch, and the senders' ids of the interactions, in order; those that are there."""
    rows = await database.fetch(
        "SELECT name, ARRAY(SELECT i.document->>'id' FROM watch_evidence e JOIN interactions i "
        "ON i.identity_id = e.identity_id AND i.id = e.interaction_id WHERE e.firing_id = f.firing_id ORDER BY i.id) "
        "FROM watch_firings f ORDER BY at, firing_id"
    )
    return [(row[0], row[1]) for row in rows]


async def told(database: Database) -> list[Any]:
    """The rows of the commit log that say that something fired, in order."""
    return await database.fetch("SELECT * FROM commits WHERE what = 'watch' ORDER BY generation, xid8")
