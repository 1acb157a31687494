"""Whether figures of two periods differ by more than chance."""

from statistics import NormalDist, fmean, variance

import numpy as np
import pytest

from percorso.analytics import significance
from percorso.analytics.histograms import Ragged, bins


def test_shares_are_tested_as_a_textbook_does() -> None:
    # Agresti, Categorical Data Analysis, the aspirin study: 189 of 11,034 against 104 of 11,037, z = 5.00.
    [p] = significance.shares(*map(np.array, ([189], [11034], [104], [11037])))
    assert p == pytest.approx(2 * (1 - NormalDist().cdf(5.0014)), rel=0.01)
    [p] = significance.shares(*map(np.array, ([50], [100], [50], [100])))
    assert p == 1


def test_shares_of_few_cases_or_none_are_not_tested() -> None:
    found = significance.shares(*map(np.array, ([4, 0, 9, 40], [40, 0, 9, 40], [4, 9, 9, 40], [40, 90, 9, 40])))
    assert np.isnan(found).all()


def test_means_are_tested_with_a_variance_for_each_period() -> None:
    random = np.random.default_rng(7)
    now, before = random.normal(3, 1, 200), random.normal(2.7, 2, 50)
    moments = [
        np.array([figure]) for values in (now, before) for figure in (len(values), values.sum(), (values**2).sum())
    ]
    [p] = significance.means(*moments)
    error = (variance(now.tolist()) / 200 + variance(before.tolist()) / 50) ** 0.5
    t = (fmean(now) - fmean(before)) / error
    assert p == pytest.approx(2 * NormalDist().cdf(-abs(t)), rel=1e-9)


def test_means_of_fewer_than_thirty_are_not_tested_and_equal_ones_do_not_differ() -> None:
    moments = [np.array([29, 30, 30]), np.array([29, 30, 30]), np.array([29, 30, 30])]
    before = [np.array([30, 30, 30]), np.array([60, 30, 60]), np.array([120, 30, 120])]
    found = significance.means(*moments, *before)
    assert np.isnan(found[0])
    assert found[1:].tolist() == [1, 0]


def test_times_are_compared_by_their_logarithms() -> None:
    random = np.random.default_rng(7)
    found = [random.lognormal(mean, 1, 400) for mean in (4, 4.3, 4)]
    quick, slow, same = (Ragged.of(np.zeros(400, np.int64), bins(times), np.ones(400), 1) for times in found)
    assert significance.histograms(quick, slow)[0] < significance.LEVEL
    assert significance.histograms(quick, same)[0] > significance.LEVEL
    nothing = Ragged.of(np.zeros(0, np.int64), bins(np.zeros(0)), np.zeros(0), 1)
    assert np.isnan(significance.histograms(quick, nothing)).all()
