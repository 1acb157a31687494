"""Whether figures of two periods differ by more than chance: plain two-sided tests, named in every answer.

All take arrays, one entry for each comparison, and give p-values of the same shape: the probability of a difference at
least as large where there is none. NaN where there is too little to test.
"""

from math import erfc, exp, lgamma, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Floats
from percorso.analytics.histograms import Ragged

LEVEL: Final = 0.05
"""A difference is called significant where its p-value is below."""
TWO_PROPORTIONS: Final = "two-proportion z-test"
EXACT: Final = "Fisher's exact test"
WELCH: Final = "Welch's t-test"
WELCH_OF_LOGARITHMS: Final = "Welch's t-test of logarithms"
POISSON_RATES: Final = "z-test of two Poisson rates"

_FEWEST: Final = 30
"""Values in each period, with which the distribution of Welch's t is close to the normal one."""
_EXPECTED: Final = 5
"""Cases with and cases without, expected in each period, with which a share is about normally distributed."""

_Numbers = NDArray[np.int64] | NDArray[np.float64]


def shares(part: _Numbers, whole: _Numbers, part_before: _Numbers, whole_before: _Numbers) -> Floats:
    """The z-test for two proportions with pooled variance: `part` of `whole`, against those of the period before.

    Only where in both periods at least five cases with and five without are to be expected of the pooled share.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (part + part_before) / (whole + whole_before)
        expected = np.minimum(whole, whole_before) * np.minimum(pooled, 1 - pooled)
        error = np.sqrt(pooled * (1 - pooled) * (1 / whole + 1 / whole_before))
        z = (part / whole - part_before / whole_before) / error
    return _p_values(np.where(expected >= _EXPECTED, z, np.nan))


def exact(part: int, whole: int, part_before: int, whole_before: int) -> float:
    """Fisher's exact test for two proportions, for a share above that of the period before: for few cases.

    Twice the probability of at least `part` of the cases among `whole`, were all cases dealt out by chance (the
    hypergeometric distribution); 1 where the share is not above.
    """
    if part * whole_before <= part_before * whole:
        return 1.0
    cases, others = part + part_before, whole_before - part_before
    term = exp(_ways(whole, part) + _ways(whole_before, part_before) - _ways(whole + whole_before, cases))
    tail = 0.0
    for x in range(part, min(whole, cases) + 1):
        tail += term
        # The terms fall faster and faster, the share being above the mean already.
        if term < tail * 1e-12:
            break
        term *= (whole - x) * (cases - x) / ((x + 1) * (others + x - part + 1))
    return min(2 * tail, 1.0)


def _ways(of: int, chosen: int) -> float:
    """The logarithm of how many ways there are to choose so many of these."""
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)


def rates(part: _Numbers, whole: _Numbers, part_before: _Numbers, whole_before: _Numbers) -> Floats:
    """The z-test for two Poisson rates with pooled variance: events `part` in `whole`, which may be more than one each.

    Only where in both periods at least five events are to be expected of the pooled rate.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (part + part_before) / (whole + whole_before)
        error = np.sqrt(pooled * (1 / whole + 1 / whole_before))
        z = (part / whole - part_before / whole_before) / error
    return _p_values(np.where(np.minimum(whole, whole_before) * pooled >= _EXPECTED, z, np.nan))


def means(
    n: _Numbers,
    sums: _Numbers,
    squares: _Numbers,
    n_before: _Numbers,
    sums_before: _Numbers,
    squares_before: _Numbers,
) -> Floats:
    """Welch's t-test for two means, by the normal approximation: each of `n` values, their sum and sum of squares.

    Only where there are at least 30 values in each period.
    """
    enough = (n >= _FEWEST) & (n_before >= _FEWEST)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(_variance(n, sums, squares) / n + _variance(n_before, sums_before, squares_before) / n_before)
        difference = sums / n - sums_before / n_before
        t = np.where((error == 0) & (difference == 0), 0, difference / error)
    return _p_values(np.where(enough, t, np.nan))


def histograms(found: Ragged, before: Ragged) -> Floats:
    """Welch's t-test for the means of the logarithms of times whose histograms these are, by `histograms.bins`."""
    return means(*_moments(found), *_moments(before))


def _variance(n: _Numbers, sums: _Numbers, squares: _Numbers) -> Floats:
    return np.asarray(np.maximum(squares - sums * (sums / n), 0) / (n - 1), np.float64)


def _moments(histogram: Ragged) -> tuple[Floats, Floats, Floats]:
    """Of each cell the number of values, the sum of their bins and of the squares of these."""
    cells = len(histogram.counts)
    of = np.repeat(np.arange(cells), histogram.counts)
    weights = (
        histogram.amounts,
        histogram.amounts * histogram.keys,
        histogram.amounts * histogram.keys.astype(float) ** 2,
    )
    n, sums, squares = (np.bincount(of, weights=each, minlength=cells).astype(np.float64) for each in weights)
    return n, sums, squares


def _p_values(z: Floats) -> Floats:
    """The two-sided p-values of normal deviates: 2 (1 - Φ(|z|)) = erfc(|z| / √2)."""
    return np.array([erfc(abs(each) / sqrt(2)) for each in z.tolist()], np.float64)
