"""Contact quality: shares and means of contacts, the age of those that wait, and what changed."""

from typing import Any

import numpy as np
import pytest

from percorso.analytics import significance
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import COUNT, COUNTS, SUM, SUMS
from percorso.analytics.quality import MEASURES, WAITING, columns, compared


def counts(**named: int) -> Ints:
    row = np.zeros((1, len(COUNTS)), np.int64)
    for name, number in named.items():
        row[0, COUNT[name]] = number
    return row


def sums(since: float = 0) -> Floats:
    row = np.zeros((1, len(SUMS)))
    row[0, SUM["waiting_since"]] = since
    return row


def of(found: dict[str, list[Any]], each: str) -> dict[str, Any]:
    """One value of each measure."""
    return {name: found[f"{name}.{each}"][0] for name in MEASURES}


USUAL = {
    "first_contacts": 200, "resolved_first": 150, "reached_out": 1000, "repeats": 100, "hand_offs": 300, "switches": 50,
    "asked": 400, "waiting": 20,
}  # fmt: skip


def test_each_measure_is_its_part_of_its_whole() -> None:
    found = columns(counts(**USUAL), sums(), as_of=0)
    assert of(found, "value") == {
        "first_contact_resolution": 0.75,
        "repeat_contact_rate": 0.1,
        "hand_offs_per_contact": 0.3,
        "channel_switch_rate": 0.05,
        "unanswered_share": 0.05,
    }
    assert of(found, "count") == {name: USUAL[measure.part] for name, measure in MEASURES.items()}
    assert of(found, "of") == {name: USUAL[measure.whole] for name, measure in MEASURES.items()}


def test_of_no_contacts_there_is_no_share() -> None:
    found = columns(counts(), sums(), as_of=0)
    assert of(found, "value") == dict.fromkeys(MEASURES)
    assert found[WAITING] == [None]


def test_the_age_of_those_waiting_is_the_mean_of_theirs() -> None:
    waiting = counts(waiting=2)
    assert columns(waiting, sums(1_000 + 4_000), as_of=10_000)[WAITING] == [7_500]
    assert columns(waiting, sums(1_000 + 4_000), as_of=2_000)[WAITING] == [0]


def test_what_changed_by_more_than_chance_is_significant() -> None:
    found = compared(counts(**USUAL), counts(**USUAL | {"repeats": 150, "hand_offs": 310, "resolved_first": 148}))
    assert found["repeat_contact_rate.change.before"] == [0.15]
    assert found["repeat_contact_rate.change.difference"] == [-0.05]
    assert of(found, "change.significant") == {
        "first_contact_resolution": False,
        "repeat_contact_rate": True,
        "hand_offs_per_contact": False,
        "channel_switch_rate": False,
        "unanswered_share": False,
    }
    assert found["hand_offs_per_contact.change.test"] == ["z-test of two Poisson rates"]
    assert found["repeat_contact_rate.change.test"] == ["two-proportion z-test"]


def test_without_a_period_before_there_is_no_change() -> None:
    found = compared(counts(**USUAL), counts())
    assert all(value == [None] for value in found.values())


def test_rates_may_be_above_one_and_are_compared_as_counts_are() -> None:
    n = np.array([100, 100, 3])
    p_values = significance.rates(np.array([250, 250, 1]), n, np.array([150, 240, 1]), n)
    # (2.5 - 1.5) / √(2 · 2 / 100) = 5; (2.5 - 2.4) / √(2.45 · 2 / 100) = 0.4518.
    assert p_values[0] == pytest.approx(5.733e-7, rel=1e-3)
    assert p_values[1] == pytest.approx(0.6514, rel=1e-3)
    assert np.isnan(p_values[2])
