"""The figures of touchpoints and channels: each is named, made of totals, and compared with a period before.

A name such as `nps.score` is the member `score` of `nps` in JSON, and a column of that name in a table. What a figure
is says the model of the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from percorso.analytics import significance
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import Totals
from percorso.analytics.histograms import percentiles
from percorso.analytics.significance import TWO_PROPORTIONS, WELCH, WELCH_OF_LOGARITHMS

Columns = dict[str, list[Any]]
"""Values by the name of the figure, one for each group: numbers, and None where there is none."""

_DIGITS: Final = 6
"""After the point: nothing here is known more exactly."""
_FRACTIONS: Final = (0.5, 0.9, 0.99)
_PERCENTILES: Final = ("response_time.p50", "response_time.p90", "response_time.p99")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: of which groups it is told, and how a difference is tested; `whole` where it is a whole number."""

    name: str
    of: Callable[[Totals], Ints | Floats]
    whole: bool = False
    test: str | None = None
    p_values: Callable[[Totals, Totals], Floats] | None = None


def _count(name: str, counted: str) -> Figure:
    return Figure(name, lambda totals: totals.count(counted), whole=True)


def _share(name: str, part: str, whole: str, *, times: int = 1) -> Figure:
    """How many of one are of the other, and how that is tested."""

    def of(totals: Totals) -> Floats:
        return _divided(totals.count(part) * times, totals.count(whole))

    def p_values(now: Totals, before: Totals) -> Floats:
        return significance.shares(now.count(part), now.count(whole), before.count(part), before.count(whole))

    return Figure(name, of, test=TWO_PROPORTIONS, p_values=p_values)


def _mean(name: str, summed: str, counted: str) -> Figure:
    """The mean of what was summed, with its squares, and how that is tested."""

    def of(totals: Totals) -> Floats:
        return _divided(totals.sum(summed), totals.count(counted))

    def moments(totals: Totals) -> tuple[Ints, Floats, Floats]:
        return totals.count(counted), totals.sum(summed), totals.sum(f"{summed}_squared")

    def p_values(now: Totals, before: Totals) -> Floats:
        return significance.means(*moments(now), *moments(before))

    return Figure(name, of, test=WELCH, p_values=p_values)


def _nps(totals: Totals) -> Floats:
    return _divided(100 * (totals.count("promoters") - totals.count("detractors")), totals.count("nps"))


def _nps_p_values(now: Totals, before: Totals) -> Floats:
    """Of the mean of answers that count 1, 0 or -1."""

    def moments(totals: Totals) -> tuple[Ints, Ints, Ints]:
        promoters, detractors = totals.count("promoters"), totals.count("detractors")
        return totals.count("nps"), promoters - detractors, promoters + detractors

    return significance.means(*moments(now), *moments(before))


def _responses(totals: Totals) -> Ints:
    cells = len(totals.responses.counts)
    of = np.repeat(np.arange(cells), totals.responses.counts)
    return np.rint(np.bincount(of, weights=totals.responses.amounts, minlength=cells)).astype(np.int64)


def _percentile(number: int) -> Figure:
    def of(totals: Totals) -> Floats:
        return percentiles(totals.responses, _FRACTIONS[number : number + 1])[:, 0]

    def p_values(now: Totals, before: Totals) -> Floats:
        return significance.histograms(now.responses, before.responses)

    # What is typical is told apart by the mean of logarithms; of what is rare that says nothing.
    if number == 0:
        return Figure(_PERCENTILES[number], of, test=WELCH_OF_LOGARITHMS, p_values=p_values)
    return Figure(_PERCENTILES[number], of)


def _divided(part: Ints | Floats, whole: Ints | Floats) -> Floats:
    """NaN where there is nothing to be a part of."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole == 0, np.nan, part / whole), np.float64)


FIGURES: Final = (
    _count("interactions", "interactions"),
    Figure("customers", lambda totals: np.rint(totals.customers), whole=True),
    _share("inbound_share", "inbound", "interactions"),
    _count("direct", "direct"),
    _count("indirect", "indirect"),
    _share("direct_share", "direct", "interactions"),
    _count("sentiment.scored", "scored"),
    _mean("sentiment.mean", "sentiment", "scored"),
    _count("sentiment.felt", "felt"),
    _share("sentiment.negative_share", "negative", "felt"),
    _count("nps.answers", "nps"),
    Figure("nps.score", _nps, test=WELCH, p_values=_nps_p_values),
    _count("csat.answers", "csat"),
    _share("csat.score", "satisfied", "csat"),
    _count("ces.answers", "ces"),
    _mean("ces.score", "ces", "ces"),
    _count("complaints", "complaints"),
    _share("complaints_per_100", "complaints", "interactions", times=100),
    _count("unresolved", "unresolved"),
    _share("unresolved_per_100", "unresolved", "interactions", times=100),
    Figure("response_time.responses", _responses, whole=True),
    *(_percentile(number) for number in range(len(_FRACTIONS))),
    _count("wait_time.measured", "waited"),
    _mean("wait_time.mean", "wait_seconds", "waited"),
    _count("handling_time.measured", "handled"),
    _mean("handling_time.mean", "handling_seconds", "handled"),
    _count("abandonment.offered", "queued"),
    _share("abandonment.share", "abandoned", "queued"),
)
NAMES: Final = tuple(figure.name for figure in FIGURES)
WHOLE: Final = frozenset(figure.name for figure in FIGURES if figure.whole)
"""The figures that are whole numbers."""


def columns(totals: Totals) -> Columns:
    """Every figure of each group."""
    return {figure.name: _listed(figure, figure.of(totals)) for figure in FIGURES}


def compared(now: Totals, before: Totals) -> Columns:
    """What each figure was before, how much it changed, and whether that is more than chance.

    For each figure `x` there are `x.before`, `x.difference`, and `x.significant` and `x.test`, which are None where
    there is no test or too little to test.
    """
    found: Columns = {}
    for figure in FIGURES:
        values, earlier = figure.of(now), figure.of(before)
        found[f"{figure.name}.before"] = _listed(figure, earlier)
        found[f"{figure.name}.difference"] = _listed(figure, values - earlier)
        tested = np.full(len(values), np.nan) if figure.p_values is None else figure.p_values(now, before)
        known = np.isnan(tested).tolist()
        found[f"{figure.name}.significant"] = [
            None if missing else p < significance.LEVEL for missing, p in zip(known, tested.tolist(), strict=True)
        ]
        found[f"{figure.name}.test"] = [None if missing else figure.test for missing in known]
    return found


def documents(columns: Columns) -> list[dict[str, Any]]:
    """Each group as it stands in JSON: `nps.score` is the member `score` of `nps`."""
    if not columns:
        return []
    plain = {name: values for name, values in columns.items() if "." not in name}
    nested: dict[str, Columns] = {}
    for name, values in columns.items():
        outer, dot, inner = name.partition(".")
        if dot:
            nested.setdefault(outer, {})[inner] = values
    together: Columns = plain | {name: documents(inner) for name, inner in nested.items()}
    order = list(dict.fromkeys(name.partition(".")[0] for name in columns))
    return [dict(zip(order, row, strict=True)) for row in zip(*(together[name] for name in order), strict=True)]


def _listed(figure: Figure, values: Ints | Floats) -> list[Any]:
    if figure.whole:
        whole: list[Any] = np.asarray(values, np.int64).tolist()
        return whole
    missing = np.isnan(values).tolist()
    rounded = np.round(values, _DIGITS).tolist()
    return [None if absent else value for absent, value in zip(missing, rounded, strict=True)]
