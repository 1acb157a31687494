"""Tallies: how often something was met and by how many customers, added up in bounded memory.

Of more different things than are kept, the rarest are dropped, as mergeable summaries do (Agarwal et al. 2012; Manku &
Motwani 2002). What is dropped was met at most as often as the most frequent of those dropped with it, so that no count
is too low by more than the sum of these, which is known: it is 0 as long as nothing was dropped.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Ints

MOST: Final = 1 << 20
"""Different things that are kept."""

Keys = NDArray[np.uint64]
Counts = NDArray[np.uint32]
"""Half as wide as usual, since there are many."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """`keys` in order, how often each was met, by how many customers; no count is more than `missed` too low."""

    keys: Keys
    counts: Counts
    customers: Counts
    missed: int = 0

    @classmethod
    def of(cls, keys: Keys, customers: Ints, *, bits: int) -> "Tally":
        """The tally of keys of so many bits, each met by a customer, whose keys are together."""
        order = _in_order(keys, bits)
        keys, customers = keys[order], customers[order]
        first = _firsts(keys)
        new = np.concatenate(([True], customers[1:] != customers[:-1]))[: len(keys)]
        new[first] = True
        by = np.add.reduceat(new, first, dtype=np.uint32) if len(first) else np.zeros(0, np.uint32)
        return cls(keys[first], np.diff(np.append(first, len(keys))).astype(np.uint32), by)

    def plus(self, other: "Tally", *, most: int = MOST) -> "Tally":
        """Both together; their customers are different ones."""
        keys, places, here = merged(self.keys, other.keys)
        counts, customers = np.zeros(len(keys), np.uint32), np.zeros(len(keys), np.uint32)
        counts[places], customers[places] = self.counts, self.customers
        counts[here] += other.counts
        customers[here] += other.customers
        missed = self.missed + other.missed
        if len(keys) > most:
            least = np.partition(counts, len(counts) - most - 1)[len(counts) - most - 1]
            # As many of those at the limit are kept as there is room for, so that nothing depends on their order.
            keep = counts > least
            keep[np.flatnonzero(counts == least)[: most - int(keep.sum())]] = True
            keys, counts, customers = keys[keep], counts[keep], customers[keep]
            missed += int(least)
        return Tally(keys, counts, customers, missed)

    def top(self, most: int) -> Ints:
        """The places of those that were met most often, the most frequent first; of equals, the lower key."""
        enough = np.arange(len(self.keys))
        if len(enough) > most:
            least = np.partition(self.counts, len(enough) - most)[len(enough) - most]
            enough = np.flatnonzero(self.counts >= least)
        return np.asarray(enough[np.argsort(-self.counts[enough].astype(np.int64), kind="stable")][:most], np.int64)


NOTHING: Final = Tally(np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, np.uint32))


def merged(ones: Keys, others: Keys) -> tuple[Keys, Ints, Ints]:
    """All keys of two lists that are each in order and without repeats, and where those of each now stand."""
    at = np.searchsorted(ones, others)
    known = at < len(ones)
    known[known] = ones[at[known]] == others[known]
    new = np.flatnonzero(~known)
    keys = np.insert(ones, at[new], others[new])
    # Each of the new ones moves what comes after it by one place.
    before = np.concatenate(([0], np.cumsum(~known)))
    moved = np.bincount(at[new], minlength=len(ones) + 1)
    places = np.arange(len(ones)) + np.cumsum(moved)[: len(ones)]
    return keys, places, at + before[:-1]


def counted(keys: Keys) -> tuple[Keys, Ints]:
    """The different keys, in order, and how often each stands there."""
    keys = np.sort(keys)
    first = _firsts(keys)
    return keys[first], np.diff(np.append(first, len(keys)))


def _firsts(keys: Keys) -> Ints:
    """Where in ordered keys another begins."""
    if not len(keys):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))


def _in_order(keys: Keys, bits: int) -> Ints:
    """The stable order of keys of so many bits."""
    places = len(keys).bit_length()
    if bits + places > 64:  # noqa: PLR2004 - bits of a word
        return np.argsort(keys, kind="stable")
    # Sorting numbers is many times as quick as sorting by them: each key carries its place.
    packed = (keys << np.uint64(places)) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    return np.asarray(packed & np.uint64((1 << places) - 1), np.int64)
