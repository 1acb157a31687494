"""Watch rules: what they find in a history, compared with an evaluator that tries everything."""

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest
from asyncpg.pgproto.pgproto import UUID
from histories import NOBODY, moment
from hypothesis import given
from hypothesis import strategies as st

from percorso import ids
from percorso.measures import watching
from percorso.measures.watch_rules import Rule, Seen, fits, rule_of, seen, span_ms
from percorso.measures.watching import Found, find

HOUR = 3_600_000
START = ids.unix_ms(moment("03-01"))
_last = [0]


def one(at: str | int, channel: str = "phone", *, touchpoints: Sequence[str] = (), **said: Any) -> Seen:
    """An interaction at a moment, or so many hours after the first of March."""
    _last[0] += 1
    occurred = ids.unix_ms(moment(at)) if isinstance(at, str) else START + at * HOUR
    made = UUID(ids.interaction_id(occurred, bytes(16), _last[0].to_bytes(16, "little")))
    direction = said.pop("direction", "inbound")
    columns = (NOBODY, made, channel, said.get("kind"), said.get("function"), direction)
    return seen(*columns, json.dumps(said), *(touchpoints or (channel,)))


def rule(*when: dict[str, Any], **said: Any) -> Rule:
    """A rule of these steps."""
    return rule_of(json.dumps({"when": when} | said))


def hours(found: Found) -> list[list[int]]:
    """The interactions of each firing, as hours after the first of March."""
    return [[(each.at - START) // HOUR for each in firing.interactions] for firing in found.firings]


def at(hour: float) -> int:
    return START + round(hour * HOUR)


UNANSWERED = rule(
    {"match": {"complaint": True}},
    then_absent={"match": {"direction": ["outbound"]}, "within": "4h", "same": ["conversation"]},
)
THREE = rule({"match": {"reaches_out": True}, "count": 3, "within": "7d"}, same=["topic"])
ABANDONED = rule(
    {"match": {"channel": ["phone"], "outcome": ["abandoned"]}},
    then_absent={"match": {"channel": ["purchase"]}, "within": "2d"},
)


def complaint(hour: int, **said: Any) -> Seen:
    return one(hour, "email", kind="complaint", **said)


def test_a_complaint_fires_once_nothing_went_out_in_its_conversation_for_four_hours() -> None:
    asked, other = complaint(0, conversation="a"), one(1, "email", direction="outbound", conversation="b")
    waits = find(UNANSWERED, [asked, other], as_of=at(4))
    assert (waits.firings, waits.waiting, waits.due) == ([], 1, at(4) + 1)
    fired = find(UNANSWERED, [asked, other], as_of=at(4) + 1)
    assert hours(fired) == [[0]]
    assert [firing.at for firing in fired.firings] == [at(4)]
    assert (fired.waiting, fired.due) == (0, None)


@pytest.mark.parametrize(("hour", "fires"), [(0, False), (3, False), (4, False), (5, True)])
def test_an_answer_at_the_end_of_the_span_is_in_time(hour: int, fires: bool) -> None:  # noqa: FBT001
    history = [complaint(0, conversation="a"), one(hour, "email", direction="outbound", conversation="a")]
    assert hours(find(UNANSWERED, history, as_of=at(9))) == ([[0]] if fires else [])


def test_a_complaint_of_no_conversation_is_answered_by_whatever_goes_out() -> None:
    assert hours(find(UNANSWERED, [complaint(0), one(2, direction="outbound", conversation="b")], as_of=at(9))) == []


def test_grace_is_waited_for_and_moves_nothing() -> None:
    slow = rule(
        {"match": {"complaint": True}},
        then_absent={"match": {"direction": ["outbound"]}, "within": "4h", "grace": "1h"},
    )
    assert find(slow, [complaint(0)], as_of=at(5)).due == at(5) + 1
    assert find(slow, [complaint(0)], as_of=at(5) + 1).firings[0].at == at(4)
    late = one("03-01T04:30", "email", direction="outbound")
    assert hours(find(slow, [complaint(0), late], as_of=at(6))) == [[0]]


def test_three_contacts_on_one_topic_in_seven_days_fire_and_the_fourth_begins_anew() -> None:
    history = [one(day * 24, topics=[topic]) for day, topic in enumerate(("Billing", "billing", "x", "billing", "x"))]
    history += [one(24 * 5, topics=["billing", "x"]), one(24 * 6, topics=["x"])]
    assert hours(find(THREE, history, as_of=at(1000))) == [[0, 24, 72], [48, 96, 120]]
    apart = [one(hour, topics=["billing"]) for hour in (0, 100, 169)]
    assert hours(find(THREE, apart, as_of=at(1000))) == []
    assert hours(find(THREE, [*apart, one(200, topics=["billing"])], as_of=at(1000))) == [[100, 169, 200]]


def test_an_abandoned_call_without_a_purchase_in_two_days_fires() -> None:
    call = one(0, outcome="abandoned")
    assert hours(find(ABANDONED, [call, one(12)], as_of=at(49))) == [[0]]
    bought = one(47, "purchase", details={"order_id": "1"})
    assert hours(find(ABANDONED, [call, bought], as_of=at(49))) == []


def test_steps_follow_one_another_within_their_spans() -> None:
    chain = rule(
        {"match": {"kind": ["a"]}},
        {"match": {"kind": ["b"]}, "within": "48h"},
        {"match": {"kind": ["c"]}, "within": "24h"},
    )
    history = [one(hour, kind=kind) for hour, kind in ((0, "a"), (1, "b"), (40, "b"), (50, "c"))]
    assert hours(find(chain, history, as_of=at(99))) == [[0, 40, 50]]
    assert hours(find(chain, [*history[:2], history[3]], as_of=at(99))) == []
    assert hours(find(chain, [history[1], history[0], *history[3:]], as_of=at(99))) == []


def test_what_occurs_later_is_not_there_yet() -> None:
    later = rule({"match": {"kind": ["a"]}})
    found = find(later, [one(0, kind="a"), one(5, kind="a")], as_of=at(1))
    assert (hours(found), found.due) == ([[0]], at(5))


@pytest.mark.parametrize(
    ("match", "there"),
    [
        ({}, True),
        ({"channel": ["email", "phone"]}, True),
        ({"channel": ["email"]}, False),
        ({"touchpoint": ["old"]}, True),
        ({"touchpoint": ["new"]}, True),
        ({"touchpoint": ["phone"]}, False),
        ({"kind": ["complaint"], "direction": ["inbound"], "function": ["service"]}, True),
        ({"kind": ["complaint"], "direction": ["outbound"]}, False),
        ({"status": ["open"], "outcome": ["answered"], "resolution": ["unresolved"]}, True),
        ({"status": ["completed"]}, False),
        ({"topic": ["BILLING"]}, True),
        ({"topic": ["delivery"]}, False),
        ({"complaint": True, "reaches_out": True}, True),
        ({"complaint": False}, False),
        ({"reaches_out": False}, False),
        ({"sentiment": {"label": ["negative"]}}, True),
        ({"sentiment": {"label": ["positive"]}}, False),
        ({"sentiment": {"max": -0.4}}, True),
        ({"sentiment": {"max": -0.6}}, False),
        ({"sentiment": {"min": -0.4}}, False),
        ({"feedback": {"metric": ["nps"], "max": 6}}, True),
        ({"feedback": {"metric": ["csat"], "max": 6}}, False),
        ({"feedback": {"min": 7}}, False),
        ({"attributes": {"plan": "gold", "vip": True, "seats": 1}}, True),
        ({"attributes": {"seats": True}}, False),
        ({"attributes": {"vip": 1}}, False),
        ({"attributes": {"plan": "silver"}}, False),
        ({"attributes": {"other": ""}}, False),
    ],
)
def test_a_match_holds_where_all_that_it_says_holds(match: dict[str, Any], there: bool) -> None:  # noqa: FBT001
    this = one(
        0,
        touchpoints=("old", "new"),
        kind="complaint",
        function="service",
        status="open",
        outcome="answered",
        resolution="unresolved",
        topics=["Billing"],
        sentiment={"label": "negative"},
        feedback=[{"metric": "nps", "score": 3}],
        attributes={"plan": "gold", "vip": True, "seats": 1},
    )
    [step] = rule({"match": match}).when
    assert fits(step.match, this) is there


def test_what_says_nothing_of_a_feeling_or_an_answer_fits_none() -> None:
    matches: list[dict[str, Any]] = [
        {"sentiment": {}},
        {"sentiment": {"max": 1}},
        {"feedback": {}},
        {"feedback": {"min": 0}},
    ]
    for match in matches:
        [step] = rule({"match": match}).when
        assert not fits(step.match, one(0))


# The reference: everything is tried.


def _common(names: Sequence[str], chosen: Sequence[Seen]) -> bool:
    """Whether for each of these names all have a value in common."""
    for name in names:
        values = [
            set(each.contact.topics) if name == "topic" else {getattr(each.contact, name)} - {None} for each in chosen
        ]
        if not set.intersection(*values):
            return False
    return True


def _is_match(rule: Rule, chosen: Sequence[Seen]) -> bool:
    before: Seen | None = None
    start = 0
    for step in rule.when:
        part = chosen[start : start + step.count]
        start += step.count
        since = part[0] if before is None else before
        before = part[-1]
        if not all(fits(step.match, each) for each in part) or part[-1].at - since.at > span_ms(step.within):
            return False
    return _common(rule.same, chosen)


def plainly(
    rule: Rule, history: Sequence[Seen], as_of: int, used: Collection[UUID] = ()
) -> list[tuple[list[int], int]]:
    """The places of the interactions of each firing, and when it fired."""
    there = [i for i, each in enumerate(history) if each.at <= as_of]
    gone = {i for i in there if history[i].id in used}
    size = sum(step.count for step in rule.when)
    fired = []
    for last in there:
        free = [i for i in there if i < last and i not in gone]
        if last in gone:
            continue
        possible = [
            [*some, last]
            for some in combinations(free, size - 1)
            if _is_match(rule, [history[i] for i in (*some, last)])
        ]
        if not possible:
            continue
        best = max(possible, key=lambda places: places[::-1])
        gone.update(best)
        absent = rule.then_absent
        if absent is None:
            fired.append((best, history[last].at))
            continue
        end = history[last].at + span_ms(absent.within)
        answered = any(
            i > last
            and history[i].at <= end
            and fits(absent.match, history[i])
            and all(
                not getattr(history[last].contact, name)
                or getattr(history[last].contact, name) == getattr(history[i].contact, name)
                for name in absent.same
            )
            for i in there
        )
        if not answered and end + span_ms(absent.grace) < as_of:
            fired.append((best, end))
    return fired


MATCHES = st.sampled_from([{"kind": ["a"]}, {"kind": ["b"]}, {"kind": ["a", "b"]}, {}])
SPANS = st.sampled_from(["1h", "3h", "6h"])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Rules of up to three steps."""
    when = []
    for number in range(draw(st.integers(1, 3))):
        count = draw(st.sampled_from([1, 1, 1, 2, 3]))
        step = {"match": draw(MATCHES), "count": count}
        when.append(step | ({"within": draw(SPANS)} if number or count > 1 else {}))
    same = draw(st.sampled_from([[], [], ["conversation"], ["topic"], ["topic", "conversation"]]))
    absent = {
        "match": draw(MATCHES),
        "within": draw(SPANS),
        "same": draw(st.sampled_from([[], ["conversation"]])),
        "grace": draw(st.sampled_from([None, "1h"])),
    }
    return rule(*when, same=same, **({"then_absent": absent} if draw(st.booleans()) else {}))


@st.composite
def histories_(draw: st.DrawFn) -> list[Seen]:
    """Up to nine interactions within some hours, some at the same time."""
    made = [
        one(
            draw(st.integers(0, 9)),
            kind=draw(st.sampled_from("abc")),
            conversation=draw(st.sampled_from([None, "x", "y"])),
            topics=draw(st.sampled_from([[], ["t"], ["u"], ["t", "u"]])),
        )
        for _ in range(draw(st.integers(0, 9)))
    ]
    return sorted(made, key=lambda each: each.id)


def places(found: Found, history: Sequence[Seen]) -> list[tuple[list[int], int]]:
    where = {each.id: i for i, each in enumerate(history)}
    return [([where[each.id] for each in firing.interactions], firing.at) for firing in found.firings]


@given(rules(), histories_(), st.integers(0, 20), st.data())
def test_what_is_found_is_what_one_finds_who_tries_everything(
    rule: Rule, history: list[Seen], hour: int, data: st.DataObject
) -> None:
    used = set(data.draw(st.lists(st.sampled_from([each.id for each in history]), max_size=3))) if history else set()
    found = find(rule, history, as_of=at(hour), used=used)
    assert places(found, history) == plainly(rule, history, at(hour), used)


def _moments(history: Sequence[Seen]) -> Iterator[int]:
    for hour in range(21):
        yield at(hour)
        yield at(hour) + 1
    yield from (each.at for each in history)


@given(rules(), histories_())
def test_who_looks_again_and_again_finds_what_one_finds_who_looks_at_the_end(rule: Rule, history: list[Seen]) -> None:
    """With what has fired as its only memory, whenever it looks."""
    used: set[UUID] = set()
    fired: list[tuple[list[int], int]] = []
    for now in sorted(_moments(history)):
        found = find(rule, history, as_of=now, used=used)
        fired += places(found, history)
        used.update(each.id for firing in found.firings for each in firing.interactions)
    assert sorted(fired) == sorted(places(find(rule, history, as_of=at(30)), history))


@given(rules(), histories_())
def test_it_says_when_to_look_again(rule: Rule, history: list[Seen]) -> None:
    """Between a moment and the one that it names as due nothing fires."""
    now, fired = at(-1), 0
    while True:
        found = find(rule, history, as_of=now)
        if found.due is None:
            break
        assert len(find(rule, history, as_of=found.due - 1).firings) == len(found.firings)
        assert found.due > now
        now, fired = found.due, len(found.firings)
    assert len(find(rule, history, as_of=at(99)).firings) == len(found.firings) >= fired


@given(rules(), st.permutations(range(9)), histories_())
def test_whatever_comes_late_no_interaction_fires_twice_and_each_firing_is_a_match(
    rule: Rule, order: list[int], history: list[Seen]
) -> None:
    used: set[UUID] = set()
    there: list[Seen] = []
    for number in order:
        if number < len(history):
            there = sorted([*there, history[number]], key=lambda each: each.id)
        for firing in find(rule, there, as_of=at(30), used=used).firings:
            assert used.isdisjoint(each.id for each in firing.interactions)
            assert _is_match(rule, firing.interactions)
            used.update(each.id for each in firing.interactions)


def test_a_firing_has_one_id_whenever_it_is_found() -> None:
    watch = UUID(bytes(16))
    history = [complaint(0), complaint(9)]
    first, second = (watching.key(watch, 1, each) for each in find(UNANSWERED, history, as_of=at(99)).firings)
    [again] = find(UNANSWERED, history[:1], as_of=at(5)).firings
    assert watching.key(watch, 1, again) == first != second
    assert watching.key(watch, 2, again) != first


def test_a_long_history_is_looked_through_with_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand interactions that are all of one match or another: looked at again no more than a few times each."""
    looked = 0
    add = watching._Line.add  # noqa: SLF001

    def counted(line: watching._Line, i: int, taken: Sequence[int]) -> None:
        nonlocal looked
        looked += 1
        add(line, i, taken)

    monkeypatch.setattr(watching._Line, "add", counted)  # noqa: SLF001
    history = [one(0, kind="ab"[number % 2]) for number in range(2000)]
    history.sort(key=lambda each: each.id)
    often = rule({"match": {}, "count": 3, "within": "1h"}, {"match": {}, "within": "1h"}, same=["channel"])
    assert len(find(often, history, as_of=at(1)).firings) == 500
    assert looked < 3 * 2000
