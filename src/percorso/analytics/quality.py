"""Contact quality: how contacts went, as shares and means of counts, and how they compare with a period before."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from percorso.analytics import significance
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import COUNT, SUM
from percorso.analytics.figures import Columns
from percorso.analytics.listing import numbers, where


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure: the names in `cells.COUNTS` of what is divided by what, and of the test that compares two of it."""

    part: str
    whole: str
    test: str = significance.TWO_PROPORTIONS


MEASURES: Final = {
    "first_contact_resolution": Measure("resolved_first", "first_contacts"),
    "repeat_contact_rate": Measure("repeats", "reached_out"),
    "hand_offs_per_contact": Measure("hand_offs", "reached_out", significance.POISSON_RATES),
    "channel_switch_rate": Measure("switches", "reached_out"),
    "unanswered_share": Measure("waiting", "asked"),
}
"""By their names in answers. A contact is at most one repeat and one switch; hand-offs are counted, so it may have
several."""

WAITING: Final = "waiting_seconds"

_TESTS: Final = {
    significance.TWO_PROPORTIONS: significance.shares,
    significance.POISSON_RATES: significance.rates,
}


def columns(counts: Ints, sums: Floats, *, as_of: float) -> Columns:
    """Every measure of groups, whose counts have shape (groups, COUNTS) and sums (groups, SUMS).

    For each measure `x` there are `x.count`, `x.of`, and `x.value`, the one divided by the other; then the mean age in
    seconds, at the Unix time `as_of` in s, of the contacts that still wait.
    """
    found: Columns = {}
    for name, measure in MEASURES.items():
        part, whole = counts[:, COUNT[measure.part]], counts[:, COUNT[measure.whole]]
        found[f"{name}.count"] = part.tolist()
        found[f"{name}.of"] = whole.tolist()
        found[f"{name}.value"] = numbers(_divided(part, whole))
    since = _divided(sums[:, SUM["waiting_since"]], counts[:, COUNT["waiting"]])
    found[WAITING] = numbers(np.maximum(as_of - since, 0.0))
    return found


def compared(counts: Ints, before: Ints) -> Columns:
    """How each measure differs from that of the period before, whose counts are `before`, group by group.

    For each measure `x` there are `x.change.before`, `x.change.difference`, and `x.change.p_value`,
    `x.change.significant` and `x.change.test`, which are None where there is too little to test.
    """
    found: Columns = {}
    for name, measure in MEASURES.items():
        part, whole = COUNT[measure.part], COUNT[measure.whole]
        now, then = (counts[:, part], counts[:, whole]), (before[:, part], before[:, whole])
        p_values = _TESTS[measure.test](*now, *then)
        tested = ~np.isnan(p_values)
        found[f"{name}.change.before"] = numbers(_divided(*then))
        found[f"{name}.change.difference"] = numbers(_divided(*now) - _divided(*then))
        found[f"{name}.change.p_value"] = numbers(p_values)
        found[f"{name}.change.significant"] = where(tested, (p_values < significance.LEVEL).tolist())
        found[f"{name}.change.test"] = where(tested, [measure.test] * len(p_values))
    return found


def _divided(part: Ints | Floats, whole: Ints) -> Floats:
    """NaN where there is nothing to be a part of."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, np.nan), np.float64)
