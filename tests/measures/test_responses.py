"""How long the customer waited for an answer, and who still waits."""

from histories import inbound, moment, outbound

from percorso import ids
from percorso.measures import Contact
from percorso.measures.responses import Responses, find_waits, responses

NOW = ids.unix_ms(moment("04-01"))
HOUR = 3600


def of(*history: Contact) -> Responses:
    return responses(find_waits(history), NOW)


def test_the_median_is_of_the_times_from_asking_to_the_next_answer_by_channel() -> None:
    found = of(
        inbound("03-01T10:00", "email", conversation="a"),
        outbound("03-01T12:00", "email", conversation="a"),
        inbound("03-02T10:00", "email", case="b"),
        inbound("03-02T11:00", "social", conversation="c"),
        outbound("03-02T15:00", "social", conversation="c"),
        outbound("03-02T20:00", "phone", case="b"),
    )
    assert (found.overall.answered, found.overall.median_seconds) == (3, 4 * HOUR)
    assert {channel: (each.answered, each.median_seconds) for channel, each in found.by_channel.items()} == {
        "email": (2, 6 * HOUR),
        "social": (1, 4 * HOUR),
    }
    assert (found.waiting, found.unanswered) == (0, [])


def test_who_asks_again_has_waited_since_the_first_time() -> None:
    found = of(
        inbound("03-01T10:00", conversation="a"),
        inbound("03-01T11:00", conversation="a"),
        outbound("03-01T13:00", conversation="a"),
        outbound("03-01T14:00", conversation="a"),
        inbound("03-01T15:00", conversation="a"),
        outbound("03-01T16:00", conversation="a"),
    )
    assert (found.overall.answered, found.overall.median_seconds) == (2, 2 * HOUR)


def test_who_was_not_answered_waits_until_now_the_latest_first() -> None:
    first = inbound("03-30T00:00", conversation="a")
    again = inbound("03-30T12:00", conversation="a")
    second = inbound("03-31T00:00", "phone", outcome="abandoned", case="b")
    elsewhere = outbound("03-31T01:00", conversation="other")
    found = of(first, again, second, elsewhere)
    assert found.waiting == 2
    assert [
        (each.interaction_id, each.interactions, each.channel, each.since, each.waiting_seconds)
        for each in found.unanswered
    ] == [
        (second.id, 1, "phone", moment("03-31"), 24 * HOUR),
        (first.id, 2, "email", moment("03-30"), 48 * HOUR),
    ]


def test_an_answer_in_the_case_answers_what_was_asked_in_the_conversation() -> None:
    found = of(
        inbound("03-01T10:00", conversation="a"),
        inbound("03-01T11:00", case="b"),
        inbound("03-01T12:00", conversation="a", case="b"),
        outbound("03-01T13:00", case="b"),
        outbound("03-01T14:00", conversation="a"),
    )
    assert (found.overall.answered, found.overall.median_seconds, found.waiting) == (1, 3 * HOUR, 0)


def test_waits_that_turn_out_to_be_one_matter_are_counted_together() -> None:
    first = inbound("03-01T10:00", conversation="a")
    found = of(first, inbound("03-01T11:00", case="b"), inbound("03-01T12:00", conversation="a", case="b"))
    assert [(each.interaction_id, each.interactions) for each in found.unanswered] == [(first.id, 3)]


def test_reaching_somebody_or_settling_the_matter_ends_the_wait_without_a_time() -> None:
    for end in (
        inbound("03-02", "phone", outcome="answered", case="a"),
        inbound("03-02", "survey", resolution="resolved", case="a"),
        inbound("03-02", "email", resolution="resolved", case="a"),
    ):
        found = of(inbound("03-01", case="a"), end)
        assert (found.overall.answered, found.overall.median_seconds, found.waiting) == (0, None, 0)
    assert of(inbound("03-01", case="a"), inbound("03-02", "phone", outcome="busy", case="a")).waiting == 1


def test_what_missed_the_customer_is_no_answer() -> None:
    found = of(inbound("03-01", case="a"), outbound("03-02", "phone", outcome="no_answer", case="a"))
    assert (found.waiting, found.overall.answered) == (1, 0)


def test_of_what_names_neither_case_nor_conversation_nothing_is_said_but_how_many() -> None:
    found = of(inbound("03-01"), outbound("03-02"), inbound("03-03", "phone", outcome="answered"))
    assert (found.unthreaded, found.waiting, found.overall.answered) == (1, 0, 0)


def test_at_most_a_hundred_are_named_and_all_are_counted() -> None:
    found = of(*(inbound("03-01", conversation=str(number)) for number in range(103)))
    assert (found.waiting, len(found.unanswered)) == (103, 100)


def test_nobody_waits_for_less_than_no_time() -> None:
    [waiting] = of(inbound("2026-04-01T12:00:00Z", case="a")).unanswered
    assert waiting.waiting_seconds == 0
