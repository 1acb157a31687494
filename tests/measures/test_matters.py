"""Cases and complaints: which are open, and how the others were closed."""

from histories import contact, inbound, moment, outbound

from percorso.measures.cases import cases, courses
from percorso.measures.complaints import complaints


def test_a_case_is_as_its_last_word_leaves_it() -> None:
    history = [
        inbound("03-01", case="settled", status="open"),
        outbound("03-02", case="settled", resolution="resolved"),
        outbound("03-03", case="settled"),
        inbound("03-01", case="reopened", resolution="resolved"),
        inbound("03-05", case="reopened"),
        outbound("03-04", case="waiting", status="in_progress"),
    ]
    found = cases(courses(history))
    assert (found.open, found.closed) == (2, 1)
    assert [
        (each.case, each.interactions, each.opened_at, each.last_at, each.last_interaction_id)
        for each in found.latest_open
    ] == [
        ("reopened", 2, moment("03-01"), moment("03-05"), history[4].id),
        ("waiting", 1, moment("03-04"), moment("03-04"), history[5].id),
    ]


def test_a_survey_asks_about_a_case_and_is_no_part_of_it() -> None:
    history = [
        inbound("03-01", "phone", case="c", resolution="resolved"),
        outbound("03-02", "survey", case="c", status="open"),
        inbound("03-03", "survey", case="c"),
    ]
    assert courses(history)["c"].last is history[0]
    assert cases(courses(history)).closed == 1
    assert courses(history[1:]) == {}


def test_a_complaint_is_closed_by_what_settles_its_case_or_conversation_later() -> None:
    before = outbound("02-28", case="c", resolution="resolved")
    complaint = inbound("03-01", kind="complaint", case="c", status="open")
    louder = inbound("03-02", "review", case="c", conversation="v", details={"site": "s", "rating": {"value": 1}})
    elsewhere = outbound("03-03", case="other", resolution="resolved")
    settled = outbound("03-04", "phone", conversation="v", resolution="resolved")
    open_ = complaints([before, complaint, louder, elsewhere])
    assert (open_.open, open_.closed, open_.latest_closed) == (1, 0, [])
    [found] = open_.latest_open
    assert (found.interaction_ids, found.channel, found.at) == ([complaint.id, louder.id], "email", moment("03-01"))
    assert (found.closed_at, found.closed_by) == (None, None)
    closed = complaints([before, complaint, louder, elsewhere, settled])
    assert (closed.open, closed.closed, closed.latest_open) == (0, 1, [])
    [found] = closed.latest_closed
    assert (found.closed_at, found.closed_by) == (moment("03-04"), settled.id)
    assert found.interaction_ids == [complaint.id, louder.id]


def test_a_complaint_after_its_matter_was_settled_is_a_new_one() -> None:
    history = [
        inbound("03-01", kind="complaint", case="c"),
        outbound("03-02", case="c", resolution="resolved"),
        inbound("03-03", kind="complaint", case="c"),
    ]
    found = complaints(history)
    assert (found.open, found.closed) == (1, 1)
    assert found.latest_open[0].interaction_ids == [history[2].id]


def test_a_complaint_that_is_resolved_itself_is_closed_and_one_whose_call_ended_is_not() -> None:
    resolved = inbound("03-01", "phone", outcome="complained", resolution="resolved")
    ended = inbound("03-02", "phone", outcome="complained", status="completed")
    found = complaints([resolved, ended])
    assert [each.closed_by for each in found.latest_closed] == [resolved.id]
    assert [each.interaction_ids for each in found.latest_open] == [[ended.id]]


def test_complaints_without_a_thread_are_each_their_own() -> None:
    history = [contact(f"03-0{day}", "review", details={"site": "s", "rating": {"value": 1}}) for day in (1, 2)]
    found = complaints([*history, outbound("03-03", resolution="resolved")])
    assert [each.interaction_ids for each in found.latest_open] == [[history[1].id], [history[0].id]]


def test_at_most_a_hundred_of_each_are_named_and_all_are_counted() -> None:
    history = [inbound("03-01", case=f"{number}", kind="complaint", status="open") for number in range(103)]
    found, waiting = complaints(history), cases(courses(history))
    assert (found.open, len(found.latest_open), waiting.open, len(waiting.latest_open)) == (103, 100, 103, 100)
    again = [inbound("03-01", case="c", kind="complaint") for _ in range(103)]
    [one] = complaints(again).latest_open
    assert one.interaction_ids == [each.id for each in again[:100]]
