"""Steps: what is kept of every interaction for questions about the order of events.

They are stored by hour and by bucket of customers, so that the steps of a customer over any time are in one bucket and
the work on a large store goes bucket by bucket, with bounded memory.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from percorso.interaction import CHANNELS, DIRECTIONS, FUNCTIONS

BUCKETS: Final = 16

STEP: Final = np.dtype([
    ("customer", "<u8"),
    ("at", "<i8"),
    ("touchpoint", "<i4"),
    ("kind", "<i4"),
    ("channel", "u1"),
    ("function", "u1"),
    ("direction", "u1"),
    ("flags", "u1"),
])  # fmt: skip
"""One step: the customer's hash (`distinct.mixed` of the customer id), Unix time in ms, touchpoint id, id of the word
of the kind (0: none), codes of channel, function (0: none) and direction, and `FLAGS`."""

FLAGS: Final = {"complaint": 1, "negative": 2, "unresolved": 4, "repeat": 8, "purchase": 16}
"""Bits of `flags`."""

CHANNEL_CODES: Final = {channel: code for code, channel in enumerate(CHANNELS, 1)}
FUNCTION_CODES: Final = {function: code for code, function in enumerate(FUNCTIONS, 1)}
DIRECTION_CODES: Final = {direction: code for code, direction in enumerate(DIRECTIONS, 1)}
"""Codes that stand in stored data: a new word goes to the end of its list."""

Steps = NDArray[Any]
"""An array of `STEP`."""


def part(chunks: Sequence[bytes], number: int, parts: int) -> Steps:
    """Of steps as they are stored, in order of time, those of the customers of one of so many parts of a bucket."""
    found = [np.frombuffer(chunk, STEP) for chunk in chunks]
    if parts > 1:
        share = np.uint64(BUCKETS), np.uint64(parts)
        own = [np.flatnonzero(steps["customer"] // share[0] % share[1] == number) for steps in found]
        # By whole records: numpy else goes through them field by field.
        found = [np.take(steps, places) for steps, places in zip(found, own, strict=True)]
    return np.concatenate([np.empty(0, STEP), *found])


def bucket(customers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The bucket of each customer."""
    return (customers % np.uint64(BUCKETS)).astype(np.int64)
