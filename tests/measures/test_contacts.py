"""What is read of a stored interaction."""

import json
from typing import Any

import pytest
from histories import contact, inbound, outbound

from percorso.interaction import CHANNELS
from percorso.measures.roles import answers, asks, complains, meets, settles
from support import FIXTURES


def test_every_document_that_can_be_stored_can_be_read() -> None:
    for name in ("interactions", "every_channel"):
        for line in (FIXTURES / f"{name}.ndjson").read_text(encoding="utf-8").splitlines():
            given = json.loads(line)
            made = contact(given.pop("occurred_at"), given.pop("channel"), **given)
            assert made.case == given.get("case")
            assert made.status == given.get("status")
    for channel in CHANNELS:
        assert contact("03-01", channel).channel == channel


@pytest.mark.parametrize(
    ("sent", "offset"),
    [
        ("2026-03-01T10:00:00+01:00", 60),
        ("2026-03-01T10:00:00.123456789+05:30", 330),
        ("2026-03-01T10:00:00-03:30", -210),
        ("2026-03-01T10:00:00+00:00", 0),
        ("2026-03-01T10:00:00Z", None),
        ("2026-03-01T10:00:00-00:00", None),
    ],
)
def test_the_offset_is_the_senders_and_utc_says_nothing_of_it(sent: str, offset: int | None) -> None:
    assert contact(sent).offset == offset


def test_a_null_member_is_the_same_as_an_absent_one() -> None:
    null = dict.fromkeys(("agent", "case", "sentiment", "feedback", "topics", "details", "resolution", "outcome"))
    for channel in ("email", "field_visit", "phone"):
        made = contact("03-01", channel, **null)
        assert (made.agent, made.threads, made.sentiment, made.answers, made.topics) == (None, (), None, (), ())


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ({"score": -0.4, "label": "positive"}, -0.4),
        ({"score": 0}, 0),
        ({"label": "positive"}, 0.5),
        ({"label": "mixed"}, 0),
        ({"label": "negative"}, -0.5),
        ({"source": "model"}, None),
    ],
)
def test_a_feeling_is_its_score_or_what_its_word_stands_for(said: dict[str, Any], score: float | None) -> None:
    assert contact("03-01", sentiment=said).sentiment == score


@pytest.mark.parametrize(
    ("feedback", "scaled"),
    [
        ({"metric": "nps", "score": 7}, 0.7),
        ({"metric": "csat", "score": 4}, 0.75),
        ({"metric": "ces", "score": 1}, 0),
        ({"metric": "csat", "score": 30, "min": 0, "max": 120}, 0.25),
        ({"metric": "csat", "score": 9}, 1),
        ({"metric": "other", "score": 9}, None),
        ({"metric": "nps"}, None),
        ({"metric": "csat", "score": 0, "min": -1.5e308, "max": 1.5e308}, None),
    ],
)
def test_an_answer_is_scaled_by_its_own_scale_or_the_usual_one(feedback: dict[str, Any], scaled: float | None) -> None:
    given = [answer.scaled for answer in contact("03-01", feedback=[feedback]).answers]
    assert given == ([] if scaled is None else [scaled])


@pytest.mark.parametrize(
    ("rating", "scaled"),
    [
        ({"value": 2, "best": 5, "worst": 1}, 0.25),
        ({"value": 5}, 1),
        ({"value": 1, "best": 1, "worst": 6}, 1),
        ({"value": 3, "best": 3, "worst": 3}, None),
        ({"best": 5}, None),
        ({"value": 0, "best": 1.5e308, "worst": -1.5e308}, None),
        ({"value": 1.5e308, "best": 5, "worst": -1.5e308}, 1),
        (None, None),
    ],
)
def test_a_rating_goes_from_its_worst_to_its_best(rating: dict[str, Any] | None, scaled: float | None) -> None:
    assert contact("03-01", "review", details={"site": "s", "rating": rating}).rating == scaled


def test_case_and_conversation_of_one_name_are_not_the_same_thread() -> None:
    both = contact("03-01", case="7", conversation="7")
    assert both.threads == ("case 7", "conversation 7")
    assert contact("03-01", case="7").threads == both.threads[:1]
    assert contact("03-01", conversation="7").threads == both.threads[1:]


def test_an_empty_name_is_none() -> None:
    made = contact("03-01", case="", conversation="", agent="")
    assert (made.threads, made.case, made.conversation, made.agent) == ((), None, None, None)


def test_topics_are_the_same_in_capitals() -> None:
    assert (
        contact("03-01", topics=["Billing", "STRASSE"]).topics == contact("03-01", topics=["billing", "straße"]).topics
    )


def test_the_customer_reaches_out_by_writing_calling_and_coming_only() -> None:
    reaching = {channel for channel in CHANNELS if inbound("03-01", channel).reaches_out}
    assert reaching == {
        "phone", "video", "sms", "messaging", "chat", "email", "social", "store_visit", "field_visit", "mail", "fax",
        "review", "community",
    }  # fmt: skip
    assert not any(outbound("03-01", channel).reaches_out for channel in CHANNELS)
    for event, reaches in {"sent": True, "replied": True, "opened": False, "unsubscribed": False}.items():
        assert inbound("03-01", "email", details={"event": event}).reaches_out is reaches
    for action, reaches in {"mention": True, "comment": True, "ad_view": False, "follow": False}.items():
        assert inbound("03-01", "social", details={"network": "x", "action": action}).reaches_out is reaches


def test_a_message_asks_and_a_call_asks_where_it_met_nobody() -> None:
    assert asks(inbound("03-01", "email"))
    assert not asks(inbound("03-01", "email", resolution="resolved"))
    assert not asks(outbound("03-01", "email"))
    for outcome, missed in {"answered": False, "abandoned": True, "voicemail": True, "busy": True, None: False}.items():
        call = inbound("03-01", "phone", outcome=outcome)
        assert asks(call) is missed
        assert meets(call) is not missed
    assert not meets(inbound("03-01", "email"))


def test_an_answer_goes_out_to_the_customer_and_is_not_known_to_have_missed_them() -> None:
    assert answers(outbound("03-01", "email"))
    assert answers(outbound("03-01", "phone", outcome="voicemail"))
    for missed in (
        outbound("03-01", "phone", outcome="no_answer"),
        outbound("03-01", "email", details={"event": "bounced"}),
        outbound("03-01", "sms", outcome="bounced"),
        outbound("03-01", "survey"),
        outbound("03-01", "ad"),
        inbound("03-01", "email"),
    ):
        assert not answers(missed)


def test_a_matter_is_settled_where_it_is_resolved_or_completed_without_a_word() -> None:
    for resolution, status, settled in (
        ("resolved", None, True),
        ("resolved", "open", True),
        (None, "completed", True),
        ("not_applicable", "completed", True),
        ("unresolved", "completed", False),
        ("follow_up", "completed", False),
        (None, "in_progress", False),
        (None, None, False),
    ):
        assert settles(contact("03-01", resolution=resolution, status=status)) is settled


def test_a_complaint_is_said_by_its_kind_its_outcome_or_its_rating() -> None:
    assert complains(inbound("03-01", kind="complaint"))
    assert complains(inbound("03-01", kind="complaint_delivery"))
    assert complains(inbound("03-01", outcome="complained"))
    for value, bad in {1: True, 2: True, 3: False}.items():
        assert complains(contact("03-01", "review", details={"site": "s", "rating": {"value": value}})) is bad
    assert not complains(outbound("03-01", kind="complaint_answered"))
    assert not complains(outbound("03-01", outcome="complained", details={"event": "complained"}))
