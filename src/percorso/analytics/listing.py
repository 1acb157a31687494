"""Arrays of figures as answers have them: numbers, and None where there is none."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Floats

_DIGITS: Final = 6
"""After the point: nothing here is known more exactly."""


def numbers(values: Floats) -> list[float | None]:
    """Rounded; None for NaN."""
    missing = np.isnan(values).tolist()
    rounded = np.round(values, _DIGITS).tolist()
    return [None if absent else value for absent, value in zip(missing, rounded, strict=True)]


def where(known: NDArray[np.bool_], values: list[Any]) -> list[Any]:
    """The values; None where they are not known."""
    return [value if each else None for each, value in zip(known.tolist(), values, strict=True)]
