"""Arrays of entries that belong to cells: cell i has the next `counts[i]` of them.

What is kept of many cells is kept together, since arrays are quick where objects are not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def before(counts: NDArray[Any]) -> Ints:
    """How many there are before each cell, and in all."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def cut(packed: Sequence[bytes], begins: Ints, ends: Ints) -> bytes:
    """The piece of each, all together."""
    return b"".join([each[a:b] for each, a, b in zip(packed, begins.tolist(), ends.tolist(), strict=True)])


def places_of(counts: Ints, cells: Ints) -> Ints:
    """Where the entries of these cells stand, where cell i has the next `counts[i]` of all."""
    lengths = counts[cells]
    begins = (np.cumsum(counts) - counts)[cells]
    return np.repeat(begins - (np.cumsum(lengths) - lengths), lengths) + np.arange(int(lengths.sum()))
