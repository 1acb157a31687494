"""Mixes: on how many channels customers meet the organisation, as a sample that adds up.

Of each slot the customers with the lowest hashes are kept, each with the set of channels seen there (a bottom-k sketch,
Cohen & Kaplan 2007): a customer who is among the lowest of a whole range is so in each of its slots, so that their
channels are all known. Up to `SAMPLE` customers are exact; of more, the standard error of a share is at most
0.5 / √4096 = 0.8 %.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Floats, Ints

SAMPLE: Final = 4096
_ANY: Final = np.uint64(np.iinfo(np.uint64).max)


@dataclass(frozen=True, slots=True, eq=False)
class Mixes:
    """Samples: entry i is of `slot[i]`: a customer's hash and a bit for each channel's code."""

    slot: NDArray[np.uint8]
    customers: NDArray[np.uint64]
    channels: NDArray[np.uint32]

    @classmethod
    def of(cls, slot: Ints, customers: NDArray[np.uint64], channels: NDArray[np.uint32]) -> "Mixes":
        """The samples of interactions: each with its slot, customer's hash and channel's bit."""
        order = np.lexsort((customers, slot))
        slot, customers, channels = slot[order], customers[order], channels[order]
        if not len(slot):
            return cls(slot.astype(np.uint8), customers, channels)
        new = np.concatenate(([True], (slot[1:] != slot[:-1]) | (customers[1:] != customers[:-1])))
        first = np.flatnonzero(new)
        channels = np.bitwise_or.reduceat(channels, first)
        slot, customers = slot[first], customers[first]
        # The rank of each within its slot.
        begins = np.flatnonzero(np.concatenate(([True], slot[1:] != slot[:-1])))
        rank = np.arange(len(slot)) - np.repeat(begins, np.diff(np.concatenate((begins, [len(slot)]))))
        keep = rank < SAMPLE
        return cls(slot[keep].astype(np.uint8), customers[keep], channels[keep])

    def merged(self, slot: Ints) -> "Mixes":
        """The samples with another slot for each entry; those of the same slot are one."""
        return Mixes.of(slot, self.customers, self.channels)

    def keep(self, entries: NDArray[np.bool_]) -> "Mixes":
        """These entries alone."""
        return Mixes(self.slot[entries], self.customers[entries], self.channels[entries])

    def shares(self) -> Floats:
        """The shares of customers who use one, two, three or more channels; of a single slot. NaN of nobody."""
        used = np.bitwise_count(self.channels)
        counts = np.bincount(np.minimum(used, 3), minlength=4)[1:]
        with np.errstate(invalid="ignore"):
            return np.asarray(counts / counts.sum(), np.float64)

    def pack(self) -> bytes:
        """As bytes, which `unpack` reads."""
        return self.customers.tobytes() + self.channels.tobytes() + self.slot.tobytes()

    @classmethod
    def unpack(cls, packed: bytes) -> "Mixes":
        """What `pack` made."""
        n = len(packed) // 13
        return cls(
            np.frombuffer(packed, np.uint8, n, 12 * n),
            np.frombuffer(packed, np.uint64, n),
            np.frombuffer(packed, np.uint32, n, 8 * n),
        )


def joined(parts: list[Mixes]) -> Mixes:
    """All entries of these."""
    return Mixes(
        np.concatenate([np.empty(0, np.uint8), *(part.slot for part in parts)]),
        np.concatenate([np.empty(0, np.uint64), *(part.customers for part in parts)]),
        np.concatenate([np.empty(0, np.uint32), *(part.channels for part in parts)]),
    )


def whole(parts: list[Mixes]) -> Mixes:
    """One sample, of slot 0, of all slots of all these."""
    # Whoever is above the highest of one full sample is not among the lowest of all: most need not be sorted.
    lowest = min((_highest_of_full(part) for part in parts), default=_ANY)
    below = joined([part.keep(part.customers <= lowest) for part in parts])
    return below.merged(np.zeros(len(below.slot), np.int64))


def _highest_of_full(part: Mixes) -> np.uint64:
    """The lowest of what is highest in each slot that has as many customers as are kept."""
    slots, entries = np.unique(part.slot, return_counts=True)
    full = slots[entries >= SAMPLE].tolist()
    return min((part.customers[part.slot == slot].max() for slot in full), default=_ANY)
