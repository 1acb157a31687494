"""Transitions: how customers go on from one node to the next.

An edge leads from the node of one step to that of the customer's next one, no more than `within` later. The first step
of all and one after a longer pause are entries, the last of all and one before a longer pause exits.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics import tallies
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.histograms import Ragged, bins, percentiles
from percorso.analytics.journeys import Journeys, Nodes
from percorso.analytics.tallies import Keys, Tally

BITS: Final = 21
"""Bits of a number of a node in a key."""
MOST_NODES: Final = (1 << BITS) - 2
OUTSIDE: Final = (1 << BITS) - 1
"""Stands for where customers come from when they enter, and go to when they leave."""
_BINS: Final = 512
"""More than a gap of ten years has (`histograms.bins`)."""
_LIKELY: Final = 8192
"""Edges that may come to be the commonest."""
_HISTOGRAMS: Final = 2 * _LIKELY
_IN_TABLE: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edges, the commonest first: numbers of nodes or `OUTSIDE`, counts, customers, median gap in s (NaN: outside).

    All of them come to `steps + exits` in `edges` different ones; no count is more than `missed` too low.
    """

    source: Ints
    target: Ints
    counts: Ints
    customers: Ints
    median_seconds: Floats
    total: int
    edges: int
    missed: int


class Transitions:
    """What is counted of transitions, bucket by bucket.

    The gaps of an edge are kept as a histogram (`histograms`), of which the median is within 2 %. Only those of the
    commonest 8,192 edges are: one that comes to be among them later, since customers come in random order, has those of
    the customers from then on.
    """

    def __init__(self, nodes: Nodes, *, within_ms: int) -> None:
        self._nodes = nodes
        self._within_ms = within_ms
        self._tally = tallies.NOTHING
        self._kept: Keys = np.empty(0, np.uint64)
        self._gaps = np.zeros((0, _BINS), np.uint32)
        self._total = 0

    def add(self, journeys: Journeys) -> None:
        """Count the steps of customers who were not counted yet."""
        if not len(journeys):
            return
        node = self._nodes.numbers(journeys.steps)
        linked = journeys.linked(self._within_ms)
        left = ~np.append(linked[1:], False)
        sources = np.concatenate((np.where(linked, np.append(OUTSIDE, node[:-1]), OUTSIDE), node[left]))
        targets = np.concatenate((node, np.full(int(left.sum()), OUTSIDE)))
        keys = ((sources << BITS) | targets).astype(np.uint64)
        customers = np.concatenate((journeys.customer, journeys.customer[left]))
        self._total += len(keys)
        self._tally = self._tally.plus(Tally.of(keys, customers, bits=2 * BITS))
        gone_on = np.flatnonzero(linked)
        seconds = (journeys.at[gone_on] - journeys.at[gone_on - 1]) / 1000
        self._keep_more()
        self._add_gaps(sources[gone_on], targets[gone_on], bins(seconds))

    def _keep_more(self) -> None:
        """Keep the gaps of the commonest edges from now on."""
        likely = np.sort(self._tally.keys[self._tally.top(_LIKELY)])
        room = _HISTOGRAMS - len(self._kept)
        kept, places, _ = tallies.merged(self._kept, np.setdiff1d(likely, self._kept, assume_unique=True)[:room])
        if len(kept) > len(places):
            gaps = np.zeros((len(kept), _BINS), np.uint32)
            gaps[places] = self._gaps
            self._kept, self._gaps = kept, gaps

    def _add_gaps(self, sources: Ints, targets: Ints, number: NDArray[np.int32]) -> None:
        width = len(self._nodes.ids)
        inner = (self._kept & np.uint64(OUTSIDE)) < width
        inner &= (self._kept >> np.uint64(BITS)) < width
        if width**2 <= _IN_TABLE:
            kept = self._kept[inner].astype(np.int64)
            table = np.full(width**2, -1)
            table[(kept >> BITS) * width + (kept & OUTSIDE)] = np.flatnonzero(inner)
            place = table[sources * width + targets]
        else:
            keys = ((sources << BITS) | targets).astype(np.uint64)
            at = np.minimum(np.searchsorted(self._kept, keys), len(self._kept) - 1)
            place = np.where(self._kept[at] == keys, at, -1)
        known = place >= 0
        found, counts = tallies.counted((place[known] * _BINS + number[known]).astype(np.uint64))
        self._gaps.reshape(-1)[found.astype(np.int64)] += counts.astype(np.uint32)

    def edges(self, top: int) -> Edges:
        """The commonest edges."""
        chosen = self._tally.top(top)
        keys = self._tally.keys[chosen]
        place = np.searchsorted(self._kept, keys)
        known = np.flatnonzero(np.isin(keys, self._kept, assume_unique=True))
        edge, number = np.nonzero(self._gaps[place[known]])
        gaps = self._gaps[place[known]][edge, number].astype(np.float64)
        histograms = Ragged.of(known[edge], number, gaps, len(keys))
        return Edges(
            (keys >> np.uint64(BITS)).astype(np.int64),
            (keys & np.uint64(OUTSIDE)).astype(np.int64),
            self._tally.counts[chosen].astype(np.int64),
            self._tally.customers[chosen].astype(np.int64),
            percentiles(histograms, (0.5,))[:, 0],
            self._total,
            len(self._tally.keys),
            self._tally.missed,
        )
