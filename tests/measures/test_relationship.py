"""How the relationship stands: every rule, what it rests on, and what the rules come to."""

from collections.abc import Callable

import pytest
from histories import contact, inbound, moment, order, outbound

from percorso.measures import Contact, Summary, summarise
from percorso.measures.relationship import CRACKED, MOST_FOR, RULES, Relationship

NOW = moment("04-01")
History = list[Contact]


def of(history: History) -> Relationship:
    summary: Summary = summarise(sorted(history, key=lambda each: each.id), now=NOW, zone=None)
    return summary.relationship


def answer(at: str, metric: str, score: float) -> Contact:
    return contact(at, "survey", feedback=[{"metric": metric, "score": score}])


def felt(*scores: float, month: str = "03") -> History:
    return [contact(f"{month}-{day:02}", "chat", sentiment={"score": score}) for day, score in enumerate(scores, 1)]


COMPLAINT = inbound("03-31", kind="complaint", resolution="escalated")
CASES: dict[str, tuple[History, Callable[[History], History]]] = {
    "open_complaint": ([COMPLAINT], lambda given: given),
    "detractor": ([answer("02-01", "nps", 10), answer("03-01", "nps", 6)], lambda given: given[1:]),
    "promoter": ([answer("02-01", "nps", 0), answer("03-01", "nps", 9)], lambda given: given[1:]),
    "dissatisfied": ([answer("02-01", "csat", 5), answer("03-01", "csat", 3)], lambda given: given[1:]),
    "satisfied": ([answer("03-01", "csat", 4)], lambda given: given),
    "hard": ([answer("03-01", "ces", 4)], lambda given: given),
    "unanswered": (
        [inbound("03-30", case="a"), inbound("03-30T00:01", case="b")],
        lambda given: given[:1],
    ),
    "felt_bad": (felt(-0.5, 0.1, -0.6), lambda given: [given[2], given[0]]),
    "felt_good": (felt(0.5, -0.1, 0.6), lambda given: [given[2], given[0]]),
    "falling": (felt(0.4, 0.3, 0.2, 0.1, 0.0, month="2025-10"), lambda given: given[::-1]),
    "rising": (felt(0.0, 0.1, 0.2, 0.3, 0.4, month="2025-10"), lambda given: given[::-1]),
    "overdue": (
        [order(f"01-{day}", str(day)) for day in (10, 15, 20, 25)],
        lambda given: given[:0:-1],
    ),
    "buys": ([order(f"03-{day}", str(day)) for day in (15, 20, 25, 30)], lambda given: given[:0:-1]),
    "came_back": (
        [inbound(f"03-{day}", "phone", topics=["a"]) for day in (10, 11, 12)],
        lambda given: given[:0:-1],
    ),
    "opted_out": (
        [contact("03-01", outcome="subscribed"), contact("03-02", outcome="unsubscribed")],
        lambda given: given[1:],
    ),
    "settled_complaint": (
        [inbound("03-01", kind="complaint", case="a"), outbound("03-02", case="a", resolution="resolved")],
        lambda given: given[1:],
    ),
    "settled_at_once": ([inbound("03-01", "phone", resolution="resolved")], lambda given: given),
}


def test_there_is_a_case_of_every_rule() -> None:
    assert CASES.keys() == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.weight and rule.says.endswith(".") for rule in RULES)


@pytest.mark.parametrize("name", CASES)
def test_a_rule_applies_alone_and_names_its_interactions_newest_first(name: str) -> None:
    history, rests_on = CASES[name]
    found = of(history)
    [rule] = [rule for rule in RULES if rule.name == name]
    assert [(each.rule, each.weight, each.says) for each in found.reasons] == [(rule.name, rule.weight, rule.says)]
    assert found.reasons[0].interaction_ids == [each.id for each in rests_on(history)]
    assert found.score == rule.weight


def test_of_many_who_wait_the_latest_are_not_lost_among_those_long_ago() -> None:
    long_ago = [inbound("2020-01-01", case=str(number)) for number in range(103)]
    lately = inbound("03-20", case="lately")
    [reason] = of([*long_ago, lately]).reasons
    assert (reason.rule, reason.interaction_ids) == ("unanswered", [lately.id])


LONG_AGO: dict[str, History] = {
    "a complaint settled": [
        inbound("2025-01-01T00:00:00Z", kind="complaint", case="a"),
        outbound("2025-01-02T00:00:00Z", case="a", resolution="resolved"),
    ],
    "an answer": [answer("2025-01-01T00:00:00Z", "nps", 0), answer("2025-01-01T00:00:00Z", "ces", 1)],
    "a question": [inbound("2025-01-01T00:00:00Z", case="a")],
    "a feeling": [contact("2025-01-01T00:00:00Z", sentiment={"score": -1})],
    "a trend": [contact(f"2025-01-0{day}T00:00:00Z", sentiment={"score": -day / 10}) for day in range(1, 7)],
    "repeats": [inbound(f"2025-01-0{day}T00:00:00Z", "phone", topics=["a"]) for day in (1, 2, 3)],
    "an opt-out": [contact("2025-01-01T00:00:00Z", outcome="unsubscribed")],
    "a matter settled at once": [inbound("2025-01-01T00:00:00Z", "phone", resolution="resolved")],
}


@pytest.mark.parametrize("what", LONG_AGO)
def test_what_was_long_ago_says_nothing_of_the_present(what: str) -> None:
    assert of(LONG_AGO[what]) == Relationship("solid", 0, [])


def test_who_came_back_once_or_subscribed_again_has_not_turned_away() -> None:
    assert of([inbound(f"03-{day}", "phone", topics=["a"]) for day in (10, 11)]).reasons == []
    assert of([contact("03-01", outcome="unsubscribed"), contact("03-02", outcome="subscribed")]).reasons == []


def test_a_customer_of_whom_nothing_is_known_is_solid() -> None:
    assert of([]) == Relationship("solid", 0, [])
    assert of([contact("03-01", "web")]) == Relationship("solid", 0, [])


def test_the_score_is_the_sum_of_the_weights_and_says_the_state() -> None:
    detractor, good = answer("03-01", "nps", 0), felt(0.5)
    found = of([detractor, *good])
    assert (found.score, found.state, [each.weight for each in found.reasons]) == (-5, "watch", [-20, 15])
    cracked = of([COMPLAINT, answer("03-01", "ces", 1)])
    assert (cracked.score, cracked.state) == (-45, "cracked")
    edge = of([detractor, inbound("03-01", case="a")])
    assert (edge.score, edge.state) == (CRACKED, "cracked")


def test_whatever_speaks_for_it_a_relationship_with_an_open_complaint_is_not_solid() -> None:
    everything = [each for name in ("promoter", "buys", "satisfied", "settled_at_once") for each in CASES[name][0]]
    praised = of([*everything, *felt(0.5)])
    assert (praised.score, praised.state) == (MOST_FOR, "solid")
    assert of([*everything, *felt(0.5), COMPLAINT]).state == "watch"


def test_the_score_is_never_below_what_it_can_be() -> None:
    bad = ("open_complaint", "detractor", "unanswered", "felt_bad", "dissatisfied", "overdue", "came_back", "hard")
    found = of([each for name in bad for each in CASES[name][0]])
    assert {each.rule for each in found.reasons} >= set(bad)
    assert (found.score, found.state) == (-100, "cracked")


def test_a_reason_names_at_most_a_hundred_interactions_the_latest() -> None:
    complaints = [inbound("03-31", kind="complaint", case="a", resolution="escalated") for _ in range(103)]
    [reason] = [each for each in of(complaints).reasons if each.rule == "open_complaint"]
    assert len(reason.interaction_ids) == 100
