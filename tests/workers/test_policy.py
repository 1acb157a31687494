"""What a policy means, as pure functions: which moments, and what is to be searched."""

from datetime import UTC, datetime, timedelta

import pytest

from percorso.errors import StartupError
from percorso.interaction import CHANNELS
from percorso.queries import retention
from percorso.queries.retention import BEGINNING, Part, Span
from retaining import NOW, policy


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def month(text: str, following: str) -> Part:
    return Part(f"interactions_{text}", at(f"{text.replace('_', '-')}-01"), at(f"{following}-01"), 0, 0)


MONTHS = [month("2026_03", "2026-04"), month("2026_04", "2026-05"), month("2026_06", "2026-07")]


def test_without_settings_everything_is_kept_for_ever_but_the_commit_log() -> None:
    kept = policy()
    assert kept.cutoffs(NOW) == {}
    assert kept.months_before(NOW) is None
    assert kept.quarantine_before(NOW) is None
    assert kept.commits_before(NOW) == at("2026-06-01")


def test_whole_days_count_and_a_channel_may_be_kept_longer_or_shorter_than_the_others() -> None:
    kept = policy(retention_days=30, retention_channel_days={"web": 1, "phone": 400})
    cutoffs = kept.cutoffs(NOW)
    assert cutoffs.keys() == set(CHANNELS)
    assert cutoffs["chat"] == at("2026-05-16")
    assert cutoffs["web"] == at("2026-06-14")
    assert cutoffs["phone"] == kept.months_before(NOW) == at("2025-05-11")
    assert kept.cutoffs(NOW.astimezone()) == cutoffs


def test_a_month_goes_as_a_whole_only_where_no_channel_is_kept_for_ever() -> None:
    every = dict.fromkeys(CHANNELS, 30)
    assert policy(retention_channel_days=every).months_before(NOW) == at("2026-05-16")
    del every["survey"]
    kept = policy(retention_channel_days=every)
    assert kept.months_before(NOW) is None
    assert "survey" not in kept.cutoffs(NOW)


def test_any_number_of_days_is_a_moment() -> None:
    assert policy(retention_days=10**12, quarantine_days=10**9).cutoffs(NOW)["web"] == BEGINNING


def test_a_channel_that_is_none_is_refused() -> None:
    with pytest.raises(StartupError) as raised:
        policy(retention_channel_days={"web": 1, "webb": 2})
    [problem] = raised.value.problems
    assert problem.pointer == "PERCORSO_RETENTION_CHANNEL_DAYS"
    assert "'webb'" in problem.detail


def test_what_came_of_age_since_the_last_run_is_searched_month_by_month() -> None:
    cutoffs = {"web": at("2026-06-03"), "app": at("2026-06-03"), "phone": at("2026-03-10")}
    swept = {"web": at("2026-04-20"), "app": at("2026-04-20"), "fax": at("2026-06-01")}
    assert retention.spans(cutoffs, swept, [], MONTHS) == [
        Span(["phone"], at("2026-03-01"), at("2026-03-10")),
        Span(["web", "app"], at("2026-04-20"), at("2026-05-01")),
        Span(["web", "app"], at("2026-06-01"), at("2026-06-03")),
    ]
    assert retention.spans(cutoffs, cutoffs, [], MONTHS) == []


def test_hours_in_which_something_came_late_are_searched_once_for_what_was_swept() -> None:
    cutoffs = {"web": at("2026-06-03"), "phone": at("2026-03-10")}
    swept = {"web": at("2026-04-01"), "phone": at("2026-03-10")}
    hour = timedelta(hours=1)
    late = [at("2026-03-09") + hour * number for number in (22, 23, 24, 30)] + [at("2026-04-02"), at("2026-07-01")]
    found = retention.spans(cutoffs, swept, late, MONTHS)
    assert found == [
        Span(["web", "phone"], at("2026-03-09T22:00"), at("2026-03-10")),
        Span(["web"], at("2026-03-10"), at("2026-03-10T01:00")),
        Span(["web"], at("2026-03-10T06:00"), at("2026-03-10T07:00")),
        Span(["web"], at("2026-04-01"), at("2026-05-01")),
        Span(["web"], at("2026-06-01"), at("2026-06-03")),
    ]


def test_where_a_channel_is_kept_longer_than_before_it_counts_as_swept_to_there_only() -> None:
    swept = {"web": at("2026-06-03")}
    assert retention.spans({"web": at("2026-04-02")}, swept, [at("2026-04-02")], MONTHS) == []
    later = retention.spans({"web": at("2026-04-03")}, {"web": at("2026-04-02")}, [], MONTHS)
    assert later == [Span(["web"], at("2026-04-02"), at("2026-04-03"))]
