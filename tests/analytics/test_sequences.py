"""Transitions, paths, funnels and attribution: the same as plain Python finds by going through every journey."""

from collections import Counter, defaultdict
from itertools import pairwise, product
from statistics import median_low

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sequenced import DAY_MS, ROWS, At, halves, plain, steps

from percorso.analytics import attribution, journeys, tallies
from percorso.analytics import steps as of
from percorso.analytics.attribution import MOST_NODES, Attribution, Model, removal_effects
from percorso.analytics.funnel import Funnel
from percorso.analytics.histograms import RELATIVE_ERROR
from percorso.analytics.journeys import By, Node, Nodes
from percorso.analytics.paths import Paths, Wanted
from percorso.analytics.steps import Steps
from percorso.analytics.tallies import Tally
from percorso.analytics.transitions import OUTSIDE, Transitions

Rows = list[tuple[int, int, int, int, int]]
BYS = st.sampled_from(["touchpoint", "kind", "channel"])
DAYS = st.integers(0, 20)
GROUPS = st.sampled_from([{}, {3: 1}, {4: 2, 3: 2}])


def node(at: At, by: By, groups: dict[int, int]) -> int:
    found: int = getattr(at, by)
    return groups.get(found, found) if by == "touchpoint" else found


@given(ROWS)
def test_journeys_hold_each_customers_steps_in_their_order(rows: Rows) -> None:
    some = steps(rows)
    found = journeys.of(some)
    expected = {tuple((at.ms, at.touchpoint, at.kind) for at in journey) for journey in plain(some)}
    whole = defaultdict(list)
    for customer, step in zip(found.customer.tolist(), found.steps, strict=True):
        whole[customer].append((int(step["at"]), int(step["touchpoint"]), int(step["kind"])))
    assert {tuple(journey) for journey in whole.values()} == expected
    assert found.customers == len(plain(some)) == len(whole)


def test_customers_whose_hashes_are_nearly_the_same_stay_apart() -> None:
    some = np.zeros(40, of.STEP)
    some["customer"] = [2**63 + place % 3 for place in range(40)]
    some["at"] = np.arange(40)
    found = journeys.of(some)
    assert found.customers == 3
    for customer in range(3):
        assert found.at[found.customer == customer].tolist() == list(range(customer, 40, 3))


@given(ROWS, BYS, DAYS, GROUPS)
def test_transitions_are_those_of_every_journey(rows: Rows, by: By, days: int, groups: dict[int, int]) -> None:
    some = steps(rows)
    counts: Counter[tuple[int, int]] = Counter()
    customers = defaultdict(set)
    gaps = defaultdict(list)
    for who, journey in enumerate(plain(some)):
        edges: list[tuple[At | int, At | int, float | None]] = [(OUTSIDE, journey[0], None)]
        for one, other in pairwise(journey):
            if other.ms - one.ms <= days * DAY_MS:
                edges.append((one, other, (other.ms - one.ms) / 1000))
            else:
                edges += [(one, OUTSIDE, None), (OUTSIDE, other, None)]
        edges.append((journey[-1], OUTSIDE, None))
        for source, target, gap in edges:
            start, end = (each if isinstance(each, int) else node(each, by, groups) for each in (source, target))
            key = (start, end)
            counts[key] += 1
            customers[key].add(who)
            if gap is not None:
                gaps[key].append(max(gap, 1.0))
    seen = Nodes(by, most=100, groups=groups)
    counter = Transitions(seen, within_ms=days * DAY_MS)
    for half in halves(some):
        counter.add(half)
    found = counter.edges(1000)
    names = dict(enumerate(seen.ids)) | {OUTSIDE: OUTSIDE}
    keys = [
        (names[source], names[target])
        for source, target in zip(found.source.tolist(), found.target.tolist(), strict=True)
    ]
    assert dict(zip(keys, found.counts.tolist(), strict=True)) == counts
    assert dict(zip(keys, found.customers.tolist(), strict=True)) == {key: len(who) for key, who in customers.items()}
    assert (found.total, found.edges, found.missed) == (counts.total(), len(counts), 0)
    assert found.counts.tolist() == sorted(found.counts.tolist(), reverse=True)
    for key, seconds in zip(keys, found.median_seconds.tolist(), strict=True):
        if OUTSIDE in key:
            assert np.isnan(seconds)
        else:
            assert seconds == pytest.approx(median_low(gaps[key]), rel=RELATIVE_ERROR + 1e-9)
    few = counter.edges(2)
    assert few.counts.tolist() == found.counts.tolist()[:2]


def test_the_commonest_of_very_many_edges_have_all_their_gaps() -> None:
    rng = np.random.default_rng(5)
    rows = [(customer, day, int(rng.integers(3, 5000)), 0, 1) for customer in range(1, 1001) for day in range(20)]
    often = [(customer, 30 + 2 * place, 1 + place, 0, 1) for customer in range(1, 1001) for place in range(2)]
    seen = Nodes("touchpoint", most=10_000)
    counter = Transitions(seen, within_ms=5 * DAY_MS)
    for half in halves(steps(rows + often)):
        counter.add(half)
    found = counter.edges(1000)
    assert found.edges > 2 * 8192
    inner = found.source != OUTSIDE
    inner &= found.target != OUTSIDE
    first = np.flatnonzero(inner)[0]
    assert (seen.ids[found.source[first]], seen.ids[found.target[first]]) == (1, 2)
    assert found.counts[first] == 1000
    assert found.median_seconds[first] == pytest.approx(2 * DAY_MS / 1000, rel=RELATIVE_ERROR + 1e-9)
    assert found.counts.sum() < found.total == 22_000 + 2 * 1000


@given(
    ROWS,
    BYS,
    DAYS,
    st.integers(2, 7),
    st.tuples(*[st.one_of(st.none(), st.integers(1, 3))] * 3),
    GROUPS,
)
def test_paths_are_all_runs_of_that_length(
    rows: Rows, by: By, days: int, length: int, asked: tuple[int | None, ...], groups: dict[int, int]
) -> None:
    some = steps(rows)
    counts: Counter[tuple[int, ...]] = Counter()
    customers = defaultdict(set)
    starts, ends, through = asked if by != "touchpoint" else (groups.get(each or 0, each) for each in asked)
    for who, journey in enumerate(plain(some)):
        for first in range(len(journey) - length + 1):
            run = journey[first : first + length]
            path = tuple(node(at, by, groups) for at in run)
            if (
                all(other.ms - one.ms <= days * DAY_MS for one, other in pairwise(run))
                and starts in {None, path[0]}
                and ends in {None, path[-1]}
                and through in {None, *path}
            ):
                counts[path] += 1
                customers[path].add(who)
    seen = Nodes(by, most=100, groups=groups)
    wanted = Wanted(length, *(None if each is None else seen.number(each) for each in (starts, ends, through)))
    counter = Paths(seen, wanted, within_ms=days * DAY_MS)
    for half in halves(some):
        counter.add(half)
    found = counter.found(1000)
    paths = [tuple(seen.ids[number] for number in path) for path in found.nodes.tolist()]
    assert dict(zip(paths, found.counts.tolist(), strict=True)) == counts
    assert dict(zip(paths, found.customers.tolist(), strict=True)) == {key: len(who) for key, who in customers.items()}
    assert (found.total, found.paths, found.missed) == (counts.total(), len(counts), 0)


def test_of_more_nodes_than_can_be_told_apart_the_commonest_are() -> None:
    some = steps([(1, day, touchpoint, 0, 1) for day, touchpoint in enumerate([1, 2, 2, 3, 3, 3, 4, 4, 4, 4])])
    seen = Nodes("touchpoint", most=2)
    assert [seen.ids[number] for number in seen.numbers(some)] == [-1, -1, -1, 3, 3, 3, 4, 4, 4, 4]


def test_nodes_with_high_ids_are_numbered_as_others_are() -> None:
    some = steps([(1, 0, 2**31 - 1, 0, 1), (1, 1, 5, 0, 1), (1, 2, 2**31 - 1, 0, 1)])
    seen = Nodes("touchpoint", most=9)
    assert [seen.ids[number] for number in seen.numbers(some)] == [2**31 - 1, 5, 2**31 - 1]


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=40), max_size=6), st.integers(3, 12)
)
def test_counts_of_what_is_kept_are_too_low_by_no_more_than_is_said(
    lots: list[list[tuple[int, int]]], most: int
) -> None:
    tally = tallies.NOTHING
    exact: Counter[int] = Counter()
    for lot in lots:
        ordered = sorted(lot, key=lambda each: each[1])
        keys, who = [key for key, _ in ordered], [customer for _, customer in ordered]
        exact.update(keys)
        tally = tally.plus(Tally.of(np.array(keys, np.uint64), np.array(who, np.int64), bits=64), most=most)
    kept = dict(zip(tally.keys.tolist(), tally.counts.tolist(), strict=True))
    assert len(kept) <= most
    for key, count in exact.items():
        assert 0 <= count - kept.get(key, 0) <= tally.missed
    if len(exact) <= most:
        assert tally.missed == 0
    places = tally.top(2)
    assert tally.counts[places].tolist() == sorted(kept.values(), reverse=True)[:2]


def in_order(journey: list[At], nodes: list[Node], within_ms: int) -> list[int]:
    best: list[int] = []
    for start, first in enumerate(journey):
        if first.touchpoint != nodes[0].id:
            continue
        passed, place = [first.ms], start
        for each in nodes[1:]:
            following = [
                later
                for later in range(place + 1, len(journey))
                if getattr(journey[later], each.by) == each.id and journey[later].ms - first.ms <= within_ms
            ]
            if not following:
                break
            place = following[0]
            passed.append(journey[place].ms)
        if len(passed) > len(best):
            best = passed
    return best


def in_any(journey: list[At], nodes: list[Node], within_ms: int) -> list[int]:
    best: list[int] = []
    for start, first in enumerate(journey):
        if not any(getattr(first, each.by) == each.id for each in nodes):
            continue
        passed: list[int] = []
        for each in nodes:
            there = [
                at.ms for at in journey[start:] if getattr(at, each.by) == each.id and at.ms - first.ms <= within_ms
            ]
            if not there:
                break
            passed.append(max([there[0], *passed]))
        if len(passed) > len(best):
            best = passed
    return best


@given(ROWS, DAYS, st.booleans(), st.lists(st.tuples(BYS, st.integers(1, 3)), min_size=1, max_size=4))
def test_a_funnel_takes_each_customer_as_far_as_they_got(
    rows: Rows,
    days: int,
    ordered: bool,  # noqa: FBT001 - as hypothesis draws it
    more: list[tuple[By, int]],
) -> None:
    some = steps(rows)
    nodes = [Node("touchpoint", 1), *(Node(*each) for each in more)]
    counter = Funnel(nodes, {}, within_ms=days * DAY_MS, ordered=ordered)
    for half in halves(some):
        counter.add(half)
    found = counter.passed()
    way = in_order if ordered else in_any
    reached = [way(journey, nodes, days * DAY_MS) for journey in plain(some)]
    for step in range(len(nodes)):
        there = [passed for passed in reached if len(passed) > step]
        assert found.customers[step] == len(there)
        times = [max((passed[step] - passed[step - 1]) / 1000, 1.0) for passed in there] if step else []
        if times:
            assert found.median_seconds[step] == pytest.approx(median_low(times), rel=RELATIVE_ERROR + 1e-9)
        else:
            assert np.isnan(found.median_seconds[step])


def test_a_step_is_at_a_touchpoint_and_at_those_that_count_as_it() -> None:
    some = steps([(1, day, touchpoint, 0, 1) for day, touchpoint in enumerate([1, 2, 3, 4])])
    groups = {3: 1, 4: 2}
    assert Node("touchpoint", 1).matches(some, groups).tolist() == [True, False, True, False]
    assert Node("touchpoint", 3).matches(some, groups).tolist() == [True, False, True, False]
    assert Node("touchpoint", 2).matches(some, {}).tolist() == [False, True, False, False]


SINCE = 10
HALF_LIFE = 7


def paths_of(some: Steps, days: int) -> tuple[list[tuple[At, list[At]]], list[list[At]]]:
    """Conversions (kind 3), each with its path, and paths that are lost; by plain Python."""
    converted, lost = [], []
    for journey in plain(some):
        pieces: list[list[At]] = [[]]
        for at in journey:
            if at.kind != 3:
                pieces[-1].append(at)
                continue
            path = [each for each in pieces[-1] if at.ms - each.ms <= days * DAY_MS]
            if at.ms >= SINCE * DAY_MS:
                converted.append((at, path))
                pieces[-1] = [each for each in pieces[-1] if each not in path]
            else:
                pieces[-1] = []
            pieces.append([])
        for piece in pieces:
            inside = [at for at in piece if at.ms >= SINCE * DAY_MS]
            runs: list[list[At]] = []
            for at in inside:
                if runs and at.ms - runs[-1][-1].ms <= days * DAY_MS:
                    runs[-1].append(at)
                else:
                    runs.append([at])
            lost += runs
    return converted, lost


def shares(model: Model, at: At, path: list[At]) -> list[float]:
    n = len(path)
    if model == "first":
        return [1.0] + [0.0] * (n - 1)
    if model == "last":
        return [0.0] * (n - 1) + [1.0]
    if model == "linear":
        return [1 / n] * n
    if model == "position":
        return [1 / n] * n if n <= 2 else [0.4, *[0.2 / (n - 2)] * (n - 2), 0.4]
    weights = [2 ** (-(at.ms - each.ms) / (HALF_LIFE * DAY_MS)) for each in path]
    return [weight / sum(weights) for weight in weights]


@given(ROWS, DAYS, st.sampled_from(["first", "last", "linear", "position", "time_decay"]))
def test_each_conversion_is_shared_out_among_its_path(rows: Rows, days: int, model: Model) -> None:
    some = steps(rows)
    owed: defaultdict[int, float] = defaultdict(float)
    met: Counter[int] = Counter()
    having: Counter[int] = Counter()
    converted, _ = paths_of(some, days)
    for at, path in converted:
        for step, share in zip(path, shares(model, at, path) if path else [], strict=True):
            owed[step.touchpoint] += share
            met[step.touchpoint] += 1
        having.update({step.touchpoint for step in path})
    seen, found = attributed(some, days, model)
    for number, touchpoint in enumerate(seen.ids):
        assert found.credits[number] == pytest.approx(owed[touchpoint])
        assert found.steps[number] == met[touchpoint]
        assert found.conversions_with[number] == having[touchpoint]
    assert found.conversions == len(converted)
    assert found.without == sum(not path for _, path in converted)
    assert found.credits.sum() + found.without == pytest.approx(found.conversions)


def attributed(some: Steps, days: int, model: Model) -> tuple[Nodes, attribution.Credits]:
    seen = Nodes("touchpoint", most=MOST_NODES)
    counter = Attribution(
        seen, model, since_ms=SINCE * DAY_MS, lookback_ms=days * DAY_MS, half_life_ms=HALF_LIFE * DAY_MS
    )
    for half in halves(some):
        counter.add(half, half.steps["kind"] == 3)
    return seen, counter.credits()


def converting(chains: list[tuple[list[int], bool]], without: int | None) -> float:
    """The probability to convert in the chain of these paths, by going along it for long; a removed node is lost."""
    moves: defaultdict[object, Counter[object]] = defaultdict(Counter)
    for path, converts in chains:
        for source, target in pairwise(["start", *path, converts]):
            moves[source][target] += 1
    states: dict[object, float] = {"start": 1.0}
    reached = 0.0
    for _ in range(3000):
        following: defaultdict[object, float] = defaultdict(float)
        for state, probability in states.items():
            for target, count in moves[state].items():
                following[target] += probability * count / moves[state].total()
        reached += following.pop(True, 0.0)
        following.pop(False, None)
        if without is not None:
            following.pop(without, None)
        states = {state: probability for state, probability in following.items() if probability > 1e-15}
    return reached


@given(ROWS, DAYS)
def test_a_markov_chain_shares_conversions_out_by_what_is_lost_without_each(rows: Rows, days: int) -> None:
    some = steps(rows)
    converted, lost = paths_of(some, days)
    chains = [([10 + at.touchpoint for at in path], True) for _, path in converted if path]
    chains += [([10 + at.touchpoint for at in path], False) for path in lost]
    whole = converting(chains, None)
    seen, found = attributed(some, days, "markov")
    effects = {touchpoint: 1 - converting(chains, 10 + touchpoint) / whole if whole else 0.0 for touchpoint in seen.ids}
    total = sum(effects.values())
    for number, touchpoint in enumerate(seen.ids):
        expected = effects[touchpoint] / total * (found.conversions - found.without) if total else 0.0
        assert found.credits[number] == pytest.approx(expected, abs=1e-6)
    assert found.credits.sum() + found.without == pytest.approx(found.conversions)


def test_removal_effects_are_those_found_by_hand() -> None:
    # All convert with 1/3: half of them by way of C1, and all by C2 and C3.
    names = {"C1": 0, "C2": 1, "C3": 2, "start": 3, "converted": 4, "lost": 5}
    moves = np.zeros((6, 6), np.int64)
    for path in (["C1", "C2", "C3", "converted"], ["C1", "lost"], ["C2", "C3", "lost"]):
        for source, target in pairwise(["start", *path]):
            moves[names[source], names[target]] += 1
    assert removal_effects(moves).tolist() == pytest.approx([0.5, 1.0, 1.0])


@pytest.mark.parametrize(("parts", "chunks"), list(product([1, 3], [1, 4])))
def test_parts_of_a_bucket_together_are_all_of_it_each_customer_in_one(parts: int, chunks: int) -> None:
    rng = np.random.default_rng(parts)
    some = steps([tuple(rng.integers(1, 30, 5).tolist()) for _ in range(500)])
    stored = [chunk.tobytes() for chunk in np.array_split(some, chunks)]
    found = [of.part(stored, number, parts) for number in range(parts)]
    customers = [set(part["customer"].tolist()) for part in found]
    assert sum(map(len, customers)) == len(set(some["customer"].tolist()))
    for part in found:
        whole = some[np.isin(some["customer"], part["customer"])]
        assert part.tobytes() == whole.tobytes()
