"""The summary as a whole."""

from collections import Counter
from datetime import UTC

from histories import contact, inbound, moment, outbound
from hypothesis import given
from hypothesis import strategies as st

from percorso.interaction import CHANNELS, FUNCTIONS, OUTCOMES, RESOLUTIONS, STATUSES
from percorso.measures import Contact, summarise

NOW = moment("12-31")

CONTACTS = st.builds(
    lambda day, channel, **said: contact(f"2026-{1 + day // 28:02}-{1 + day % 28:02}T10:00:00Z", channel, **said),
    st.integers(0, 330),
    st.sampled_from(CHANNELS),
    direction=st.sampled_from(["inbound", "outbound", "none"]),
    function=st.sampled_from([None, *FUNCTIONS]),
    case=st.sampled_from([None, "a", "b"]),
    conversation=st.sampled_from([None, "a", "c"]),
    agent=st.sampled_from([None, "x", "y"]),
    kind=st.sampled_from([None, "complaint", "question"]),
    status=st.sampled_from([None, *STATUSES]),
    outcome=st.sampled_from([None, *OUTCOMES]),
    resolution=st.sampled_from([None, *RESOLUTIONS]),
    sentiment=st.none() | st.fixed_dictionaries({"score": st.floats(-1, 1)}),
    topics=st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=2),
    feedback=st.none()
    | st.lists(
        st.fixed_dictionaries({"metric": st.sampled_from(["nps", "csat", "ces"]), "score": st.integers(1, 5)}),
        max_size=2,
    ),
)


@given(st.lists(CONTACTS, max_size=40))
def test_any_history_adds_up(made: list[Contact]) -> None:
    history = sorted(made, key=lambda each: each.id)
    found = summarise(history, now=NOW, zone=None)
    assert found.interactions == len(history)
    assert found.counts.by_channel == Counter(each.channel for each in history)
    assert found.counts.by_direction == Counter(each.direction for each in history)
    assert found.counts.by_function == Counter(each.function for each in history if each.function)
    asked = {each.id for each in history if each.reaches_out}
    assert {each.interaction_id for each in found.responses.unanswered} <= asked
    assert found.responses.overall.answered == sum(each.answered for each in found.responses.by_channel.values())
    assert found.sentiment.interactions == sum(each.interactions for each in found.sentiment.over_time)
    assert sum(found.preferred.by_hour) == found.counts.by_direction.get("inbound", 0)
    cases = {each.case for each in history if each.case and each.channel != "survey"}
    assert found.cases.open + found.cases.closed == len(cases)
    assert -100 <= found.relationship.score <= 100
    known = {each.id for each in history}
    assert all(known.issuperset(reason.interaction_ids) for reason in found.relationship.reasons)
    assert all(reason.interaction_ids for reason in found.relationship.reasons)


def test_a_customer_without_contact_has_a_summary_too() -> None:
    found = summarise([], now=NOW, zone=None)
    assert (found.interactions, found.first_contact_at, found.last_contact_at) == (0, None, None)
    assert (found.as_of, found.effort.episodes, found.preferred.time_zone) == (NOW, 0, "UTC")


def test_the_first_and_the_last_contact_are_told_and_the_effort_is_that_of_all_episodes() -> None:
    history = [
        inbound("01-01", "email", case="a", agent="x"),
        outbound("01-02", "phone", case="a", agent="y"),
        inbound("01-03", "phone", case="b"),
        inbound("06-01", "chat"),
        inbound("06-02", "phone"),
    ]
    found = summarise(history, now=NOW, zone=UTC)
    assert (found.first_contact_at, found.last_contact_at) == (moment("01-01"), moment("06-02"))
    assert (found.effort.episodes, found.effort.channel_switches, found.effort.hand_offs) == (2, 2, 1)
