"""Journeys for tests: many random steps, and each customer's as plain lists."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from percorso.analytics import journeys
from percorso.analytics.journeys import Journeys
from percorso.analytics.steps import STEP, Steps

DAY_MS = 86_400_000


@dataclass(frozen=True)
class At:
    """A step, as plain Python has it."""

    ms: int
    touchpoint: int
    kind: int
    channel: int


def steps(rows: list[tuple[int, int, int, int, int]]) -> Steps:
    """Steps of rows of customer, days, touchpoint, kind and channel, in order of time."""
    made = np.zeros(len(rows), STEP)
    for place, (customer, days, touchpoint, kind, channel) in enumerate(sorted(rows, key=lambda row: row[1])):
        made[place] = (customer * 0x9E3779B97F4A7C15 % 2**64, days * DAY_MS, touchpoint, kind, channel, 0, 0, 0)
    return made


def plain(some: Steps) -> list[list[At]]:
    """The journeys of customers, by plain Python."""
    found: dict[int, list[At]] = {}
    for step in some:
        at = At(int(step["at"]), int(step["touchpoint"]), int(step["kind"]), int(step["channel"]))
        found.setdefault(int(step["customer"]), []).append(at)
    return list(found.values())


def halves(some: Steps) -> list[Journeys]:
    """The journeys of these steps, in two lots of customers."""
    odd = some["customer"] % np.uint64(2) == 1
    return [journeys.of(some[odd]), journeys.of(some[~odd])]


ROWS = st.lists(
    st.tuples(
        st.integers(1, 6), st.integers(0, 40), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3)
    ),
    max_size=60,
)  # fmt: skip
