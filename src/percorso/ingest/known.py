"""What this process knows to be committed, so that it need not write or ask again.

Everything here is only a shortcut: an entry that is missing costs a statement. What is known of identities and links
holds for one epoch (`storage/epoch.py`), after which all of it is forgotten: an identity may have been erased, a link
cut. It holds for one connection: behind a new one may be a standby that never heard of the last commits, or a restored
database.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from itertools import islice
from typing import TypeVar

from asyncpg.pgproto.pgproto import UUID

K = TypeVar("K")
V = TypeVar("V")

_LEAVES = 8
"""One in so many entries makes room at once: to find the oldest of a dict one at a time is slow."""


class Known:
    """The identities, links, touchpoints and partitions known to be there; one a connection of the writer."""

    def __init__(self, size: int, epoch: int) -> None:
        self.size = size
        self.epoch = epoch
        """The epoch in which all that is known of identities and links was learnt."""
        self.customers: dict[UUID, UUID] = {}
        """The customer of each identity, as of when it was last written."""
        self.links: dict[bytes, None] = {}
        """Links that were made, or that were found stopped, which was noted then: both ids in a row.

        A pair of UUIDs would keep both alive when nothing else does.
        """
        self.touchpoints: dict[str, int] = {}
        self.months: set[int] = set()
        self.days: set[date] = set()
        self.careful = 0
        """How many groups are still to take the careful path at once, since duplicates come together."""

    def learn(self, epoch: int, customers: Mapping[UUID, UUID], links: Iterable[tuple[UUID, UUID]]) -> None:
        """Remember what a transaction wrote that was begun in this epoch, after its commit; nothing of an older one."""
        if epoch != self.epoch:
            return
        self.customers.update(customers)
        self.links.update(_joined(links))
        trim(self.customers, self.size)
        trim(self.links, self.size)

    def recall(self, epoch: int, customers: Mapping[UUID, UUID], links: Collection[tuple[UUID, UUID]]) -> bool:
        """Remember what was stored before, as read in this epoch; whether there was room, and it still is the epoch.

        Nothing that was learnt later gives way.
        """
        if (
            epoch != self.epoch
            or len(self.customers) + len(customers) > self.size
            or len(self.links) + len(links) > self.size
        ):
            return False
        self.customers |= customers
        self.links |= _joined(links)
        return True

    def forget(self, epoch: int) -> None:
        """Begin a newer epoch: what was known of identities and links may be wrong."""
        if epoch > self.epoch:
            self.epoch = epoch
            self.customers.clear()
            self.links.clear()

    def has_link(self, a: UUID, b: UUID) -> bool:
        """Whether the link between these is known, `a < b`."""
        return a.bytes + b.bytes in self.links

    def learn_touchpoints(self, registered: Mapping[str, int]) -> None:
        """Remember touchpoints, and forget the oldest where they are too many."""
        self.touchpoints.update(registered)
        trim(self.touchpoints, self.size)

    def forget_partitions(self) -> None:
        """Look again at which partitions there are: one may have been dropped."""
        self.months.clear()
        self.days.clear()


def _joined(links: Iterable[tuple[UUID, UUID]]) -> dict[bytes, None]:
    return dict.fromkeys(a.bytes + b.bytes for a, b in links)


def trim(known: dict[K, V], size: int) -> None:
    """Keep at most `size` entries, the newest."""
    if len(known) > size:
        for key in list(islice(known, len(known) - size + size // _LEAVES)):
            del known[key]
