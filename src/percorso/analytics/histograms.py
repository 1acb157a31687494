"""Histograms that add up, of how long it takes most customers; and other amounts by a number.

Bins grow by 4 % (Masson et al., DDSketch, 2019): what a percentile says is within 2 % of a value that has exactly that
rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Floats, Ints, before, cut, places_of

_GROWTH: Final = 1.04
RELATIVE_ERROR: Final = (_GROWTH - 1) / (_GROWTH + 1)
"""Of a percentile."""
_LOG_GROWTH: Final = np.log(_GROWTH)
_TABLE: Final = 1 << 16
"""Amounts in a table that is always small enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Amounts by a number, in many cells: cell i has the next `counts[i]` of `keys`, in order, and of `amounts`."""

    counts: NDArray[np.uint32]
    keys: NDArray[np.int32]
    amounts: Floats

    @classmethod
    def of(cls, cell: Ints, keys: NDArray[np.integer], amounts: Floats, cells: int) -> "Ragged":
        """Amounts added up by cell and key."""
        widest = int(keys.max(initial=0)) + 1
        if cells * widest <= _TABLE + 8 * len(keys):
            return cls._tabled(cell * widest + keys, amounts, cells, widest)
        both = (cell << 32) + keys.astype(np.int64)
        distinct, where = np.unique(both, return_inverse=True)
        return cls(
            np.bincount(distinct >> 32, minlength=cells).astype(np.uint32),
            (distinct & 0xFFFFFFFF).astype(np.int32),
            np.bincount(where, weights=amounts, minlength=len(distinct)).astype(np.float64),
        )

    @classmethod
    def _tabled(cls, places: Ints, amounts: Floats, cells: int, widest: int) -> "Ragged":
        """Amounts added up by their places in a table of cells and keys: quicker than sorting, where it is small."""
        table = np.bincount(places, weights=amounts, minlength=cells * widest)
        there = np.zeros(cells * widest, np.bool_)
        there[places] = True
        found = np.flatnonzero(there)
        return cls(
            there.reshape(cells, widest).sum(axis=1).astype(np.uint32),
            (found % widest).astype(np.int32),
            table[found].astype(np.float64),
        )

    def merged(self, group: Ints, groups: int) -> "Ragged":
        """Those of groups of these cells: `group[i]` is that of cell i."""
        return Ragged.of(np.repeat(group, self.counts), self.keys, self.amounts, groups)

    def take(self, cells: Ints) -> "Ragged":
        """Those of these cells, in the order given."""
        at = places_of(self.counts.astype(np.int64), cells)
        return Ragged(self.counts[cells], self.keys[at], self.amounts[at])

    def parts(self, bounds: Ints) -> "list[Ragged]":
        """Those of cells from each of these positions to the next."""
        ends = before(self.counts)[bounds].tolist()
        return [
            Ragged(
                self.counts[low:high],
                self.keys[ends[number] : ends[number + 1]],
                self.amounts[ends[number] : ends[number + 1]],
            )
            for number, (low, high) in enumerate(pairwise(bounds.tolist()))
        ]

    def pack(self) -> bytes:
        """As bytes, which `unpack` reads."""
        return self.counts.tobytes() + self.amounts.tobytes() + self.keys.tobytes()

    @classmethod
    def unpack(cls, packed: bytes, cells: int) -> "Ragged":
        """What `pack` made of so many cells."""
        counts = np.frombuffer(packed, np.uint32, cells)
        entries = int(counts.sum())
        at = 4 * cells
        # Not aligned, so read as bytes first.
        amounts = np.frombuffer(packed[at : at + 8 * entries], np.float64)
        return cls(counts, np.frombuffer(packed, np.int32, entries, at + 8 * entries), amounts)

    @classmethod
    def unpack_all(cls, packed: Sequence[bytes], cells: Sequence[int]) -> "Ragged":
        """Those of all cells of these, in their order, each of so many cells."""
        counts = np.frombuffer(b"".join([each[: 4 * n] for each, n in zip(packed, cells, strict=True)]), np.uint32)
        row = np.repeat(np.arange(len(packed)), cells)
        begin = 4 * np.asarray(cells, np.int64)
        entries = np.bincount(row, weights=counts, minlength=len(packed)).astype(np.int64)
        keys = begin + 8 * entries
        return cls(
            counts,
            np.frombuffer(cut(packed, keys, keys + 4 * entries), np.int32),
            np.frombuffer(cut(packed, begin, keys), np.float64),
        )

    @classmethod
    def joined(cls, parts: "list[Ragged]") -> "Ragged":
        """Those of all cells of these, in their order."""
        if not parts:
            return cls(np.empty(0, np.uint32), np.empty(0, np.int32), np.empty(0))
        return cls(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.amounts for part in parts]),
        )


def bins(seconds: Floats) -> NDArray[np.int32]:
    """The bins of the histogram that these times fall in: 0 for up to a second."""
    exact = np.log(np.maximum(seconds, 1.0)) / _LOG_GROWTH
    return np.asarray(np.maximum(np.ceil(exact - 1e-9), 0), np.int32)


def percentiles(histograms: Ragged, fractions: tuple[float, ...]) -> Floats:
    """Of each cell the times, in seconds, that these fractions are at or below; NaN where there are none.

    Shape (cells, fractions); by nearest rank.
    """
    cells = len(histograms.counts)
    of = np.repeat(np.arange(cells), histograms.counts)
    totals = np.bincount(of, weights=histograms.amounts, minlength=cells)
    running = np.cumsum(histograms.amounts)
    before = np.concatenate(([0.0], np.cumsum(totals)))[:-1]
    found = np.full((cells, len(fractions)), np.nan)
    some = totals > 0
    for number, fraction in enumerate(fractions):
        rank = before[some] + np.maximum(np.ceil(totals[some] * fraction - 1e-9), 1)
        at = histograms.keys[np.searchsorted(running, rank - 0.5)]
        found[some, number] = np.where(at == 0, 1.0, 2 * _GROWTH ** at.astype(np.float64) / (_GROWTH + 1))
    return found
