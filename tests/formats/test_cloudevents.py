"""CloudEvents to interactions and back: the mapping alone."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percorso.errors import Problem
from percorso.formats import cloudevents
from percorso.formats.cloudevents import Mapped, Refused
from percorso.ingest.document import read
from percorso.interaction import CHANNELS

BODY = {"channel": "phone", "customer": {"email": "anna@example.com"}}


def event(**members: Any) -> dict[str, Any]:
    """A sound event about a call, with what the test says otherwise; None leaves a member out."""
    usual = {
        "specversion": "1.0",
        "id": "call-1",
        "source": "https://crm.example.com",
        "type": "com.example.phone.support_call",
        "time": "2026-03-01T10:00:00Z",
        "data": {"customer": {"email": "anna@example.com"}},
    }
    return {name: value for name, value in (usual | members).items() if value is not None}


def document(**members: Any) -> dict[str, Any]:
    found = cloudevents.mapped(event(**members), read)
    assert isinstance(found, Mapped), found
    return found.document


def refused(**members: Any) -> list[str]:
    found = cloudevents.mapped(event(**members), read)
    assert isinstance(found, Refused), found
    return [problem.pointer for problem in found.problems]


def said(**members: Any) -> dict[str, Any]:
    """The interaction without what is kept of the event beside it."""
    return {name: value for name, value in document(**members).items() if name != "source_fields"}


def test_attributes_say_what_data_does_not() -> None:
    assert said() == {
        "source": "https://crm.example.com",
        "id": "call-1",
        "occurred_at": "2026-03-01T10:00:00Z",
        "channel": "phone",
        "kind": "support_call",
        "customer": {"email": "anna@example.com"},
    }


def test_what_data_says_counts_more_than_type_subject_and_time() -> None:
    data = BODY | {"channel": "chat", "kind": "sales_chat", "occurred_at": "2026-03-01T09:00:00Z"}
    found = said(data=data, subject="crm_id:C-17")
    assert found == data | {"source": "https://crm.example.com", "id": "call-1"}


@pytest.mark.parametrize(
    ("type_", "channel", "kind"),
    [
        ("com.example.phone.support_call", "phone", "support_call"),
        ("com.example.Phone.Support Call.v1", "phone", "support_call.v1"),
        ("phone", "phone", None),
        ("com.example/email/opened", "email", "opened"),
        ("urn:example:chat:started", "chat", "started"),
        ("percorso.interaction.web.page_viewed", "web", "page_viewed"),
        ("com.example.chat.phone", "chat", "phone"),
        ("com.example.order.created", "other", "com.example.order.created"),
        ("com.example." + "x" * 80, "other", "x" * 64),
        ("—", "other", None),
    ],
)
def test_the_first_channel_named_in_the_type_is_the_channel_and_the_rest_the_kind(
    type_: str, channel: str, kind: str | None
) -> None:
    found = said(type=type_)
    assert (found["channel"], found.get("kind")) == (channel, kind)


def test_a_kind_is_not_taken_from_a_type_that_names_another_channel_than_data() -> None:
    assert "kind" not in said(data=BODY | {"channel": "chat"})
    assert "kind" not in said(data=BODY, type="com.example.call")
    assert said(data=BODY)["kind"] == "support_call"


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_event_without_details_is_of_a_channel_that_needs_none(channel: str) -> None:
    found = said(type=f"com.example.{channel}.something", data={"what": "it was"}, subject="crm_id:C-17")
    if channel in {"messaging", "social", "store_visit", "review", "community", "purchase"}:
        assert (found["channel"], found["kind"]) == ("other", f"{channel}.something")
    else:
        assert (found["channel"], found["kind"]) == (channel, "something")


@pytest.mark.parametrize(
    ("subject", "customer"),
    [
        ("email:anna@example.com", {"email": "anna@example.com"}),
        ("social:mastodon:anna", {"social": "mastodon:anna"}),
        ("our_id:7", {"our_id": "7"}),
    ],
)
def test_the_subject_is_the_customer_where_data_names_none(subject: str, customer: dict[str, str]) -> None:
    assert said(subject=subject, data={"kind": "x"})["customer"] == customer
    assert said(subject=subject, data=None)["customer"] == customer


def test_no_more_is_told_of_an_event_than_can_be_read() -> None:
    assert len(refused(**{f"A{number}": 1 for number in range(1000)})) == 50


@pytest.mark.parametrize("fields", ["", 0, False, [], "x"])
def test_fields_of_the_source_are_an_object_or_refused(fields: Any) -> None:
    assert refused(data={"customer": {"email": "anna@example.com"}, "source_fields": fields}) == ["/data/source_fields"]


@pytest.mark.parametrize("subject", [None, "anna", "Email:anna@example.com", "https://example.com/anna", ":x", "x:"])
def test_an_event_that_names_no_customer_is_refused_at_its_subject(subject: str | None) -> None:
    assert refused(subject=subject, data={"kind": "x"}) == ["/subject"]
    assert refused(subject=subject, data="text") == ["/subject"]


def test_a_subject_that_names_no_customer_is_only_kept_where_data_names_one() -> None:
    assert document(subject="call 7")["source_fields"] == {
        "cloudevents": {
            "type": "com.example.phone.support_call",
            "subject": "call 7",
            "not_in_data": ["source", "id", "occurred_at", "channel", "kind"],
        }
    }


ODD: dict[str, dict[str, Any]] = {
    "a body without channel": {},
    "a whole body": {"data": BODY | {"kind": "x", "text": "hello", "attributes": {"a": [1, None]}}},
    "a body with its source and id": {"data": BODY | {"source": "https://crm.example.com", "id": "call-1"}},
    "a body with its own time": {"data": BODY | {"occurred_at": "2026-02-01T10:00:00+01:00"}},
    "a body with words of its sender's": {"data": BODY | {"source_fields": {"their": "word"}}},
    "no time": {"time": None, "data": BODY},
    "every attribute": {
        "subject": "call 7",
        "datacontenttype": "application/json; charset=utf-8",
        "dataschema": "https://example.com/call.json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "sequence": 12,
        "sampled": False,
        "added": "an extension, whatever percorso calls its own",
        "format": "too",
    },
    "an object that is no body": {"subject": "crm_id:C-17", "data": {"message": "hello", "n": [1.5, {"a": None}]}},
    "a list": {"subject": "crm_id:C-17", "data": [1, "two", {}]},
    "a number": {"subject": "crm_id:C-17", "data": 0},
    "a boolean": {"subject": "crm_id:C-17", "data": False},
    "text": {"subject": "crm_id:C-17", "datacontenttype": "text/plain", "data": "hello"},
    "XML": {"subject": "crm_id:C-17", "datacontenttype": "application/xml", "data": "<a>è</a>"},
    "an empty text": {"subject": "crm_id:C-17", "datacontenttype": "text/plain", "data": ""},
    "bytes": {"subject": "crm_id:C-17", "datacontenttype": "image/png", "data": None, "data_base64": "iVBORw0KGgo="},
    "no data": {"subject": "crm_id:C-17", "data": None},
}


@pytest.mark.parametrize("members", ODD.values(), ids=ODD)
def test_an_event_is_given_back_as_it_was(members: dict[str, Any]) -> None:
    stored = {"occurred_at": "2026-04-01T10:00:00Z"} | json.loads(json.dumps(document(**members)))
    given_back = cloudevents.event(stored, subject="crm_id:other")
    assert given_back == {"time": "2026-04-01T10:00:00Z"} | event(**members)
    again = cloudevents.mapped(given_back, read)
    assert isinstance(again, Mapped)
    assert {"occurred_at": "2026-04-01T10:00:00Z"} | again.document == stored


def test_an_interaction_that_came_otherwise_is_an_event_of_percorsos_own_and_goes_in_again_as_itself() -> None:
    given_natively = BODY | {"source": "crm", "id": "a", "occurred_at": "2026-03-01T10:00:00+01:00", "kind": "x"}
    made = cloudevents.event(given_natively, subject="email:anna@example.com")
    assert made == {
        "specversion": "1.0",
        "id": "a",
        "source": "crm",
        "type": "percorso.interaction.phone.x",
        "time": "2026-03-01T10:00:00+01:00",
        "subject": "email:anna@example.com",
        "datacontenttype": "application/json",
        "data": BODY | {"kind": "x"},
    }
    assert {name: value for name, value in document(**made).items() if name != "source_fields"} == given_natively
    without = cloudevents.event({name: given_natively[name] for name in given_natively if name != "kind"}, subject=None)
    assert without["type"] == "percorso.interaction.phone"
    assert "subject" not in without


def test_words_that_only_look_like_an_events_are_no_event() -> None:
    looking: tuple[Any, ...] = ({"cloudevents": 7}, {"cloudevents": {}}, {"cloudevents": {"type": 7}}, {}, None)
    for fields in looking:
        stored = BODY | {"source": "crm", "id": "a", "occurred_at": "2026-03-01T10:00:00Z", "source_fields": fields}
        assert cloudevents.event(stored, subject=None)["type"] == "percorso.interaction.phone"


def test_what_is_in_base64_is_read_as_the_same_bytes_are_in_binary_mode() -> None:
    encoded = base64.b64encode(json.dumps(BODY).encode()).decode()
    for media_type in (None, "application/json", "application/vnd.example+json; charset=utf-8"):
        assert said(data=None, data_base64=encoded, datacontenttype=media_type)["customer"] == BODY["customer"]
    for media_type, raw, attributes in (
        ("application/octet-stream", b"{}", {"data_base64": "e30="}),
        ("text/plain", b"hello", {"data": "hello"}),
        ("application/json", b"[1]", {"data": [1]}),
        (None, b"hello", {"data": "hello"}),
    ):
        encoded = base64.b64encode(raw).decode()
        found = said(data=None, data_base64=encoded, datacontenttype=media_type, subject="crm_id:C-17")
        assert found["attributes"] == attributes


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"specversion": None}, ["/specversion"]),
        ({"id": None, "source": None, "type": None}, ["/id", "/source", "/type"]),
        ({"specversion": "0.3"}, ["/specversion"]),
        ({"specversion": 1.0}, ["/specversion"]),
        ({"id": ""}, ["/id"]),
        ({"id": 25}, ["/id"]),
        ({"type": ["phone"]}, ["/type"]),
        ({"time": "lunchtime"}, ["/time"]),
        ({"time": "2018-04-05T18:31:00+25:00"}, ["/time"]),
        ({"datacontenttype": "xyz"}, ["/datacontenttype"]),
        ({"dataschema": ""}, ["/dataschema"]),
        ({"subject": ""}, ["/subject"]),
        ({"MyExtension": "bad"}, ["/MyExtension"]),
        ({"my.extension": 1.5}, ["/my.extension"]),
        ({"a/b~": "bad"}, ["/a~1b~0"]),
        ({"rate": 1.5}, ["/rate"]),
        ({"large": 2**31}, ["/large"]),
        ({"nested": {"a": 1}}, ["/nested"]),
        ({"data_base64": "eyAieHl6IjogMTIzIH0="}, ["/data_base64"]),
        ({"data": None, "data_base64": "no base64!"}, ["/data_base64"]),
        ({"data": None, "data_base64": 7}, ["/data_base64"]),
        ({"data": None, "data_base64": "e30x", "datacontenttype": "application/json"}, ["/data_base64"]),
        ({"data_base32": "x"}, ["/data_base32"]),
        ({"data": BODY | {"source": "other"}}, ["/data/source"]),
        ({"data": BODY | {"id": 7}}, ["/data/id"]),
        ({"data": BODY | {"source_fields": {"cloudevents": {}}}}, ["/data/source_fields/cloudevents"]),
        ({"data": BODY | {"source_fields": [1]}}, ["/data/source_fields"]),
    ],
)
def test_a_refusal_points_into_the_event(members: dict[str, Any], wrong: list[str]) -> None:
    assert refused(**members) == wrong


@pytest.mark.parametrize("value", [None, 7, "text", [event()]])
def test_what_is_no_object_is_no_event(value: Any) -> None:
    assert cloudevents.mapped(value, read) == Refused([Problem("", "must be an object: one CloudEvent")])


def test_a_problem_of_the_interaction_is_told_as_one_of_the_event() -> None:
    def retold(pointer: str, **members: Any) -> str:
        found = cloudevents.mapped(event(**members), read)
        assert isinstance(found, Mapped)
        return found.retold(Problem(pointer, "is wrong")).pointer

    assert retold("/details/queue") == "/data/details/queue"
    assert retold("/customer/email") == "/data/customer/email"
    assert retold("/customer/email", data={}, subject="email:x") == "/subject"
    assert retold("/occurred_at") == "/time"
    assert retold("/occurred_at", data=BODY | {"occurred_at": "x"}) == "/data/occurred_at"
    assert retold("/source") == "/source"
    assert retold("/kind") == "/type"
    assert retold("/source_fields/cloudevents/traceparent") == "/traceparent"
    assert retold("/attributes/data/0/a", data=[{}], subject="crm_id:C-17") == "/data/0/a"
    assert retold("") == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["channel", "kind", "customer", "text", "x", "id"]), JSON) | JSON)
def test_any_data_is_mapped_or_refused_and_what_is_mapped_comes_back(data: Any) -> None:
    found = cloudevents.mapped(event(data=data, subject="crm_id:C-17"), read)
    if isinstance(found, Mapped):
        made = cloudevents.event(found.document, subject=None)
        if isinstance(data, dict) and cloudevents.is_body(data):
            assert made.pop("data") == {name: value for name, value in data.items() if value is not None}
        else:
            assert made.pop("data", None) == data
        assert made == {name: value for name, value in event(subject="crm_id:C-17").items() if name != "data"}
    else:
        assert found.problems
