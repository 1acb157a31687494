"""Counts, and by what means and when the customer prefers contact."""

from datetime import UTC, timedelta, timezone
from zoneinfo import ZoneInfo

from histories import contact, inbound, outbound

from percorso.measures import zone
from percorso.measures.counts import counts, preferred, zone_of

ROME = ZoneInfo("Europe/Rome")


def test_contacts_are_counted_by_channel_function_and_direction_the_most_frequent_first() -> None:
    found = counts(
        [
            contact("03-01", "phone", function="service"),
            contact("03-02", "email", function="marketing"),
            contact("03-03", "email", function="service"),
            contact("03-04", "signage"),
        ]
    )
    assert list(found.by_channel.items()) == [("email", 2), ("phone", 1), ("signage", 1)]
    assert list(found.by_function.items()) == [("service", 2), ("marketing", 1)]
    assert list(found.by_direction.items()) == [("outbound", 2), ("inbound", 1), ("none", 1)]


def test_the_preferred_channel_is_the_one_most_often_reached_out_on_and_of_two_the_latest() -> None:
    history = [
        inbound("03-01", "phone"),
        inbound("03-02", "chat"),
        *(inbound(f"03-0{day}", "web") for day in (3, 4, 5)),
        *(outbound(f"03-0{day}", "email") for day in (6, 7, 8)),
    ]
    assert preferred(history, UTC, "default").channel == "chat"
    assert preferred([*history, inbound("03-09", "phone")], UTC, "default").channel == "phone"
    assert preferred(history[2:], UTC, "default").channel is None


def test_the_hours_are_the_three_with_the_most_inbound_contacts_past_midnight_too() -> None:
    history = [inbound(f"03-01T{at}", "web") for at in ("09:00", "22:10", "23:20", "23:59")]
    history += [inbound("03-02T00:30", "app"), outbound("03-02T09:10"), outbound("03-02T09:20")]
    found = preferred(history, UTC, "default")
    assert found.hours is not None
    assert (found.hours.from_hour, found.hours.to_hour, found.hours.share) == (22, 1, 0.8)
    assert {hour: number for hour, number in enumerate(found.by_hour) if number} == {0: 1, 9: 1, 22: 1, 23: 2}
    assert preferred([outbound("03-01")], UTC, "default").hours is None


def test_hours_are_those_of_the_customers_own_day_in_summer_and_in_winter() -> None:
    at_18_in_rome = [inbound("2026-01-15T17:30:00Z"), inbound("2026-07-15T16:30:00Z")]
    around_the_change = [inbound("2026-03-29T00:59:59Z"), inbound("2026-03-29T01:00:00Z")]
    found = preferred([*at_18_in_rome, *around_the_change], ROME, "trait")
    assert {hour: number for hour, number in enumerate(found.by_hour) if number} == {1: 1, 3: 1, 18: 2}
    assert (found.time_zone, found.time_zone_from) == ("Europe/Rome", "trait")


def test_without_a_zone_the_hours_are_those_that_senders_wrote_in_summer_and_in_winter() -> None:
    history = [inbound("2026-01-15T18:30:00+01:00"), inbound("2026-07-15T18:30:00+02:00")]
    history += [inbound("2026-07-16T18:40:00+02:00"), inbound("2026-07-17T16:50:00Z")]
    its_zone, zone_from = zone_of(history, None)
    assert (its_zone, zone_from) == (timezone(timedelta(hours=2)), "offsets")
    found = preferred(history, its_zone, zone_from)
    assert found.by_hour[18] == 4
    assert (found.time_zone, found.time_zone_from) == ("+02:00", "offsets")


def test_without_any_offset_the_hours_are_in_utc() -> None:
    history = [inbound("2026-01-15T18:30:00Z")]
    assert zone_of(history, None) == (UTC, "default")
    assert preferred(history, *zone_of(history, None)).time_zone == "UTC"
    assert zone_of([], None) == (UTC, "default")
    assert zone_of([inbound("2026-01-15T18:30:00-03:00")], ROME) == (ROME, "trait")


def test_half_hours_count_in_the_hour_that_was_written() -> None:
    history = [inbound("2026-01-15T18:10:00+05:30"), inbound("1990-01-15T00:10:00-03:30")]
    found = preferred(history, *zone_of(history, None))
    assert (found.by_hour[18], found.by_hour[0]) == (1, 1)


def test_only_names_of_the_time_zone_database_are_zones() -> None:
    assert zone("Europe/Rome") == ROME
    for name in (
        "Europe",
        "Rome",
        "../../etc/passwd",
        "/etc/localtime",
        "",
        "europe/rome\0",
        None,
        1,
        ["UTC"],
        "+01:00",
    ):
        assert zone(name) is None
