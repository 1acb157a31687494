"""Where items end: what splits, what is broken, and that neither chunks nor a bad neighbour matter."""

import json
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from percorso.errors import BodyTooLarge, MalformedBody, Problem
from percorso.formats import splitting
from percorso.formats.splitting import Line, LineSplitter, Oversized, split_array

BOM = b"\xef\xbb\xbf"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
shreds = st.lists(
    st.sampled_from(
        [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b" ", b"\n", b"1", b"null", b'"a,]"', b"NaN", BOM]
    )
).map(b"".join)
line_streams = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b" ", b"{}", b"abcde", BOM, BOM[:1], BOM[:2]])).map(
    b"".join
)


@given(st.lists(values, max_size=6), st.sampled_from([None, 0, 3]), st.booleans())
def test_the_items_of_any_array_are_those_json_reads(items: list[object], indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001 - given by Hypothesis
    body = json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode()
    split = split_array(body)
    assert [json.loads(item) for item in split] == items
    assert all(item in body for item in split)


@given(st.lists(values, max_size=6), st.sampled_from([None, 0, 3]), st.sampled_from([b"", BOM, b" \r\n\t"]))
def test_the_tolerant_way_agrees_with_the_fast_one(items: list[object], indent: int | None, before: bytes) -> None:
    body = before + json.dumps(items, indent=indent, ensure_ascii=False).encode() + b" \n"
    start = len(BOM) if before == BOM else 0
    assert splitting._split_tolerantly(body, start, None) == split_array(body)  # noqa: SLF001 - both ways are compared


@given(st.binary() | shreds | shreds.map(lambda inside: b"[" + inside + b"]"))
@example(b"[" * 100_000)
@example(b"[" * 50_000 + b"]" * 50_000)
@example(b'["' + b'\\"' * 50_000)
def test_any_bytes_split_or_are_malformed(body: bytes) -> None:
    try:
        items = split_array(body)
    except MalformedBody:
        return
    assert all(item and item in body and item == item.strip(b" \t\r\n") for item in items)


@given(st.binary() | shreds)
def test_what_the_fast_way_reads_the_tolerant_way_reads_alike(body: bytes) -> None:
    try:
        fast = [bytes(item) for item in splitting._raw_items.decode(body)]  # noqa: SLF001 - both ways are compared
    except (ValueError, RecursionError):
        return
    assert splitting._split_tolerantly(body, 0, None) == fast  # noqa: SLF001 - as above


@pytest.mark.parametrize(
    "hostile",
    [
        b"NaN",
        b"-Infinity",
        b'"\\ud800"',
        b'{"a": "\\ud800"}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"01",
        b"1.",
        b"nul",
        b'"tab\there"',
        b'"bad \\q escape"',
        b'"\xff"',
        b"\xff\xfe",
        b"{'a' 1}",
        b'{"a": [1}}',
        b'{"a" "b"}',
        b"1 2",
        b"\\",
    ],
)
def test_a_hostile_item_leaves_its_neighbours_alone(hostile: bytes) -> None:
    before, after = b'{"id": "a,]}\\""}', b'[{"deep": [[[[[[[[[["x"]]]]]]]]]]}, "\\\\"]'
    assert split_array(b" [" + before + b" ,\n" + hostile + b"," + after + b"]\r\n") == [before, hostile, after]


@pytest.mark.parametrize("wrapped", [bytes, bytearray, memoryview])
def test_items_are_the_very_bytes_that_were_sent(wrapped: type[bytes]) -> None:
    assert split_array(wrapped(BOM + b' [ {"a" : 1.0e0} ,"\\u0041" ] ')) == [b'{"a" : 1.0e0}', b'"\\u0041"']


@pytest.mark.parametrize("empty", [b"[]", b" [ \n ] ", BOM + b"[]"])
def test_an_empty_array_has_no_items(empty: bytes) -> None:
    assert split_array(empty) == []


@pytest.mark.parametrize(
    ("body", "place", "expected"),
    [
        (b"", "ends at byte 0 (line 1, column 1)", "a JSON array"),
        (BOM + b"  ", "ends at byte 5 (line 1, column 6)", "a JSON array"),
        (b'{"a": 1}', "byte 0 (line 1, column 1)", "a JSON array"),
        (b"\n\n  7", "byte 4 (line 3, column 3)", "a JSON array"),
        (b"[1, 2", "ends at byte 5 (line 1, column 6)", "end with `]`"),
        (b"[1,\n [2]", "ends at byte 8 (line 2, column 5)", "end with `]`"),
        (b'[1, {"a": 2]', "ends at byte 12 (line 1, column 13)", "end with `]`"),
        (b"[1}", "byte 2 (line 1, column 3)", "`,` or `]`"),
        (b'[1, "two]', "byte 4 (line 1, column 5)", "a closing quote"),
        (b'[1, "two\\"]', "byte 4 (line 1, column 5)", "a closing quote"),
        (b"[1,]", "byte 3 (line 1, column 4)", "an item"),
        (b"[,1]", "byte 1 (line 1, column 2)", "an item"),
        (b"[1,\n,2]", "byte 4 (line 2, column 1)", "an item"),
        (b"[1] 2", "byte 4 (line 1, column 5)", "nothing after the array"),
        (b"[1][2]", "byte 3 (line 1, column 4)", "nothing after the array"),
        (b"[1]]", "byte 3 (line 1, column 4)", "nothing after the array"),
    ],
)
def test_a_broken_array_is_malformed_and_told_where(body: bytes, place: str, expected: str) -> None:
    with pytest.raises(MalformedBody) as refused:
        split_array(body)
    assert place in refused.value.detail
    assert expected in refused.value.detail
    assert refused.value.problems == (Problem("", refused.value.detail),)


@pytest.mark.parametrize("items", [b"1,2,3", b"1,NaN,3"])
def test_one_item_more_than_the_most_is_too_large(items: bytes) -> None:
    assert len(split_array(b"[" + items + b"]", most=3)) == 3
    with pytest.raises(BodyTooLarge, match="more than 2 items"):
        split_array(b"[" + items + b"]", most=2)


def test_millions_of_tiny_items_are_refused_before_they_are_kept() -> None:
    body = b"[" + b"10," * 1_500_000 + b"10]"
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            split_array(body, most=10_000)
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()


def lines_of(chunks: Sequence[bytes], *, max_line: int) -> list[Line]:
    splitter = LineSplitter(max_line)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.finish()


@given(line_streams, st.lists(st.integers(0, 60)), st.integers(1, 8))
def test_lines_are_the_same_however_they_are_chunked(stream: bytes, cuts: list[int], max_line: int) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[begin:end] for begin, end in pairwise(edges)]
    whole = lines_of([stream], max_line=max_line)
    assert lines_of(chunks, max_line=max_line) == whole
    assert lines_of([bytes([byte]) for byte in stream], max_line=max_line) == whole


@given(line_streams, st.integers(1, 8))
def test_lines_are_those_between_newlines(stream: bytes, max_line: int) -> None:
    expected: list[Line] = []
    for raw in stream.removeprefix(BOM).split(b"\n"):
        line = raw.removesuffix(b"\r")
        if len(line) > max_line:
            expected.append(Oversized(line[:max_line], len(line)))
        elif line.strip(b" \t\r\n"):
            expected.append(line.strip(b" \t\r\n"))
    assert lines_of([stream], max_line=max_line) == expected


def test_a_last_line_without_newline_is_a_line() -> None:
    assert lines_of([b'{"a": 1}\r\n\r\n  \n', b'{"b": ', b"2}"], max_line=100) == [b'{"a": 1}', b'{"b": 2}']


def test_a_line_of_exactly_the_limit_is_no_oversized_one() -> None:
    assert lines_of([b"12345\r\n123456\r\n"], max_line=5) == [b"12345", Oversized(b"12345", 6)]


def test_an_endless_line_is_told_once_and_not_kept() -> None:
    splitter = LineSplitter(1000)
    chunk = b"x" * 50_000
    tracemalloc.start()
    try:
        assert all(splitter.feed(chunk) == [] for _ in range(400))
        assert splitter.feed(b"\n7\n") == [Oversized(b"x" * 1000, 20_000_000), b"7"]
        assert tracemalloc.get_traced_memory()[1] < 4 * len(chunk)
    finally:
        tracemalloc.stop()
    assert splitter.finish() == []


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \t\n", b"\n\r\n"])
def test_runs_of_blank_lines_are_passed_over_wherever_the_chunks_end(blank: bytes) -> None:
    body = b'{"a":1}' + blank * 5000 + b'{"b":2}\n' + blank * 5000 + b"last"
    for size in (1, 7, 4096, len(body)):
        splitter = LineSplitter(64)
        lines = [line for at in range(0, len(body), size) for line in splitter.feed(body[at : at + size])]
        assert lines + splitter.finish() == [b'{"a":1}', b'{"b":2}', b"last"]
