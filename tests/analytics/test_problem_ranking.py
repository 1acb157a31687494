"""Problems: what is high or rising is found, and what is small, scarce or like the others is not."""

from math import comb, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percorso.analytics import problems, significance
from percorso.analytics.arrays import Ints
from percorso.analytics.cells import COUNT, COUNTS
from percorso.analytics.problems import FEWEST, benjamini_hochberg, find, trouble


def counts(*items: dict[str, int]) -> Ints:
    """One row an item, with these counts."""
    rows = np.zeros((len(items), len(COUNTS)), np.int64)
    for row, item in zip(rows, items, strict=True):
        for name, number in item.items():
            row[COUNT[name]] = number
    return rows


def same(items: int) -> Ints:
    return np.zeros(items, np.int64)


def usual(**others: int) -> dict[str, int]:
    whole = {"interactions": 1000, "felt": 400, "reached_out": 500, "settled": 300}
    return whole | {"complaints": 20, "negative": 40, "repeats": 50, "unresolved": 30} | others


def test_a_share_that_doubled_is_rising_and_high_and_its_excess_is_its_score() -> None:
    now = counts(usual(), usual(negative=80), usual())
    before = 4 * counts(usual(), usual(), usual())
    found = find(now, before, same(3))
    assert found.order.tolist() == [1]
    negative = found.signals["negative"]
    assert negative.history.above.tolist() == [False, True, False]
    assert negative.others.above.tolist() == [False, True, False]
    assert negative.history.share[1] == negative.others.share[1] == 0.1
    assert negative.share[1] == 0.2
    assert found.score[1] == pytest.approx(40.0)
    assert not found.signals["complaints"].flagged.any()
    assert found.comparisons == 3 * 4 * 2


def test_what_was_always_high_is_high_and_not_rising() -> None:
    now = counts(usual(), usual(complaints=90), usual())
    found = find(now, 4 * now, same(3))
    assert found.order.tolist() == [1]
    complaints = found.signals["complaints"]
    assert not complaints.history.above.any()
    assert complaints.others.above.tolist() == [False, True, False]
    assert found.score[1] == pytest.approx(90 - 1000 * 0.02)


def test_what_rises_everywhere_is_rising_and_not_high() -> None:
    now = counts(*[usual(repeats=150)] * 3)
    found = find(now, 4 * counts(*[usual()] * 3), same(3))
    assert found.order.tolist() == [0, 1, 2]
    assert found.signals["repeats"].history.above.all()
    assert not found.signals["repeats"].others.above.any()


def test_what_falls_or_is_low_is_no_problem() -> None:
    now = counts(usual(), usual(negative=4), *[usual()] * 20)
    found = find(now, 4 * counts(*[usual()] * 22), same(22))
    assert found.order.tolist() == []
    assert found.signals["negative"].history.p_value[1] < 0.05


@pytest.mark.parametrize("few", range(FEWEST))
def test_few_are_no_problem_however_bad(few: int) -> None:
    bad = dict.fromkeys(("interactions", "complaints", "felt", "negative", "settled", "unresolved"), few)
    found = find(counts(usual(), bad), counts(usual(), {"interactions": 10_000}), same(2))
    assert found.order.tolist() == []


def test_what_differs_by_less_than_a_tenth_is_no_problem_however_certain() -> None:
    now = counts({"interactions": 10_000_000, "complaints": 1_050_000}, {"interactions": 10_000_000})
    before = counts({"interactions": 40_000_000, "complaints": 4_000_000}, {"interactions": 1})
    history = find(now, before, same(2)).signals["complaints"].history
    assert history.p_value[0] < 1e-9
    assert not history.above[0]


def test_without_a_history_nothing_rises_and_without_others_nothing_is_high() -> None:
    alone = find(counts(usual(complaints=500)), counts({}), same(1))
    assert alone.order.tolist() == []
    assert alone.comparisons == 0
    complaints = alone.signals["complaints"]
    assert np.isnan(complaints.history.share[0])
    assert np.isnan(complaints.others.share[0])


def test_items_are_compared_with_others_of_their_dimension_alone() -> None:
    now = counts(usual(), usual(), usual(complaints=200), usual(complaints=200))
    found = find(now, 4 * now, np.array([1, 1, 4, 4]))
    assert found.order.tolist() == []
    assert find(now, 4 * now, same(4)).order.tolist() == [2, 3]


def test_the_most_excess_comes_first_whatever_its_share() -> None:
    large = {"interactions": 100_000, "complaints": 4000}
    small = {"interactions": 100, "complaints": 60}
    rest = {"interactions": 1_000_000, "complaints": 20_000}
    now = counts(small, large, rest)
    assert find(now, 4 * now, same(3)).order.tolist() == [1, 0]


def test_trouble_counts_an_interaction_once_for_each_signal() -> None:
    assert trouble(counts(usual(), {})).tolist() == [20 + 40 + 50 + 30, 0]


def test_nothing_happened_and_nothing_is_found() -> None:
    found = find(counts(), counts(), same(0))
    assert (found.order.tolist(), found.comparisons) == ([], 0)


@pytest.mark.parametrize("share", [0.1, 0.006])
def test_by_chance_alone_hardly_anything_is_a_problem(share: float) -> None:
    rng = np.random.default_rng(5)
    items = 300
    reports = 0
    for _ in range(40):
        now, before = np.zeros((items, len(COUNTS)), np.int64), np.zeros((items, len(COUNTS)), np.int64)
        for part, whole in problems.SIGNALS:
            for rows, n in ((now, 500), (before, 2000)):
                rows[:, COUNT[whole]] = n
                rows[:, COUNT[part]] = rng.binomial(n, share, items)
        reports += len(find(now, before, same(items)).order) > 0
    # The false discovery rate is 5 %, and with nothing to discover it is the chance of any report.
    assert reports <= 6


@given(st.integers(1, 12), st.integers(1, 30), st.data())
def test_the_exact_test_says_how_likely_it_is_that_as_many_are_drawn(
    whole: int, before: int, data: st.DataObject
) -> None:
    part, part_before = data.draw(st.integers(0, whole)), data.draw(st.integers(0, before))
    cases, all_ = part + part_before, whole + before
    drawn = [comb(whole, x) * comb(before, cases - x) for x in range(part, min(whole, cases) + 1)]
    above = part * before > part_before * whole
    expected = min(2 * sum(drawn) / comb(all_, cases), 1.0) if above else 1.0
    assert significance.exact(part, whole, part_before, before) == pytest.approx(expected, rel=1e-9)


P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=30)


@given(P_VALUES)
def test_adjusted_p_values_flag_what_the_step_up_procedure_rejects(given_: list[float]) -> None:
    p_values = np.array(given_, np.float64)
    adjusted = benjamini_hochberg(p_values)
    tested = sorted(each for each in given_ if not isnan(each))
    m = len(tested)
    assert np.array_equal(np.isnan(adjusted), np.isnan(p_values))
    for level in (0.01, 0.05, 0.3):
        passing = [each for rank, each in enumerate(tested, 1) if each * m / rank <= level]
        limit = max(passing, default=-1.0)
        assert [each <= limit for each in given_ if not isnan(each)] == [
            each <= level for each in adjusted.tolist() if not isnan(each)
        ]


def test_items_that_are_complaints_are_not_judged_for_it_nor_compared_with() -> None:
    now = counts(usual(complaints=1000, negative=200), usual(complaints=60), usual())
    found = find(now, 4 * now, same(3), complaining=np.array([True, False, False]))
    complaints = found.signals["complaints"]
    assert complaints.of.tolist() == [0, 1000, 1000]
    assert complaints.others.share[1] == 0.02
    assert complaints.others.above.tolist() == [False, True, False]
    assert found.signals["negative"].others.above.tolist() == [True, False, False]
    assert found.trouble[0] == 1000 + 200 + 50 + 30
