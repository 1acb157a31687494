"""What came of each contact: over all of a customer's, the sums are the figures of the summary."""

from datetime import timedelta
from statistics import median

from histories import NOBODY, contact, in_order, inbound, moment, outbound
from hypothesis import given
from hypothesis import strategies as st

from percorso.interaction import OUTCOMES, RESOLUTIONS, STATUSES
from percorso.measures import Contact, Outcome, find, outcomes, sum_up, summarise

NOW = moment("12-31")
HOUR = 3600
NOTHING = Outcome(
    NOBODY,
    NOBODY,
    response_seconds=None,
    waiting=False,
    resolved_first=None,
    repeat=False,
    hand_offs=0,
    switched=False,
)

CONTACTS = st.builds(
    lambda hours, channel, **said: contact((moment("03-01") + timedelta(hours=hours)).isoformat(), channel, **said),
    st.integers(0, 100 * 24),
    st.sampled_from(["phone", "email", "chat", "social", "web", "survey"]),
    direction=st.sampled_from(["inbound", "inbound", "outbound", "internal"]),
    case=st.sampled_from([None, "a", "b"]),
    conversation=st.sampled_from([None, "a", "c"]),
    agent=st.sampled_from([None, "x", "y"]),
    status=st.sampled_from([None, *STATUSES]),
    outcome=st.sampled_from([None, "transferred", *OUTCOMES]),
    resolution=st.sampled_from([None, *RESOLUTIONS]),
    topics=st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=2),
)


def of(*history: Contact) -> list[Outcome]:
    return outcomes(find(in_order(*history)))


@given(st.lists(CONTACTS, max_size=40))
def test_the_sums_of_outcomes_are_the_figures_of_the_summary(made: list[Contact]) -> None:
    found = find(in_order(*made))
    told, summary = outcomes(found), sum_up(found, now=NOW, zone=None)
    seconds = [each.response_seconds for each in told if each.response_seconds is not None]
    assert len(seconds) == summary.responses.overall.answered
    assert (round(median(seconds), 3) if seconds else None) == summary.responses.overall.median_seconds
    channel_of = {each.id: each.channel for each in made}
    for channel, times in summary.responses.by_channel.items():
        answered = [each for each in told if each.response_seconds is not None]
        assert sum(channel_of[each.interaction_id] == channel for each in answered) == times.answered
    assert {each.interaction_id for each in told if each.waiting} == {
        each.interaction_id for each in summary.responses.unanswered
    }
    assert sum(each.waiting for each in told) == summary.responses.waiting
    first = [each.resolved_first for each in told if each.resolved_first is not None]
    resolution = summary.effort.first_contact_resolution
    assert (sum(first), len(first)) == (resolution.resolved, resolution.of)
    assert [each.interaction_id for each in told if each.repeat] == [
        each.interaction_id for each in summary.repeats.latest
    ]
    assert sum(each.repeat for each in told) == summary.repeats.count
    assert sum(each.hand_offs for each in told) == summary.effort.hand_offs
    assert sum(each.switched for each in told) == summary.effort.channel_switches


@given(st.lists(CONTACTS, max_size=20))
def test_each_contact_has_one_outcome_in_order_and_only_where_there_is_anything_to_say(made: list[Contact]) -> None:
    told = of(*made)
    ids = [each.interaction_id for each in told]
    assert ids == sorted(set(ids))
    assert all(each[2:] != NOTHING[2:] for each in told)
    assert {each.id for each in made}.issuperset(ids)
    assert {each.identity_id for each in told} <= {NOBODY}


def test_the_answer_is_told_of_the_contact_that_began_the_wait() -> None:
    asked, again = inbound("03-01T10:00", conversation="a"), inbound("03-01T11:00", conversation="a")
    answer = outbound("03-01T13:00", conversation="a")
    assert of(asked, again, answer) == [NOTHING._replace(interaction_id=asked.id, response_seconds=3 * HOUR)]
    assert of(asked, again) == [NOTHING._replace(interaction_id=asked.id, waiting=True)]


def test_a_repeat_a_switch_and_a_hand_off_are_told_of_the_contact_that_brings_them() -> None:
    first = inbound("03-01", "phone", case="a", agent="x", resolution="resolved")
    second = inbound("03-02", "chat", case="a", agent="y", outcome="transferred")
    elsewhere = inbound("05-01", "phone", topics=["b"], resolution="resolved")
    assert of(first, second, elsewhere) == [
        NOTHING._replace(interaction_id=first.id, resolved_first=False),
        NOTHING._replace(interaction_id=second.id, repeat=True, hand_offs=2, switched=True),
        NOTHING._replace(interaction_id=elsewhere.id, resolved_first=True),
    ]


def test_a_hand_off_is_told_of_whichever_contact_the_other_agent_had() -> None:
    reply = outbound("03-02", case="a", agent="y")
    assert of(contact("03-01", "phone", case="a", agent="x"), reply) == [
        NOTHING._replace(interaction_id=reply.id, hand_offs=1)
    ]


def test_pages_seen_and_purchases_have_no_outcome() -> None:
    assert of(contact("03-01", "web"), contact("03-02", "purchase", details={"order_id": "1"})) == []
    assert of() == []


def test_a_summary_of_what_was_looked_through_already_is_the_summary() -> None:
    history = in_order(inbound("03-01", case="a"), outbound("03-02", case="a"), inbound("03-09", case="a"))
    assert sum_up(find(history), now=NOW, zone=None) == summarise(history, now=NOW, zone=None)
