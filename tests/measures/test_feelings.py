"""How the customer feels, what they answered, and where it is going."""

from datetime import timedelta

import pytest
from histories import contact, moment

from percorso import ids
from percorso.measures.feelings import feedback, sentiment
from percorso.measures.trends import LATEST, trend

DAY = timedelta(days=1) // timedelta(milliseconds=1)


def daily(*values: float) -> list[tuple[int, float]]:
    return [(day * DAY, value) for day, value in enumerate(values)]


def test_the_slope_is_the_median_of_all_pairs_so_that_one_outlier_does_not_turn_it() -> None:
    # The ten slopes are 1 six times, and 25, 33, 49 and 97: a line by least squares would rise by 20 a day.
    found = trend(daily(0, 1, 2, 3, 100))
    assert (found.direction, found.per_30_days, found.values) == ("rising", 30, 5)


@pytest.mark.parametrize(
    ("values", "direction", "per_30_days"),
    [
        ((), "unknown", None),
        ((0, 1, 2, 3), "unknown", None),
        ((0.5, 0.4, 0.3, 0.2, 0.1), "falling", -3),
        ((1, 1, 1, 1, 1), "steady", 0),
        ((0, 1, 0, 1, 0), "steady", 0),
        ((0, 0, 1, 1, 1), "steady", 8.75),
        # S is 16 of 28: without the correction for ties z is 1.86, and this would be steady; with it 2.17.
        ((0, 0, 0, 0, 1, 1, 1, 1), "rising", 5),
    ],
)
def test_a_direction_is_told_from_chance(values: tuple[float, ...], direction: str, per_30_days: float | None) -> None:
    found = trend(daily(*values))
    assert found.direction == direction
    assert found.per_30_days == (None if per_30_days is None else pytest.approx(per_30_days))


def test_only_the_latest_values_make_a_trend() -> None:
    found = trend(daily(*range(1000, 0, -10), *range(LATEST)))
    assert (found.direction, found.per_30_days, found.values) == ("rising", 30, LATEST)


def test_values_of_one_moment_have_no_slope() -> None:
    found = trend([(0, value) for value in (1, 2, 3, 4, 5)])
    assert found.per_30_days == 0


def test_sentiment_is_the_mean_the_latest_and_by_month() -> None:
    history = [
        contact("01-31T23:59", sentiment={"score": 0.5}),
        contact("02-01", sentiment={"score": -0.2}),
        contact("02-10", sentiment={"label": "negative"}),
        contact("02-11"),
    ]
    found = sentiment(history)
    assert (found.interactions, found.mean) == (3, -0.0667)
    assert found.latest is not None
    assert (found.latest.score, found.latest.at, found.latest.interaction_id) == (-0.5, moment("02-10"), history[2].id)
    assert [(each.month, each.mean, each.interactions) for each in found.over_time] == [
        ("2026-01", 0.5, 1),
        ("2026-02", -0.35, 2),
    ]
    assert (found.trend.direction, found.trend.values) == ("unknown", 3)
    assert sentiment([]).latest is None
    assert sentiment([]).mean is None


def test_the_months_are_those_of_the_calendar() -> None:
    for at, month in {"1990-01-01T00:00:00Z": "1990-01", "2024-02-29T23:59:59.999Z": "2024-02"}.items():
        [found] = sentiment([contact(at, sentiment={"score": 0})]).over_time
        assert found.month == month
    assert ids.from_unix_ms(0).month == 1


def test_nps_csat_and_ces_are_as_the_field_defines_them() -> None:
    given = {
        "nps": [10, 9, 8, 7, 6, 0],
        "csat": [5, 4, 3],
        "ces": [7, 1],
    }
    history = [
        contact(f"03-{day:02}", "survey", feedback=[{"metric": metric, "score": score}])
        for metric, scores in given.items()
        for day, score in enumerate(scores, 1)
    ]
    found = feedback(sorted(history, key=lambda each: each.at))
    assert found.nps is not None
    assert found.csat is not None
    assert found.ces is not None
    # Two promoters, two detractors; two of three satisfied; the mean of 7 and 1.
    assert (found.nps.answers, found.nps.value) == (6, 0)
    assert (found.csat.answers, found.csat.value) == (3, 0.6667)
    assert (found.ces.answers, found.ces.value) == (2, 4)
    assert (found.nps.latest_score, found.nps.latest_scaled, found.nps.latest_at) == (0, 0, moment("03-06"))
    assert found.nps.interaction_id == history[5].id
    assert (found.nps.trend.direction, found.nps.trend.per_30_days) == ("falling", -3)


def test_the_bounds_of_nps_and_csat_hold_on_other_scales() -> None:
    def value(metric: str, score: float, low: float, high: float) -> float:
        answer = {"metric": metric, "score": score, "min": low, "max": high}
        found = getattr(feedback([contact("03-01", "survey", feedback=[answer])]), metric)
        return float(found.value)

    assert [value("nps", score, 0, 10) for score in (6, 7, 8, 9)] == [-100, 0, 0, 100]
    assert [value("nps", score, 0, 100) for score in (60, 61, 89, 90)] == [-100, 0, 0, 100]
    assert [value("csat", score, 1, 10) for score in (6, 7)] == [0, 1]
    assert [value("csat", score, 0, 100) for score in (59, 60)] == [0, 1]
    assert value("ces", 5, 1, 5) == 7


def test_what_was_never_asked_is_null() -> None:
    found = feedback([contact("03-01", feedback=[{"metric": "stars", "score": 5}])])
    assert (found.nps, found.csat, found.ces) == (None, None, None)
