"""Contact quality: shares and means of contacts, the age of those that wait, and what changed."""

import numpy as np
import pytest

from percorso.analytics import significance
from percorso.analytics.cells import COUNT, COUNTS, SUM, SUMS
from percorso.analytics.quality import MEASURES, changes, figures, waiting_seconds
from percorso.analytics.sketches import Ints


def counts(**named: int) -> Ints:
    row = np.zeros((1, len(COUNTS)), np.int64)
    for name, number in named.items():
        row[0, COUNT[name]] = number
    return row


USUAL = {
    "first_contacts": 200, "resolved_first": 150, "reached_out": 1000, "repeats": 100, "hand_offs": 300, "switches": 50,
    "asked": 400, "waiting": 20,
}  # fmt: skip


def test_each_measure_is_its_part_of_its_whole() -> None:
    found = figures(counts(**USUAL))
    assert {name: figure.value[0] for name, figure in found.items()} == {
        "first_contact_resolution": 0.75,
        "repeat_contact_rate": 0.1,
        "hand_offs_per_contact": 0.3,
        "channel_switch_rate": 0.05,
        "unanswered_share": 0.05,
    }
    assert all(figure.count[0] == USUAL[MEASURES[name].part] for name, figure in found.items())
    assert all(figure.of[0] == USUAL[MEASURES[name].whole] for name, figure in found.items())


def test_of_no_contacts_there_is_no_share() -> None:
    assert all(np.isnan(figure.value[0]) for figure in figures(counts()).values())


def test_the_age_of_those_waiting_is_the_mean_of_theirs() -> None:
    sums = np.zeros((1, len(SUMS)))
    sums[0, SUM["waiting_since"]] = 1_000 + 4_000
    assert waiting_seconds(counts(waiting=2), sums, 10_000).tolist() == [7_500]
    assert waiting_seconds(counts(waiting=2), sums, 2_000).tolist() == [0]
    assert np.isnan(waiting_seconds(counts(), np.zeros((1, len(SUMS))), 10_000)).all()


def test_what_changed_by_more_than_chance_is_significant() -> None:
    found = changes(counts(**USUAL), counts(**USUAL | {"repeats": 150, "hand_offs": 310, "resolved_first": 148}))
    assert found["repeat_contact_rate"].difference[0] == pytest.approx(-0.05)
    assert found["repeat_contact_rate"].significant[0]
    assert not found["hand_offs_per_contact"].significant[0]
    assert not found["first_contact_resolution"].significant[0]


def test_without_a_period_before_nothing_changed() -> None:
    found = changes(counts(**USUAL), counts())
    assert all(np.isnan(change.difference[0]) and not change.significant[0] for change in found.values())


def test_rates_may_be_above_one_and_are_compared_as_counts_are() -> None:
    n = np.array([100, 100, 3])
    p_values = significance.rates(np.array([250, 250, 1]), n, np.array([150, 240, 1]), n)
    # (2.5 - 1.5) / √(2 · 2 / 100) = 5; (2.5 - 2.4) / √(2.45 · 2 / 100) = 0.4518.
    assert p_values[0] == pytest.approx(5.733e-7, rel=1e-3)
    assert p_values[1] == pytest.approx(0.6514, rel=1e-3)
    assert np.isnan(p_values[2])
