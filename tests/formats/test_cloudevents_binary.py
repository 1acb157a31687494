"""CloudEvents in binary mode: what headers and bodies stand for, and which mode a request is in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percorso.errors import UnsupportedEncoding
from percorso.formats import cloudevents, cloudevents_binary
from percorso.formats.cloudevents import Mapped, Refused
from percorso.ingest.document import read


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("Euro € 😀".encode(), "Euro € 😀"),
        (b"100%25", "100%"),
        (b"%2525", "%25"),
        (b'"quoted \\"twice\\" \\\\ %20"', 'quoted "twice" \\  '),
        (b'"', '"'),
        (b"a%", "a%"),
        (b"%zz", "%zz"),
        (b"a+b", "a+b"),
    ],
)
def test_a_header_is_unquoted_and_percent_decoded_once(value: bytes, text: str) -> None:
    assert cloudevents_binary.decoded(value) == text


def binary(
    *headers: tuple[bytes, bytes], content_type: str | None = "application/json", body: bytes = b"{}"
) -> tuple[dict[str, Any], list[str]]:
    found, problems = cloudevents_binary.event(headers, content_type, body, read)
    return found, [problem.pointer for problem in problems]


@pytest.mark.parametrize("value", [b"\xff", b"%FF", b"%C3", b"%ED%A0%80", b"a%C0%80"])
def test_a_header_that_is_no_utf_8_is_refused(value: bytes) -> None:
    assert binary((b"ce-subject", value))[1] == ["/subject"]


def test_a_header_given_twice_or_that_is_no_attribute_is_refused() -> None:
    assert binary((b"ce-id", b"a"), (b"ce-id", b"a"))[1] == ["/id"]
    assert binary((b"ce-data", b"a"), (b"ce-data_base64", b"a"))[1] == ["/data", "/data_base64"]


@pytest.mark.parametrize(
    ("content_type", "body", "carried"),
    [
        ("application/json", b'{"a": 1}', {"data": {"a": 1}}),
        ("application/vnd.example+json; charset=utf-8", b"[1]", {"data": [1]}),
        ("text/json", b"1", {"data": 1}),
        (None, b'{"a": 1}', {"data": {"a": 1}}),
        (None, b"hello", {"data": "hello"}),
        (None, b"\x89PNG", {"data_base64": "iVBORw=="}),
        ("application/x-www-form-urlencoded", b'{"a": 1}', {"data": {"a": 1}}),
        ("application/x-www-form-urlencoded", b"a=1", {"data": "a=1"}),
        ("text/plain", "è".encode(), {"data": "è"}),
        ("text/plain; charset=UTF-8", b"a", {"data": "a"}),
        ("text/plain; charset=latin-1", b"a\xe8", {"data_base64": "Yeg="}),
        ("text/plain", b"a\xe8", {"data_base64": "Yeg="}),
        ("text/plain", b"a\0", {"data_base64": "YQA="}),
        ("application/xml", b"<a/>", {"data": "<a/>"}),
        ("application/octet-stream", b"abc", {"data_base64": "YWJj"}),
        ("application/json", b"", {}),
        ("application/json; charset=utf-8", b"hello", {"data": "hello"}),
        ("application/json; charset=utf-8", b"\x89PNG", {"data_base64": "iVBORw=="}),
    ],
)
def test_a_body_is_data_as_its_content_type_says(
    content_type: str | None, body: bytes, carried: dict[str, Any]
) -> None:
    said_type = {} if content_type is None else {"datacontenttype": content_type}
    assert binary((b"ce-id", b"a"), (b"host", b"x"), content_type=content_type, body=body) == (
        {"id": "a"} | said_type | carried,
        [],
    )


def test_a_body_that_says_it_is_json_and_is_not_is_refused_where_it_breaks() -> None:
    found, wrong = binary(body=b'{"a": 1, "a": 2}')
    assert wrong == ["/data/a"]
    assert found["data"] == '{"a": 1, "a": 2}'
    for body in (b'{"a', b" [1", b'"a'):
        assert binary(body=body)[1] == ["/data"]


@pytest.mark.parametrize(
    ("content_type", "mode"),
    [
        ("application/cloudevents+json", "structured"),
        ("Application/CloudEvents+JSON; charset=UTF-8", "structured"),
        ('application/cloudevents+json;charset="utf-8"', "structured"),
        ("application/cloudevents-batch+json", "batch"),
        ("APPLICATION/CLOUDEVENTS-BATCH+JSON; charset=utf-8", "batch"),
        ("application/json", "binary"),
        ("text/plain", "binary"),
        ("", "binary"),
    ],
)
def test_the_content_type_says_the_mode_before_any_header(content_type: str, mode: str) -> None:
    assert cloudevents_binary.mode(content_type, [(b"ce-id", b"a")]) == mode


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("application/json", []),
        ("", [(b"host", b"x")]),
        ("application/cloudevents", [(b"ce-id", b"a")]),
        ("application/cloudevents+avro", [(b"ce-id", b"a")]),
        ("application/cloudevents-batch+xml", []),
        ("application/cloudevents+json; charset=utf-16", []),
    ],
)
def test_what_carries_no_event_that_is_read_here_is_another_media_type(
    content_type: str, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(UnsupportedEncoding, match=r"application/cloudevents\+json|UTF-8"):
        cloudevents_binary.mode(content_type, headers)


@given(
    st.lists(st.tuples(st.sampled_from([b"ce-id", b"ce-type", b"ce-x", b"ce-", b"ce-data"]), st.binary(max_size=20))),
    st.sampled_from([None, "application/json", "text/plain", "a;b", "\xe9"]),
    st.binary(max_size=40),
)
def test_any_headers_and_body_are_an_event_or_refused(
    headers: list[tuple[bytes, bytes]], content_type: str | None, body: bytes
) -> None:
    found, _ = cloudevents_binary.event(headers, content_type, body, read)
    json.dumps(found)
    assert isinstance(cloudevents.mapped(found, read), Mapped | Refused)
