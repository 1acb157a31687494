"""What is taken, what is refused, and at which pointer."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from percorso.errors import InvalidRequest, RejectedInteraction
from percorso.ingest.validate import parse, parse_patch
from percorso.interaction import CHANNELS, Enrichment, Interaction

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASE = {"source": "crm", "channel": "phone", "customer": {"email": "anna@example.com"}}
NOT_A_MOMENT = "must be a date and time with an offset, such as 2026-11-20T10:00:00+01:00"
INFINITE = "must be a finite number, no larger than a double can hold"


def take(raw: bytes, max_bytes: int = 64 * 1024) -> Interaction:
    return parse(raw, now=NOW, max_future=timedelta(hours=24), max_bytes=max_bytes)


def body(**members: Any) -> bytes:
    return json.dumps(BASE | members, ensure_ascii=False).encode()


def with_text(text: str) -> bytes:
    """The base with members that are spelled out as JSON text."""
    return (json.dumps(BASE)[:-1] + "," + text + "}").encode()


def problems(raw: bytes) -> dict[str, str]:
    with pytest.raises(RejectedInteraction) as raised:
        take(raw)
    return {problem.pointer: problem.detail for problem in raised.value.problems}


@pytest.mark.parametrize("name", ["interactions", "every_channel"])
def test_whole_stories_are_taken(name: str) -> None:
    for line in (FIXTURES / f"{name}.ndjson").read_bytes().splitlines():
        assert take(line)["source"] == json.loads(line)["source"]


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"[]", "must be an object"),
        (b"null", "must be an object"),
        (b'"anna"', "must be an object"),
        (b"12", "must be an object"),
        (b"", "is not valid JSON at line 1 column 1: expecting value"),
        (b'{"source": "crm",\n "id" 3}', "is not valid JSON at line 2 column 7: expecting ':' delimiter"),
        (b'{"source": "cr', "is not valid JSON at line 1 column 12: unterminated string starting"),
        (b'{"source": "a\x00b"}', "is not valid JSON at line 1 column 14: invalid control character"),
        (b"{} {}", "is not valid JSON at line 1 column 4: extra data"),
        (b'{"source": "caf\xe9"}', "is not valid UTF-8 at byte 16"),
        (b'{"source": "\xed\xa0\x80"}', "is not valid UTF-8 at byte 13"),
        (b"\xef\xbb\xbf{}", "must not begin with a byte order mark"),
        ("{}".encode("utf-16"), "is not valid UTF-8 at byte 1"),
    ],
)
def test_what_is_no_json_object_is_refused_as_a_whole(raw: bytes, detail: str) -> None:
    assert problems(raw) == {"": detail}


def test_an_interaction_may_be_as_large_as_the_limit_and_no_larger() -> None:
    raw = body(text="x" * 100)
    assert take(raw, max_bytes=len(raw))
    with pytest.raises(RejectedInteraction) as raised:
        take(raw, max_bytes=len(raw) - 1)
    assert raised.value.problems[0].pointer == ""
    assert raised.value.detail == f"The body is {len(raw)} bytes long; at most {len(raw) - 1} are taken"


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('"source": "other"', "/source"),
        ('"source" \n\t : "other"', "/source"),
        ('"sourc\\u0065": "other"', "/source"),
        ('"sentiment": {"score": 0, "score": 0}', "/sentiment/score"),
        ('"feedback": [{"metric": "nps"}, {"metric": "nps", "metric": "nps"}]', "/feedback/1/metric"),
        ('"attributes": {"a": [{"b": 1}, {"c/d": 1, "c/d": 2}]}', "/attributes/a/1/c~1d"),
        ('"details": {"queue": {"~": 1, "~": 1}}', "/details/queue/~0"),
        ('"attributes": {"": {"~": 1, "~": 1}}', "/attributes//~0"),
        ('"attributes": {"a": {"b": 1}, "a": 1, "quote": "\\":"}', "/attributes/a"),
    ],
)
def test_a_repeated_name_is_pointed_at(text: str, pointer: str) -> None:
    assert problems(with_text(text)) == {pointer: "must not be given more than once"}


@pytest.mark.parametrize("text", ['he said "no": never', 'a" : b', '":":":', "\\", "\\u0000", "::", '\\"\\:'])
def test_text_that_looks_like_names_is_no_repetition(text: str) -> None:
    assert take(body(text=text, attributes={text: text}))["text"] == text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400, "-" + "9" * 5000])
def test_a_number_no_double_can_hold_is_pointed_at(number: str) -> None:
    for member in ("attributes", "details", "source_fields"):
        assert problems(with_text(f'"{member}": {{"a": [0, {{"b": {number}}}]}}')) == {f"/{member}/a/1/b": INFINITE}
    assert problems(with_text(f'"details": {{"duration_seconds": {number}}}')) == {
        "/details/duration_seconds": INFINITE
    }
    assert problems(with_text(f'"sentiment": {{"score": {number}}}')) == {"/sentiment/score": INFINITE}


@pytest.mark.parametrize(
    "number", ["1.7976931348623157e308", "1" + "0" * 308, str(2**1024 - 2**970 - 1), "1e-400", "-0"]
)
def test_any_other_number_is_taken(number: str) -> None:
    assert take(with_text(f'"attributes": {{"a": {number}}}'))


def test_a_number_just_too_large_is_refused() -> None:
    assert problems(with_text(f'"attributes": {{"a": {2**1024 - 2**970}}}')) == {"/attributes/a": INFINITE}


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (body(text="a\0b"), "/text"),
        (body(customer={"email": ["a", "\0"]}), "/customer/email/1"),
        (body(customer={"email\0": "a"}), "/customer"),
        (body(attributes={"a": ["\0"]}), "/attributes/a/0"),
        (body(attributes={"a": {"b\0": 1}}), "/attributes/a"),
        (body(channel="\0"), "/channel"),
        (body(**{"\0": 1}), ""),
    ],
)
def test_nul_characters_are_pointed_at(raw: bytes, pointer: str) -> None:
    found = problems(raw)
    assert list(found) == [pointer]
    assert found[pointer].endswith("NUL characters")


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "\\ud800\\ud800", "\\udc00\\ud800", "\\uD83Dx"])
def test_half_surrogate_pairs_are_pointed_at(half: str) -> None:
    detail = "must not contain half of a surrogate pair, which is no character"
    assert problems(with_text(f'"text": "{half}"')) == {"/text": detail}
    assert list(problems(with_text(f'"attributes": {{"{half}": 1}}'))) == ["/attributes"]
    assert take(with_text('"text": "\\ud83d\\ude00"'))["text"] == "\N{GRINNING FACE}"


@pytest.mark.parametrize("depth", [99, 100, 101, 150, 250, 5000])
def test_nesting_is_taken_down_to_a_hundred_levels(depth: int) -> None:
    raw = with_text('"attributes": {"x": {"a/b": [1, ' + "[" * (depth - 4) + "]" * (depth - 4) + "]}}")
    if depth <= 100:
        assert take(raw)
    else:
        assert problems(raw) == {"/attributes/x/a~1b/1" + "/0" * 96: "is nested deeper than 100 levels"}


def test_many_objects_side_by_side_are_not_deep() -> None:
    items = [{"sku": str(number), "quantity": 1} for number in range(300)]
    assert take(body(channel="purchase", details={"order_id": "1", "items": items}))


@pytest.mark.parametrize(
    ("members", "pointer", "detail"),
    [
        ({"source": ""}, "/source", "must not be empty"),
        ({"source": "x" * 129}, "/source", "must be at most 128 characters long"),
        ({"source": None}, "/source", "must be a string"),
        ({"id": ""}, "/id", "must not be empty"),
        ({"id": "x" * 257}, "/id", "must be at most 256 characters long"),
        ({"id": 7}, "/id", "must be a string"),
        ({"kind": "x" * 65}, "/kind", "must be at most 64 characters long"),
        ({"touchpoint": "x" * 129}, "/touchpoint", "must be at most 128 characters long"),
        ({"agent": "x" * 257}, "/agent", "must be at most 256 characters long"),
        ({"language": "italiano!"}, "/language", "must be a language tag, such as it or en-GB"),
        ({"language": "it-" + "abcdefg-" * 5 + "x"}, "/language", "must be at most 35 characters long"),
        ({"direction": "in"}, "/direction", "must be 'inbound', 'outbound', 'internal' or 'none'"),
        ({"topics": ["x"] * 51}, "/topics", "must have at most 50 members"),
        ({"topics": ["x", ""]}, "/topics/1", "must not be empty"),
        ({"topics": ["x" * 129]}, "/topics/0", "must be at most 128 characters long"),
        ({"topics": "x"}, "/topics", "must be a list"),
        ({"feedback": [{"metric": "nps"}] * 51}, "/feedback", "must have at most 50 members"),
        ({"feedback": [{}]}, "/feedback/0/metric", "is required"),
        ({"feedback": [{"metric": "nps", "scor": 1}]}, "/feedback/0/scor", "is not a known field"),
        ({"attachments": [{"url": "u"}] * 51}, "/attachments", "must have at most 50 members"),
        ({"attachments": [{"url": "u", "size": -1}]}, "/attachments/0/size", "must be at least 0"),
        ({"attachments": [{"url": "u", "size": 1.5}]}, "/attachments/0/size", "must be a whole number"),
        ({"sentiment": {"score": -1.01}}, "/sentiment/score", "must be at least -1"),
        ({"sentiment": {"score": 1.01}}, "/sentiment/score", "must be at most 1"),
        ({"sentiment": {"score": "1"}}, "/sentiment/score", "must be a number"),
        ({"attributes": []}, "/attributes", "must be an object"),
        ({"details": {"voicemail": "yes"}}, "/details/voicemail", "must be true or false"),
        ({"ocurred_at": "x"}, "/ocurred_at", "is not a known field; did you mean occurred_at?"),
        ({"~/": "x"}, "/~0~1", "is not a known field"),
        ({"customer": None}, "/customer", "must be an object"),
        ({"customer": {}}, "/customer", "must not be empty"),
        ({"customer": {f"k{n}": "x" for n in range(51)}}, "/customer", "must have at most 50 members"),
        ({"customer": {"email": 3}}, "/customer/email", "must be a string or a list of strings"),
        ({"customer": {"email": {"[key]": 3}}}, "/customer/email", "must be a string or a list of strings"),
        ({"customer": {"email": " \u00a0\x1c"}}, "/customer/email", "must not be blank"),
        ({"customer": {"email": "x" * 513}}, "/customer/email", "must be at most 512 characters long"),
        ({"customer": {"email": []}}, "/customer/email", "must not be empty"),
        ({"customer": {"email": ["x"] * 51}}, "/customer/email", "must have at most 50 members"),
        ({"customer": {"email": ["x", 3]}}, "/customer/email/1", "must be a string"),
        (
            {"ended_at": "2026-11-20T11:59:59Z"},
            "/ended_at",
            "must not be before occurred_at, which is the time of receipt when absent",
        ),
    ],
)
def test_a_wrong_value_is_pointed_at(members: dict[str, Any], pointer: str, detail: str) -> None:
    assert problems(body(**members)) == {pointer: detail}


@pytest.mark.parametrize("member", ["kind", "touchpoint"])
@pytest.mark.parametrize("slug", ["", "Support", "a b", "-a", "è", "a\n"])
def test_a_slug_is_lower_case_and_without_spaces(member: str, slug: str) -> None:
    assert problems(body(**{member: slug}))[f"/{member}"].startswith("must be lower-case letters, digits")


@pytest.mark.parametrize("kind", ["", "Email", "1a", "a-b", "a/b", "x" * 65, "[key]"])
def test_an_identifier_kind_is_a_slug(kind: str) -> None:
    pointer = "/customer/" + kind.replace("/", "~1")
    assert problems(body(customer={"email": "x", kind: "y"}))[pointer].startswith("must have a name of at most 64")


def test_what_is_absent_is_pointed_at_where_it_should_be() -> None:
    assert problems(b'{"channel": "phone"}') == {"/source": "is required", "/customer": "is required"}
    assert problems(body(channel="messaging")) == {"/details": "is required"}
    assert problems(body(channel="messaging", details={})) == {"/details/platform": "is required"}


def test_an_unknown_channel_is_named_with_the_closest_and_all_known_ones() -> None:
    known = ", ".join(CHANNELS)
    assert problems(body(channel="phnoe")) == {
        "/channel": f"is not a channel; did you mean phone? It must be one of {known}"
    }
    assert problems(body(channel="zzz")) == {"/channel": f"is not a channel; it must be one of {known}"}
    assert problems(b"{}") == problems(body(channel=None)) == {"/channel": f"is required, one of {known}"}
    odd: Any
    for odd in ("x" * 65, 3, {}, "a\nb"):
        assert problems(body(channel=odd)) == {"/channel": f"must be one of {known}"}


@pytest.mark.parametrize(
    "moment",
    [
        "1700000000", 1700000000, 1700000000.5, True, "", "2026-11-20", "2026-11-20T10:00:00", "2026-11-20 10:00:00Z",
        "2026-11-20T10:00Z", "20261120T100000Z", "2026-11-20T10:00:00+0100", "2026-11-20T10:00:00Z\n",
        "٢٠٢٦-11-20T10:00:00Z",
    ],
)  # fmt: skip
def test_a_time_without_date_or_offset_is_refused(moment: Any) -> None:
    assert problems(body(occurred_at=moment, ended_at=moment)) == {
        "/occurred_at": NOT_A_MOMENT,
        "/ended_at": NOT_A_MOMENT,
    }


@pytest.mark.parametrize(
    "moment",
    [
        "0000-01-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+24:00",
    ],
)
def test_a_time_that_does_not_exist_is_refused(moment: str) -> None:
    assert problems(body(occurred_at=moment))["/occurred_at"].startswith("is not a date and time that exists: ")


@pytest.mark.parametrize(
    ("moment", "detail"),
    [
        ("1990-01-01T00:00:00Z", None),
        ("1989-12-31T20:00:00-04:00", None),
        ("1990-01-01T00:00:00+00:01", "must not be before 1990-01-01T00:00:00Z"),
        ("1989-12-31T23:59:59.999999Z", "must not be before 1990-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+23:59", "must not be before 1990-01-01T00:00:00Z"),
        ("2026-11-21T12:00:00Z", None),
        ("2026-11-21t22:00:00+10:00", None),
        ("2026-11-21T12:00:00.000001Z", "must not be more than 24 hours ahead"),
        ("9999-12-31T23:59:59-23:59", "must not be more than 24 hours ahead"),
    ],
)
def test_times_are_taken_from_1990_until_the_limit(moment: str, detail: str | None) -> None:
    for member in ("occurred_at", "invited_at"):
        members: dict[str, Any] = {"details": {member: moment}} if member == "invited_at" else {member: moment}
        raw = body(channel="survey", **members)
        if detail is None:
            assert take(raw)
        else:
            assert problems(raw) == {"/details/invited_at" if member == "invited_at" else "/occurred_at": detail}


def test_an_interaction_may_not_end_before_it_begins() -> None:
    assert take(body(occurred_at="2026-11-20T10:00:00+01:00", ended_at="2026-11-20T09:00:00Z"))
    assert problems(body(occurred_at="2026-11-20T10:00:00+01:00", ended_at="2026-11-20T08:59:59Z")) == {
        "/ended_at": "must not be before occurred_at"
    }
    assert problems(body(ended_at="9999-12-31T23:59:59Z")) == {"/ended_at": "must not be more than 24 hours ahead"}


@pytest.mark.parametrize(
    ("answer", "pointer", "detail"),
    [
        ({"min": 1, "max": 1}, "/feedback/1/max", "must be greater than min"),
        ({"score": 0, "min": 1}, "/feedback/1/score", "must not be less than min"),
        ({"score": 6, "max": 5}, "/feedback/1/score", "must not be greater than max"),
    ],
)
def test_a_score_lies_within_its_scale(answer: dict[str, int], pointer: str, detail: str) -> None:
    feedback = [{"metric": "csat", "score": 5, "min": 1, "max": 5}, {"metric": "csat"} | answer]
    assert problems(body(feedback=feedback)) == {pointer: detail}
    with pytest.raises(InvalidRequest) as raised:
        parse_patch(json.dumps({"feedback": feedback}).encode(), max_bytes=1000)
    assert [problem.pointer for problem in raised.value.problems] == [pointer]


def test_no_more_than_fifty_problems_are_told_and_no_endless_pointer() -> None:
    with pytest.raises(RejectedInteraction) as raised:
        take(body(**{f"x{number}": 1 for number in range(2000)}))
    assert len(raised.value.problems) == 50
    assert raised.value.detail == "/x0 is not a known field (and 49 more)"
    assert problems(body(**{"x" * 2000: 1})) == {"": "has a member with a very long name that is not a known field"}


def test_what_was_sent_is_not_repeated_in_the_answer() -> None:
    secret = "anna.secret"
    told = problems(body(text=[secret], kind=secret + "!", customer={"email": {"x": secret}}, occurred_at=secret))
    assert len(told) == 4
    assert secret not in str(told)
    assert "pydantic" not in str(told)


def patched(raw: bytes) -> Enrichment:
    return parse_patch(raw, max_bytes=1000)


def test_a_patch_holds_what_may_be_enriched_and_null_to_remove_it() -> None:
    assert patched(b'{"status": null, "topics": ["a"], "attributes": {"a": null}, "sentiment": {"score": null}}') == {
        "status": None, "topics": ["a"], "attributes": {"a": None}, "sentiment": {"score": None},
    }  # fmt: skip
    assert patched(b"{}") == {}


@pytest.mark.parametrize(
    ("raw", "pointer", "detail"),
    [
        (b"[]", "", "must be an object"),
        (b'{"id": "x"}', "/id", "cannot be changed; these can: status, outcome"),
        (b'{"foo": 1}', "/foo", "cannot be changed; these can: status, outcome"),
        (b'{"status": "done"}', "/status", "must be 'open', "),
        (b'{"text": "a", "text": "b"}', "/text", "must not be given more than once"),
        (b'{"attributes": {"a": [NaN]}}', "/attributes/a/0", INFINITE),
        (b'{"text": "\\u0000"}', "/text", "must not contain NUL characters"),
        (b'{"text": "' + b"x" * 1000 + b'"}', "", "is 1012 bytes long; at most 1000 are taken"),
    ],
)
def test_any_other_patch_is_refused_with_a_pointer(raw: bytes, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        patched(raw)
    assert [problem.pointer for problem in raised.value.problems] == [pointer]
    assert raised.value.problems[0].detail.startswith(detail)
