"""Contact quality: how contacts went, as shares and means of counts, and how they compare with a period before."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from percorso.analytics import significance
from percorso.analytics.cells import COUNT, SUM
from percorso.analytics.significance import LEVEL
from percorso.analytics.sketches import Floats, Ints


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure: the names in `cells.COUNTS` of what is divided by what, and of the test that compares two of it."""

    part: str
    whole: str
    test: str


MEASURES: Final = {
    "first_contact_resolution": Measure("resolved_first", "first_contacts", significance.TWO_PROPORTIONS),
    "repeat_contact_rate": Measure("repeats", "reached_out", significance.TWO_PROPORTIONS),
    "hand_offs_per_contact": Measure("hand_offs", "reached_out", significance.POISSON_RATES),
    "channel_switch_rate": Measure("switches", "reached_out", significance.TWO_PROPORTIONS),
    "unanswered_share": Measure("waiting", "asked", significance.TWO_PROPORTIONS),
}
"""By their names in answers. A contact is at most one repeat and one switch; hand-offs are counted, so it may have
several."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One measure of each group: `count` divided by `of` is `value`; NaN where there are none."""

    count: Ints
    of: Ints
    value: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """How a measure differs from that of the period before: the difference, and whether it is significant.

    `difference` is NaN where either is, `p_value` where there is too little for the test.
    """

    difference: Floats
    p_value: Floats

    @property
    def significant(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Where the p-value is below `significance.LEVEL`."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.p_value < LEVEL, np.bool_)


def figures(counts: Ints) -> dict[str, Figure]:
    """Every measure of groups whose counts, of shape (groups, COUNTS), these are."""
    found = {}
    for name, measure in MEASURES.items():
        part, whole = counts[:, COUNT[measure.part]], counts[:, COUNT[measure.whole]]
        with np.errstate(divide="ignore", invalid="ignore"):
            found[name] = Figure(part, whole, np.where(whole > 0, part / whole, np.nan))
    return found


def waiting_seconds(counts: Ints, sums: Floats, as_of: float) -> Floats:
    """The mean age in seconds, at a Unix time in s, of the contacts that still wait; NaN where none does.

    `sums` has shape (groups, SUMS): that of the times since when they wait leads to the mean of their ages.
    """
    waiting = counts[:, COUNT["waiting"]]
    with np.errstate(divide="ignore", invalid="ignore"):
        since = np.where(waiting > 0, sums[:, SUM["waiting_since"]] / waiting, np.nan)
    return np.asarray(np.maximum(as_of - since, 0.0), np.float64)


def changes(counts: Ints, before: Ints) -> dict[str, Change]:
    """How every measure of these groups differs from that of the period before, whose counts `before` has."""
    now, then = figures(counts), figures(before)
    return {
        name: Change(
            now[name].value - then[name].value,
            _TESTS[measure.test](now[name].count, now[name].of, then[name].count, then[name].of),
        )
        for name, measure in MEASURES.items()
    }


_TESTS: Final = {
    significance.TWO_PROPORTIONS: significance.shares,
    significance.POISSON_RATES: significance.rates,
}
