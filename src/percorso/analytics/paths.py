"""Paths: which nodes customers most often come by one after the other."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics import tallies
from percorso.analytics.arrays import Ints
from percorso.analytics.journeys import Journeys, Nodes
from percorso.analytics.tallies import Tally

LENGTHS: Final = (2, 7)
_WORD: Final = 64


def most_nodes(length: int) -> int:
    """How many nodes can be told apart in paths of this length: 509 in those of seven, a thousand times that in three.

    Beyond, those that were not met early (see `Nodes`) are `OTHER`.
    """
    return (1 << min(_WORD // length, 21)) - 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which paths are looked for: those of so many nodes, with these nodes (numbers) at an end or anywhere."""

    length: int
    starts_with: int | None = None
    ends_with: int | None = None
    through: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Paths, the commonest first: numbers of nodes (paths, length), counts and customers.

    There are `total` of them, `paths` different ones; no count is more than `missed` too low.
    """

    nodes: Ints
    counts: Ints
    customers: Ints
    total: int
    paths: int
    missed: int


class Paths:
    """What is counted of paths, bucket by bucket.

    Every run of so many steps is one, where each is no more than `within` after the one before it; so a longer run has
    several of them.
    """

    def __init__(self, nodes: Nodes, wanted: Wanted, *, within_ms: int) -> None:
        self._nodes = nodes
        self._wanted = wanted
        self._within_ms = within_ms
        self._tally = tallies.NOTHING
        self._bits = min(_WORD // wanted.length, 21)
        self._total = 0

    def add(self, journeys: Journeys) -> None:
        """Count the steps of customers who were not counted yet."""
        wanted = self._wanted
        if len(journeys) < wanted.length:
            return
        node = self._nodes.numbers(journeys.steps)
        links = np.cumsum(journeys.linked(self._within_ms))
        more = wanted.length - 1
        fits: NDArray[np.bool_] = links[more:] - links[: len(links) - more] == more
        if wanted.starts_with is not None:
            fits &= node[: len(node) - more] == wanted.starts_with
        if wanted.ends_with is not None:
            fits &= node[more:] == wanted.ends_with
        if wanted.through is not None:
            seen = np.concatenate(([0], np.cumsum(node == wanted.through)))
            fits &= seen[wanted.length :] > seen[: len(seen) - wanted.length]
        first = np.flatnonzero(fits)
        # In as few bits as there are nodes until now, since fewer are quicker to sort.
        keys = np.zeros(len(first), np.uint64)
        narrow = self._nodes.bits
        for place in range(wanted.length):
            keys = (keys << np.uint64(narrow)) | node[first + place].astype(np.uint64)
        self._total += len(keys)
        found = Tally.of(keys, journeys.customer[first], bits=narrow * wanted.length)
        wide = np.zeros(len(found.keys), np.uint64)
        for at in _places(wanted.length, narrow):
            wide = (wide << np.uint64(self._bits)) | (found.keys >> at & np.uint64((1 << narrow) - 1))
        self._tally = self._tally.plus(Tally(wide, found.counts, found.customers))

    def found(self, top: int) -> Found:
        """The commonest paths."""
        chosen = self._tally.top(top)
        keys, mask = self._tally.keys[chosen], np.uint64((1 << self._bits) - 1)
        nodes = [(keys >> at & mask).astype(np.int64) for at in _places(self._wanted.length, self._bits)]
        return Found(
            np.stack(nodes, axis=1),
            self._tally.counts[chosen].astype(np.int64),
            self._tally.customers[chosen].astype(np.int64),
            self._total,
            len(self._tally.keys),
            self._tally.missed,
        )


def _places(length: int, bits: int) -> list[np.uint64]:
    """By how many bits to shift a key, for each node of its path."""
    return [np.uint64(bits * place) for place in reversed(range(length))]
