"""Whatever is sent is taken or refused, and what is taken is sound."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from percorso.errors import InvalidRequest, Problem, RejectedInteraction
from percorso.ingest.validate import parse, parse_patch
from percorso.interaction import CHANNELS, PhoneInteraction

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASE = {"source": "crm", "channel": "phone", "customer": {"email": "anna@example.com"}}
FIELDS = tuple(PhoneInteraction.__annotations__)

names = st.text(alphabet='ab":\\ ~/\0é\n', max_size=4) | st.just("[key]")
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | names
    | st.sampled_from(["2026-11-20T10:00:00Z", "1700000000", "\ud800", 10**400, 2**1024 - 2**970])
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            names | st.sampled_from(["score", "metric", "min", "max", "url", "source"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
near_interactions = st.builds(
    lambda channel, members: BASE | {"channel": channel} | members,
    st.sampled_from(CHANNELS),
    st.dictionaries(st.sampled_from(FIELDS) | names, anything, max_size=4),
)


class Pairs(list[tuple[str, Any]]):
    """An object as it is written, repeated names and all."""


def objects_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    letters = st.text(alphabet='ab":\\ ', max_size=2)
    return st.lists(st.tuples(letters, inner), max_size=4).map(Pairs) | st.lists(inner, max_size=3)


trees = st.recursive(st.integers(0, 9) | st.text(alphabet='a":\\ \n', max_size=5), objects_of, max_leaves=12)


def written(value: Any, spaces: Any) -> str:
    if isinstance(value, Pairs):
        inner = ",".join(f"{json.dumps(name)}{next(spaces)}:{next(spaces)}{written(v, spaces)}" for name, v in value)
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{','.join(written(v, spaces) for v in value)}]"
    return json.dumps(value)


def repeated(value: Any, pointer: str) -> set[str]:
    """The pointers of repeated names where none but the last member of a name stands."""
    found = set()
    if isinstance(value, Pairs):
        last = dict(value)
        listed = [name for name, _ in value]
        found = {f"{pointer}/{escaped(name)}" for name in last if listed.count(name) > 1}
        return found.union(*(repeated(member, f"{pointer}/{escaped(name)}") for name, member in last.items()))
    if isinstance(value, list):
        return found.union(*(repeated(member, f"{pointer}/{index}") for index, member in enumerate(value)))
    return found


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def resolves(pointer: str, document: Any) -> bool:
    """Whether the pointer leads to a value, or to a member missing from an object that is there."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for depth, step in enumerate(steps):
        if isinstance(document, list):
            document = document[int(step)]
        elif step in document:
            document = document[step]
        else:
            return isinstance(document, dict) and depth == len(steps) - 1
    return True


def is_sound(value: Any, depth: int = 1) -> bool:
    if isinstance(value, str):
        return "\0" not in value and value.encode().decode() == value
    if isinstance(value, dict):
        return depth <= 100 and all(is_sound(name) and is_sound(member, depth + 1) for name, member in value.items())
    if isinstance(value, list):
        return depth <= 100 and all(is_sound(member, depth + 1) for member in value)
    return not isinstance(value, int | float) or isfinite(float(value))


def verdict(raw: bytes) -> tuple[Problem, ...]:
    """What is wrong with it; nothing, if it was taken."""
    try:
        parse(raw, now=NOW, max_future=timedelta(hours=24), max_bytes=64 * 1024)
    except RejectedInteraction as refusal:
        return refusal.problems or (Problem("", "nothing was told"),)
    return ()


def check(raw: bytes) -> None:
    """What is taken is sound; what is refused has pointers that are distinct, true, and may be written anywhere."""
    found = verdict(raw)
    pointers = [problem.pointer for problem in found]
    if not found:
        assert is_sound(json.loads(raw))
    elif pointers != [""]:
        assert len(set(pointers)) == len(pointers)
        assert all(resolves(pointer, json.loads(raw)) for pointer in pointers)
    assert all(is_sound(problem.pointer) and problem.detail for problem in found)
    assert "nothing was told" not in (problem.detail for problem in found)


@given(raw=st.binary() | st.text().map(str.encode) | anything.map(lambda value: json.dumps(value).encode()))
def test_anything_is_taken_or_refused(raw: bytes) -> None:
    assert verdict(raw)
    check(raw)
    with suppress(InvalidRequest):
        parse_patch(raw, max_bytes=1000)


@settings(max_examples=300)
@given(near=near_interactions)
def test_what_is_nearly_an_interaction_is_taken_or_refused_at_true_pointers(near: dict[str, Any]) -> None:
    check(json.dumps(near).encode())
    check(json.dumps(near, ensure_ascii=False).encode(errors="surrogatepass"))
    with suppress(InvalidRequest):
        parse_patch(json.dumps(near).encode(), max_bytes=10_000)


@settings(max_examples=200)
@given(near=near_interactions, data=st.data())
def test_a_damaged_interaction_is_taken_or_refused(near: dict[str, Any], data: st.DataObject) -> None:
    raw = json.dumps(near).encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 5)))
    check(
        raw[:start]
        + data.draw(st.binary(max_size=3) | st.sampled_from([b'":', b"{", b"]", b"\\u", b"1e999"]))
        + raw[end:]
    )


@settings(max_examples=300)
@given(tree=trees, data=st.data())
def test_repeated_names_are_found_exactly(tree: Any, data: st.DataObject) -> None:
    spaces = iter(lambda: data.draw(st.sampled_from(["", "", " ", "\n", "\t "])), None)
    members = Pairs([*BASE.items(), ("attributes", Pairs([("tree", tree)]))])
    members[2] = ("customer", Pairs([("email", "anna@example.com")]))
    raw = written(members, spaces).encode()
    assert {problem.pointer for problem in verdict(raw)} == repeated(members, "")


@given(
    st.timedeltas(timedelta(days=-3), timedelta(days=4)),
    st.integers(-1439, 1439),
    st.timedeltas(timedelta(seconds=1), timedelta(days=3)),
)
def test_a_moment_is_too_far_ahead_by_the_time_it_stands_for_whatever_its_offset(
    ahead: timedelta, offset: int, max_future: timedelta
) -> None:
    moment = (NOW + ahead).astimezone(timezone(timedelta(minutes=offset)))
    raw = json.dumps(BASE | {"occurred_at": moment.isoformat()}).encode()
    taken = True
    try:
        parse(raw, now=NOW, max_future=max_future, max_bytes=65536)
    except RejectedInteraction:
        taken = False
    assert taken is (ahead <= max_future)
