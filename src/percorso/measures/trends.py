"""Whether a figure rises or falls over time, told from chance."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import median
from typing import Annotated, Final, Literal

from pydantic import Field

LATEST: Final = 100
"""A trend is taken over so many of the latest values: older ones say little of now, and all pairs are compared."""

Direction = Literal["rising", "steady", "falling", "unknown"]
_DAY: Final = 86_400_000
_NORMAL_95: Final = 1.96
_FEWEST: Final = 5
"""Of fewer values even a strict order may be chance: the test says nothing of them at 95 %."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Where a series is going."""

    direction: Annotated[
        Direction,
        Field(
            description="Rising or falling where a Mann–Kendall test tells it from chance at 95 %; unknown for fewer "
            "than 5 values."
        ),
    ]
    per_30_days: Annotated[
        float | None, Field(description="How much it changes in 30 days: the Theil–Sen slope. Null: unknown.")
    ]
    values: Annotated[int, Field(description="How many values it is taken from, at most the latest 100.")]


def trend(points: Sequence[tuple[int, float]]) -> Trend:
    """The trend of values at Unix times in ms, in order of time; of more than LATEST the latest.

    The slope is the median of the slopes of all pairs (Theil 1950; Sen, JASA 63, 1968): one outlier does not turn it.
    The test is that of Mann (Econometrica 13, 1945) and Kendall (1975), its variance corrected for ties.
    """
    latest = points[-LATEST:]
    if len(latest) < _FEWEST:
        return Trend("unknown", None, len(latest))
    rises = 0
    slopes: list[float] = []
    for (earlier, low), (later, high) in combinations(latest, 2):
        rises += (high > low) - (high < low)
        if later > earlier:
            slopes.append((high - low) / (later - earlier))
    slope = median(slopes) * _DAY * 30 if slopes else 0.0
    direction: Direction = "steady"
    if abs(_z(rises, [value for _, value in latest])) >= _NORMAL_95:
        direction = "rising" if rises > 0 else "falling"
    return Trend(direction, round(slope, 4), len(latest))


def _z(rises: int, values: Sequence[float]) -> float:
    """Mann–Kendall's statistic, normally distributed where there is no trend."""
    count = len(values)
    ties = sum(each * (each - 1) * (2 * each + 5) for each in Counter(values).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    if rises == 0 or variance == 0:
        return 0.0
    return (rises - (1 if rises > 0 else -1)) / sqrt(variance)
