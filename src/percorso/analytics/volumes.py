"""Volumes: how many interactions there were in each hour of a UTC day, by channel."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Ints

HOURS: Final = 24
WIDTH: Final = 24
"""One more than the highest code of a channel that can be stored."""

Volumes = NDArray[np.uint32]
"""Shape (HOURS, WIDTH): by hour and by `steps.CHANNEL_CODES`."""


def of(hour: Ints, channel: Ints) -> Volumes:
    """The volumes of interactions: each with its hour of the day and its channel's code."""
    return np.bincount(hour * WIDTH + channel, minlength=HOURS * WIDTH).reshape(HOURS, WIDTH).astype(np.uint32)


def pack(volumes: Volumes) -> bytes:
    """As bytes, which `unpack` reads."""
    return volumes.astype("<u4").tobytes()


def unpack(packed: bytes) -> Volumes:
    """What `pack` made."""
    return np.frombuffer(packed, "<u4").reshape(HOURS, WIDTH)
