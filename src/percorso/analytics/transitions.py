"""Transitions: how customers go on from one node to the next.

An edge leads from the node of one step to that of the customer's next one, no more than `within` later. The first step
of all and one after a longer pause are entries, the last of all and one before a longer pause exits.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from percorso.analytics import tallies
from percorso.analytics.journeys import Journeys, Nodes
from percorso.analytics.sketches import Floats, Ints, Ragged, bins, percentiles
from percorso.analytics.tallies import Keys, Tally

BITS: Final = 21
"""Bits of a number of a node in a key."""
MOST_NODES: Final = (1 << BITS) - 2
OUTSIDE: Final = (1 << BITS) - 1
"""Stands for where customers come from when they enter, and go to when they leave."""
_BIN_BITS: Final = 10
_MOST_BINS: Final = 2 << 20


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

    The gaps of each edge are kept as a histogram (`sketches`), of which the median is within 2 %. Where there are more
    than two million of their bins, those of the rarest edges are dropped, and gaps that come later are all that is
    known of them.
    """

    def __init__(self, nodes: Nodes, *, within_ms: int) -> None:
        self._nodes = nodes
        self._within_ms = within_ms
        self._tally = tallies.NOTHING
        self._bins: tuple[Keys, Ints] = (np.empty(0, np.uint64), np.empty(0, np.int64))
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
        self._add_gaps((keys[gone_on] << np.uint64(_BIN_BITS)) | bins(seconds).astype(np.uint64))

    def _add_gaps(self, found: Keys) -> None:
        new, counted = tallies.counted(found)
        keys, places, here = tallies.merged(self._bins[0], new)
        counts = np.zeros(len(keys), np.int64)
        counts[places] = self._bins[1]
        counts[here] += counted
        if len(keys) > _MOST_BINS:
            edge = np.searchsorted(self._tally.keys, keys >> np.uint64(_BIN_BITS))
            edge = np.minimum(edge, len(self._tally.keys) - 1)
            known = self._tally.keys[edge] == keys >> np.uint64(_BIN_BITS)
            often = np.where(known, self._tally.counts[edge], 0)
            keep = often > np.partition(often, len(often) - _MOST_BINS)[len(often) - _MOST_BINS]
            keys, counts = keys[keep], counts[keep]
        self._bins = (keys, counts)

    def edges(self, top: int) -> Edges:
        """The commonest edges."""
        chosen = self._tally.top(top)
        keys = self._tally.keys[chosen]
        low, high = (np.searchsorted(self._bins[0], (keys + np.uint64(end)) << np.uint64(_BIN_BITS)) for end in (0, 1))
        of = np.repeat(np.arange(len(keys)), high - low)
        at = np.concatenate([np.arange(*ends) for ends in zip(low, high, strict=True)] or [np.zeros(0, np.int64)])
        number = (self._bins[0][at] & np.uint64((1 << _BIN_BITS) - 1)).astype(np.int32)
        histograms = Ragged.of(of, number, self._bins[1][at].astype(np.float64), len(keys))
        return Edges(
            (keys >> np.uint64(BITS)).astype(np.int64),
            (keys & np.uint64(OUTSIDE)).astype(np.int64),
            self._tally.counts[chosen],
            self._tally.customers[chosen],
            percentiles(histograms, (0.5,))[:, 0],
            self._total,
            len(self._tally.keys),
            self._tally.missed,
        )
