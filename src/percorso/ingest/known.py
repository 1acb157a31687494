"""What this process knows to be committed, so that it need not write or ask again.

Everything here is only a shortcut: an entry that is missing costs a statement, and one that is out of date is
harmless (an identity's former customer id still resolves to its present customer).
"""

from collections.abc import Mapping
from datetime import date
from typing import TypeVar

from asyncpg.pgproto.pgproto import UUID

K = TypeVar("K")
V = TypeVar("V")


class Known:
    """The identities, links, touchpoints and partitions known to be there; one a writer."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.customers: dict[UUID, UUID] = {}
        """The customer of each identity, as of when it was last written."""
        self.links: dict[tuple[UUID, UUID], None] = {}
        self.touchpoints: dict[str, int] = {}
        self.months: set[int] = set()
        self.days: set[date] = set()
        self.careful = 0
        """How many groups are still to take the careful path at once, since duplicates come together."""

    def learn(self, customers: Mapping[UUID, UUID], links: Mapping[tuple[UUID, UUID], None]) -> None:
        """Remember what a transaction wrote, after its commit."""
        _extend(self.customers, customers, self._size)
        _extend(self.links, links, self._size)

    def learn_touchpoints(self, touchpoints: Mapping[str, int]) -> None:
        """Remember the ids of touchpoints."""
        _extend(self.touchpoints, touchpoints, self._size)


def _extend(known: dict[K, V], new: Mapping[K, V], size: int) -> None:
    known.update(new)
    for _ in range(len(known) - size):
        del known[next(iter(known))]
