"""The ledger: which events were sent, what was said of each, and what of it all the tables hold in the end."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

import asyncpg

from percorso import ids
from percorso.bench.events import Events

_FETCHED: Final = 5_000
_NAMED: Final = 5

Acknowledgement = Literal["stored", "duplicate"]


@dataclass(slots=True)
class Account:
    """What was found; all but the first two must be 0.

    `lost`: acknowledged and not stored. `doubled`: stored more than once, or said to be stored more than once.
    `unsent`: stored, and never sent. `altered`: stored with other content than was sent, or under a key that is not its
    own. `unpaired`: without exactly one key, or keys without an interaction. `unlogged`: not named exactly once by the
    commit log, or named there and not stored. `examples` say of some which they are.
    """

    acknowledged: int
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    unsent: int = 0
    altered: int = 0
    unpaired: int = 0
    unlogged: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether the promises were kept."""
        return not (self.lost or self.doubled or self.unsent or self.altered or self.unpaired or self.unlogged)

    def example(self, what: str, number: object) -> None:
        """Name one of those that are not as they must be, while there are few."""
        if len(self.examples) < _NAMED:
            self.examples.append(f"{what}: {number}")


class Ledger:
    """The events of one source, numbered from 0; each number always gives the same event."""

    def __init__(self, source: str = "faults") -> None:
        self.source = source
        self.now = datetime.now(UTC)
        self._events = Events(source, self.now)
        self._said: list[Counter[str] | None] = []

    def new(self, count: int) -> list[int]:
        """Numbers that were not given out yet; whoever takes them sends them."""
        first = len(self._said)
        self._said += [None] * count
        return list(range(first, first + count))

    def event(self, number: int) -> bytes:
        """The event of this number, as JSON."""
        return self._events.one(number)

    def acknowledge(self, number: int, status: Acknowledgement) -> None:
        """The service says that this event is stored."""
        said = self._said[number] or Counter()
        said[status] += 1
        self._said[number] = said

    @property
    def sent(self) -> int:
        """How many numbers were given out."""
        return len(self._said)

    @property
    def acknowledged(self) -> int:
        """How many events the service said are stored."""
        return sum(said is not None for said in self._said)

    def outstanding(self) -> list[int]:
        """The events that were sent, and of which the service has not said yet that they are stored."""
        return [number for number, said in enumerate(self._said) if said is None]

    async def reconcile(self, url: str) -> Account:
        """Hold what was said against what stands in the database; this ledger's source must be its only one."""
        account = Account(self.acknowledged)
        connection = await asyncpg.connect(url, timeout=30)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                found = await self._interactions(connection, account)
                account.unpaired += await connection.fetchval(_KEYS_WITHOUT_INTERACTION)
                account.unlogged += await connection.fetchval(_NOT_LOGGED_ONCE)
        finally:
            await connection.close()
        for number, said in enumerate(self._said):
            if said is not None and not found[number]:
                account.lost += 1
                account.example("lost", number)
            # Two who store the same at once are told apart: of one event, "stored" is said once at most.
            twice = max(found[number] - 1, 0) + max((said or Counter())["stored"] - 1, 0)
            if twice:
                account.doubled += twice
                account.example("doubled", f"{number}, found {found[number]} times, answered {said}")
        return account

    async def _interactions(self, connection: "asyncpg.Connection[asyncpg.Record]", account: Account) -> bytearray:
        """Look at every interaction; how often each number was found."""
        salt = await connection.fetchval("SELECT salt FROM deployment")
        found = bytearray(self.sent)
        seen: set[tuple[bytes, bytes]] = set()
        cursor = await connection.cursor(_INTERACTIONS)
        while records := await cursor.fetch(_FETCHED):
            for identity, interaction, document, key in records:
                place = (identity.bytes, interaction.bytes)
                if place in seen:
                    account.unpaired += 1
                    account.example("two keys for", interaction)
                    continue
                seen.add(place)
                account.stored += 1
                said = json.loads(document)
                number = int(said["id"])
                if said["source"] != self.source or not 0 <= number < len(found):
                    account.unsent += 1
                    account.example("unsent", document)
                    continue
                found[number] += 1
                if key is None:
                    account.unpaired += 1
                    account.example("no key for", number)
                elif key.bytes != ids.dedup_key(salt, self.source, said["id"]):
                    account.altered += 1
                    account.example("another's key for", number)
                if document.encode() != self.event(number):
                    account.altered += 1
                    account.example("altered", document)
        return found


_INTERACTIONS: Final = (
    "SELECT i.identity_id, i.id, i.document::text, k.key FROM interactions i "
    "LEFT JOIN interaction_keys k ON k.identity_id = i.identity_id AND k.interaction_id = i.id"
)
_KEYS_WITHOUT_INTERACTION: Final = (
    "SELECT count(*) FROM interaction_keys k LEFT JOIN interactions i "
    "ON i.identity_id = k.identity_id AND i.id = k.interaction_id WHERE i.id IS NULL"
)
_NOT_LOGGED_ONCE: Final = (
    "SELECT count(*) FROM interactions i FULL JOIN (SELECT named.identity_id, named.id, count(*) AS times "
    "FROM commits, unnest(identity_ids, interaction_ids) AS named (identity_id, id) "
    "WHERE what = 'stored' GROUP BY 1, 2) c ON c.identity_id = i.identity_id AND c.id = i.id "
    "WHERE i.id IS NULL OR c.times IS DISTINCT FROM 1"
)
