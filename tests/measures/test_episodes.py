"""Episodes: where the journey is cut, and what the customer went through in each."""

from datetime import timedelta
from itertools import pairwise

from histories import inbound, moment, order, outbound
from hypothesis import given
from hypothesis import strategies as st

from percorso import ids
from percorso.measures import Contact, Episode, episodes

NOW = ids.unix_ms(moment("12-31"))


def lengths(*history: Contact, days: float = 30) -> list[int]:
    return [each.interactions for each in episodes(history, gap=timedelta(days=days), now_ms=NOW)]


def test_an_episode_ends_where_contact_pauses_for_longer_than_the_gap() -> None:
    history = [inbound("01-01"), inbound("01-31"), inbound("03-02T00:01"), inbound("03-03")]
    assert lengths(*history) == [2, 2]
    assert lengths(*history, days=31) == [4]
    assert lengths(*history, days=0.5) == [1, 1, 1, 1]
    first, last = episodes(history, now_ms=NOW)
    assert (first.began_at, first.ended_at, first.ended_by) == (moment("01-01"), moment("01-31"), "pause")
    assert (first.first_interaction_id, first.last_interaction_id) == (history[0].id, history[1].id)
    assert (last.began_at, last.by_channel, last.case) == (moment("03-02T00:01"), {"email": 2}, None)


def test_the_last_episode_is_open_until_the_gap_has_passed() -> None:
    [still] = episodes([inbound("01-01")], now_ms=ids.unix_ms(moment("01-31")))
    [over] = episodes([inbound("01-01")], now_ms=ids.unix_ms(moment("01-31T00:01")))
    assert (still.ended_by, over.ended_by) == ("open", "pause")


def test_an_episode_ends_with_the_last_contact_of_a_case_that_is_closed() -> None:
    history = [
        inbound("01-01", case="a"),
        outbound("01-02", case="a", resolution="resolved"),
        outbound("01-03", case="a"),
        outbound("01-04", "survey", case="a"),
        inbound("01-05", case="open"),
        inbound("01-06"),
    ]
    first, second = episodes(history, now_ms=NOW)
    assert (first.interactions, first.ended_by, first.case) == (3, "case_closed", "a")
    assert (second.interactions, second.ended_by, second.case) == (3, "pause", None)
    [whole] = episodes([*history, inbound("01-07", case="a")], now_ms=NOW)
    assert whole.interactions == 7


def test_switches_are_between_the_channels_on_which_the_customer_reaches_out() -> None:
    def switches(*history: Contact) -> int:
        [one] = episodes(history, now_ms=NOW)
        return one.channel_switches

    assert (
        switches(
            inbound("01-01", "email"),
            outbound("01-02", "phone"),
            inbound("01-03", "email"),
            inbound("01-04", "web"),
            inbound("01-05", "phone"),
            inbound("01-06", "email"),
        )
        == 2
    )
    first, second = episodes([inbound("01-01", "email"), inbound("06-01", "phone")], now_ms=NOW)
    assert (first.channel_switches, second.channel_switches) == (0, 0)


def test_hand_offs_are_transfers_and_changes_of_the_agent_within_a_case_or_conversation() -> None:
    def hand_offs(*history: Contact) -> int:
        [one] = episodes(history, now_ms=NOW)
        return one.hand_offs

    a, b = {"case": "c", "agent": "a"}, {"case": "c", "agent": "b"}
    assert hand_offs(inbound("01-01", **a), outbound("01-02", **a)) == 0
    assert hand_offs(inbound("01-01", **a), outbound("01-02", case="c"), outbound("01-03", **b)) == 1
    assert hand_offs(inbound("01-01", **a), outbound("01-02", **b), outbound("01-03", **a)) == 2
    assert hand_offs(inbound("01-01", outcome="transferred", **a), outbound("01-02", **b)) == 1
    assert hand_offs(inbound("01-01", outcome="transferred")) == 1
    assert hand_offs(inbound("01-01", case="c", agent="a"), outbound("01-02", case="d", agent="b")) == 0
    assert hand_offs(inbound("01-01", agent="a"), outbound("01-02", agent="b")) == 0
    assert hand_offs(inbound("01-01", conversation="v", agent="a"), outbound("01-02", conversation="v", agent="b")) == 1


def test_a_matter_counts_in_the_episode_in_which_it_began() -> None:
    history = [
        inbound("01-01", "phone", topics=["a"], resolution="resolved"),
        inbound("01-02", "phone", topics=["b"], resolution="unresolved"),
        inbound("06-01", "phone", topics=["c"], resolution="resolved"),
    ]
    first, second = (each.first_contact_resolution for each in episodes(history, now_ms=NOW))
    assert (first.resolved, first.of, first.share) == (1, 2, 0.5)
    assert (second.resolved, second.of, second.share) == (1, 1, 1)


CONTACTS = st.builds(
    lambda day, channel, case, resolution: inbound(
        f"2026-{1 + day // 28:02}-{1 + day % 28:02}T10:00:00Z", channel, case=case, resolution=resolution
    ),
    st.integers(0, 330),
    st.sampled_from(["phone", "email", "web"]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, "resolved", "unresolved"]),
)


@given(st.lists(CONTACTS, max_size=40), st.integers(1, 60))
def test_episodes_are_the_whole_journey_each_contact_in_one(made: list[Contact], days: int) -> None:
    history = sorted(made, key=lambda each: each.id)
    found = episodes(history, gap=timedelta(days=days), now_ms=NOW)
    assert sum(each.interactions for each in found) == len(history)
    rest = history
    for each in found:
        within, rest = rest[: each.interactions], rest[each.interactions :]
        assert (each.first_interaction_id, each.last_interaction_id) == (within[0].id, within[-1].id)
        assert (each.began_at, each.ended_at) == (ids.from_unix_ms(within[0].at), ids.from_unix_ms(within[-1].at))
        pauses = [later.at - earlier.at for earlier, later in pairwise(within)]
        assert all(pause <= timedelta(days=days) / timedelta(milliseconds=1) for pause in pauses)
        assert sum(each.by_channel.values()) == each.interactions


def test_no_contact_is_no_episode() -> None:
    none: list[Episode] = episodes([], now_ms=NOW)
    assert none == []
    assert lengths(order("01-01", "o")) == [1]
