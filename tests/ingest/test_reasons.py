"""Reasons group: what is wrong in the same way has the same one, and no value makes another."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from percorso.errors import Problem, RejectedInteraction
from percorso.ingest import validate
from percorso.ingest.identity import Identifiers
from percorso.ingest.reasons import CODES, general, reason, reasons
from support import Make

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def problems_of(raw: bytes) -> list[Problem]:
    try:
        found = validate.parse(raw, now=NOW, max_future=timedelta(hours=1), max_bytes=10_000)
        Identifiers(bytes(16), None, 100).of(found["customer"])
    except RejectedInteraction as refused:
        return list(refused.problems)
    raise AssertionError(raw)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"customer": None}, "required:/customer"),
        ({"customer": {}}, "empty:/customer"),
        ({"customer": {"email": "no address"}}, "identifier:/customer/email"),
        ({"customer": {"phone": ["+390669821234", "12"]}}, "identifier:/customer/phone/*"),
        ({"customer": {"email": 7}}, "wrong_type:/customer/email"),
        ({"channel": "fone"}, "unknown:/channel"),
        ({"channel": 7}, "not_allowed:/channel"),
        ({"channel": None}, "required:/channel"),
        ({"legacy": 1}, "unknown:/legacy"),
        ({"legacy_80021": 1}, "unknown:/*"),
        ({"kind": "Not A Slug"}, "not_allowed:/kind"),
        ({"kind": "x" * 65}, "too_long:/kind"),
        ({"direction": "sideways"}, "not_allowed:/direction"),
        ({"text": "a\0b"}, "unfit_text:/text"),
        ({"text": ["a"]}, "wrong_type:/text"),
        ({"occurred_at": "yesterday"}, "not_a_moment:/occurred_at"),
        ({"occurred_at": "2026-02-30T10:00:00Z"}, "not_a_moment:/occurred_at"),
        ({"occurred_at": "2027-01-01T10:00:00Z"}, "out_of_time:/occurred_at"),
        ({"occurred_at": "1926-01-01T10:00:00Z"}, "out_of_time:/occurred_at"),
        ({"ended_at": "2025-01-01T10:00:00Z"}, "out_of_time:/ended_at"),
        ({"feedback": [{"metric": "nps", "score": 11, "min": 0, "max": 10}]}, "out_of_range:/feedback/*/score"),
        ({"sentiment": {"score": 3}}, "out_of_range:/sentiment/score"),
        ({"attributes": {"a": 1e400}}, "out_of_range:/attributes/a"),
        ({"topics": "complaint"}, "wrong_type:/topics"),
        ({"text": "x" * 20_000}, "too_large:"),
    ],
)
def test_what_is_wrong_has_a_reason(make: Make, members: dict[str, Any], expected: str) -> None:
    document = make() | members
    raw = json.dumps({name: value for name, value in document.items() if value is not None}).encode()
    assert reasons(problems_of(raw)) == [expected]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{", "malformed:"),
        (b"\xff", "malformed:"),
        (b"\xef\xbb\xbf{}", "malformed:"),
        (b"[" * 5_000, "too_deep:/*/*/*/*/*/*"),
        (b'{"channel": "phone", "source": "a", "source": "b", "customer": {"email": "a@b.cz"}}', "repeated:/source"),
    ],
)
def test_what_is_no_sound_json_has_a_reason(raw: bytes, expected: str) -> None:
    assert reasons(problems_of(raw)) == [expected]


def test_every_sentence_of_the_validator_has_a_code_of_its_own() -> None:
    context = dict.fromkeys(("ge", "le"), 1) | {"max_length": 3, "expected": "'a' or 'b'", "error": "month 13"}
    sentences = [told.format(**context) for told in validate.SENTENCES.values()]
    sentences += validate.PATTERNS.values()
    for sentence in sentences:
        assert not reason(Problem("/a", sentence)).startswith("invalid:"), sentence


def test_the_same_thing_wrong_in_two_places_is_one_reason_and_a_name_made_of_data_none() -> None:
    wrong = [Problem(f"/feedback/{index}/score", "must be at least 0") for index in range(3)]
    assert reasons(wrong) == ["out_of_range:/feedback/*/score"]
    assert general("/attributes/anna@example.com/+39 06 6982") == "/attributes/*/*"
    assert general("") == ""
    assert general("/a/b/c/d/e/f/g/h") == "/a/b/c/d/e/f"
    assert len(general("/" + "/".join(["x" * 40] * 6))) == 128


def test_what_no_one_thought_of_is_only_invalid() -> None:
    assert reason(Problem("/a", "smells")) == "invalid:/a"
    assert len({code for code, _ in CODES}) == len(CODES)
