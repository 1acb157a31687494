"""Problems: items (topics, kinds, touchpoints) at which more goes wrong than did before, or than does at the others.

Four *signals* say that something went wrong with an interaction: it complains, it is of negative sentiment, it repeats
an earlier contact, it was left unresolved. Each is a share of those interactions of which it can be said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from percorso.analytics import significance
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import COUNT
from percorso.analytics.figures import Columns
from percorso.analytics.listing import numbers
from percorso.analytics.significance import LEVEL

HISTORY: Final = 4
"""Periods of the same length before the one asked for, which are an item's own history."""
FEWEST: Final = 10
"""Interactions with a signal in the period, below which it is no problem."""
RATIO: Final = 1.1
"""A share is high or rising where it is at least so many times the other: what is significant may yet be small."""

Flags = NDArray[np.bool_]


class Signal(NamedTuple):
    """The names in `cells.COUNTS` of the interactions with a signal, and of those of which it can be said."""

    part: str
    whole: str


COMPLAINTS: Final = Signal("complaints", "interactions")
SIGNALS: Final = (
    COMPLAINTS,
    Signal("negative", "felt"),
    Signal("repeats", "reached_out"),
    Signal("unresolved", "settled"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A signal's share against another one: that one, the adjusted p-value, and whether ours is clearly above it.

    One entry an item. `excess` is how many interactions fewer would have the signal if the share were the other one; 0
    where it is not clearly above. NaN where there is nothing to compare with, or too little for the test.
    """

    share: Floats
    p_value: Floats
    above: Flags
    excess: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A signal of each item: `count` interactions of the `of` that can have it, and how their share compares.

    `history` is the share in the item's own history (above: rising), `others` that of all other items of its dimension
    (above: high).
    """

    count: Ints
    of: Ints
    share: Floats
    history: Comparison
    others: Comparison

    @property
    def excess(self) -> Floats:
        """The larger of both: interactions with the signal beyond what its history, or the others, would give."""
        return np.asarray(np.maximum(self.history.excess, self.others.excess), np.float64)

    @property
    def flagged(self) -> Flags:
        """Where it is high or rising."""
        return np.asarray(self.history.above | self.others.above, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Problems:
    """What was found: `order` has the items that are problems, the worst first; the rest has an entry an item.

    `score` is the sum of the signals' excess. `comparisons` is how many tests were made.
    """

    signals: Mapping[str, Judged]
    trouble: Ints
    score: Floats
    order: Ints
    comparisons: int


def trouble(counts: Ints) -> Ints:
    """Complaints, negative, repeated and unresolved ones added up: an interaction counts once for each that it is.

    `counts` has shape (n, COUNTS), the sums n.
    """
    return np.asarray(sum(counts[:, COUNT[signal.part]] for signal in SIGNALS), np.int64)


def find(counts: Ints, before: Ints, dimension: Ints, *, complaining: Flags | None = None) -> Problems:
    """Judge items by their counts in a period and in their history, both of shape (items, COUNTS).

    `dimension[i]` says what item i is, so that it is compared with others of its kind. Every share with enough behind
    it is tested against both others (`significance.shares`); since many are, their p-values are adjusted as Benjamini
    and Hochberg do, so that of all that is flagged at most one in twenty is to be expected by chance alone. Where so
    few are to be expected that a share is not about normally distributed, Fisher's exact test takes its place.

    Items that are `complaining` consist of complaints by what they are: those are neither judged nor compared with.
    """
    troubled = trouble(counts)
    if complaining is not None:
        counts, before = _without_complaints(counts, complaining), _without_complaints(before, complaining)
    of_all = _of_dimension(counts, dimension)
    parts = []
    for part, whole in SIGNALS:
        k, n = counts[:, COUNT[part]], counts[:, COUNT[whole]]
        parts.append((k, n, before[:, COUNT[part]], before[:, COUNT[whole]]))
        parts.append((k, n, of_all[:, COUNT[part]] - k, of_all[:, COUNT[whole]] - n))
    tested = np.array([_tested(*each) for each in parts])
    adjusted = benjamini_hochberg(tested.reshape(-1)).reshape(tested.shape)
    compared = [_compared(*each, p_values) for each, p_values in zip(parts, adjusted, strict=True)]
    signals = {
        signal.part: Judged(k, n, _share(k, n), history, others)
        for signal, (k, n, *_), history, others in zip(SIGNALS, parts[::2], compared[::2], compared[1::2], strict=True)
    }
    score = np.asarray(sum(judged.excess for judged in signals.values()), np.float64)
    worst = np.lexsort((np.arange(len(score)), -troubled, -score))
    return Problems(signals, troubled, score, worst[score[worst] > 0], int((~np.isnan(tested)).sum()))


def benjamini_hochberg(p_values: Floats) -> Floats:
    """P-values adjusted for how many there are; NaN stays and is not counted.

    The i-th smallest of m becomes the least m p_j / j of any j ≥ i (Benjamini & Hochberg, Controlling the false
    discovery rate, 1995): those below a level are false in at most that share of cases.
    """
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: int((~np.isnan(p_values)).sum())]
    m = len(order)
    steps = p_values[order] * m / np.arange(1, m + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return adjusted


def _without_complaints(counts: Ints, complaining: Flags) -> Ints:
    """As if of these items it could not be said whether an interaction complains."""
    left = counts.copy()
    left[np.ix_(complaining, np.array([COUNT[COMPLAINTS.part], COUNT[COMPLAINTS.whole]]))] = 0
    return left


def _tested(k: Ints, n: Ints, other_k: Ints, other_n: Ints) -> Floats:
    """The p-values of shares against others; NaN where the item is too small to be a problem, or the other is none.

    What has too few with the signal is no problem either: it counts as tested, since not to count what came out low
    would make the rest look rarer than it is.
    """
    p_values = significance.shares(k, n, other_k, other_n)
    p_values[n < FEWEST] = np.nan
    for i in np.flatnonzero(np.isnan(p_values) & (n >= FEWEST) & (other_n > 0)).tolist():
        few = int(k[i]) < FEWEST
        p_values[i] = 1.0 if few else significance.exact(int(k[i]), int(n[i]), int(other_k[i]), int(other_n[i]))
    return p_values


def _of_dimension(counts: Ints, dimension: Ints) -> Ints:
    """For each item, what all items of its dimension have together."""
    _, group = np.unique(dimension, return_inverse=True)
    summed = np.zeros((int(group.max(initial=-1)) + 1, counts.shape[1]), np.int64)
    np.add.at(summed, group, counts)
    return np.asarray(summed[group], np.int64)


def _compared(k: Ints, n: Ints, other_k: Ints, other_n: Ints, p_values: Floats) -> Comparison:
    share, other = _share(k, n), _share(other_k, other_n)
    with np.errstate(invalid="ignore"):
        above = (p_values < LEVEL) & (k >= FEWEST) & (share > other) & (share >= RATIO * other)
    return Comparison(other, p_values, above, np.where(above, k - n * other, 0.0))


def _share(part: Ints, whole: Ints) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, np.nan), np.float64)


def columns(found: Problems, entries: Ints) -> Columns:
    """What was found of these entries, as answers have it.

    `score` and `trouble`, and for each signal `x` there are `x.count`, `x.of` and `x.share`, `x.history` and `x.others`
    with `x.history_p_value` and `x.others_p_value`, `x.rising`, `x.high` and `x.excess`.
    """
    answer: Columns = {"score": numbers(found.score[entries]), "trouble": found.trouble[entries].tolist()}
    for name, judged in found.signals.items():
        answer[f"{name}.count"] = judged.count[entries].tolist()
        answer[f"{name}.of"] = judged.of[entries].tolist()
        answer[f"{name}.share"] = numbers(judged.share[entries])
        for other, above, comparison in (("history", "rising", judged.history), ("others", "high", judged.others)):
            answer[f"{name}.{other}"] = numbers(comparison.share[entries])
            answer[f"{name}.{other}_p_value"] = numbers(comparison.p_value[entries])
            answer[f"{name}.{above}"] = comparison.above[entries].tolist()
        answer[f"{name}.excess"] = numbers(judged.excess[entries])
    return answer
