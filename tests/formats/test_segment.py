"""What Segment's and RudderStack's calls mean as interactions."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percorso.errors import MalformedBody, RejectedInteraction
from percorso.formats import segment, segment_bodies
from percorso.formats.segment import Call
from percorso.formats.segment_bodies import Sent
from percorso.formats.segment_events import EVENTS, slug
from percorso.ingest.validate import parse

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = "2026-11-20T10:00:00.000Z"

Members = dict[str, Any]


def fits(kind: str, value: str) -> bool:
    return ("@" if kind == "email" else "+") in value


def convert(call: Any, **batch: Any) -> Call:
    sent = segment_bodies.read("batch", json.dumps({"batch": [call], **batch}).encode(), most=1)
    return segment.convert(sent.calls[0], sent, source="shop", received_at=NOW, fits=fits)


def interaction(call: Members, **batch: Any) -> Members:
    """The interaction that a call is, which must be valid."""
    document = convert({"type": "track", "messageId": "m", "userId": "anna", "event": "Done"} | call, **batch).document
    parse(document, now=NOW, max_future=timedelta(days=1), max_bytes=64 * 1024)
    made: Members = json.loads(document)
    return made


def web(**context: Any) -> Members:
    return {"library": {"name": "analytics.js"}, **context}


def test_whatever_has_no_place_of_its_own_stays_as_it_came() -> None:
    properties = {"a": 1.0, "b": [None, {"c": "ç"}]}
    call = {
        "type": "track", "messageId": "m", "userId": "anna", "anonymousId": "a", "event": "Done", "timestamp": AT,
        "properties": properties, "context": {"ip": "192.0.2.7"}, "integrations": {"All": True}, "version": 2,
        "unheard": {"of": []}, "nothing": None, "sentAt": "2026-11-20T12:00:00Z", "writeKey": "secret",
        "_metadata": {"bundled": ["x"], "retryCount": 3},
    }  # fmt: skip
    assert interaction(call) == {
        "source": "shop", "id": "m", "occurred_at": AT, "channel": "other", "kind": "done",
        "customer": {"user_id": "anna", "anonymous_id": "a"}, "attributes": properties,
        "source_fields": {
            "type": "track", "event": "Done", "context": {"ip": "192.0.2.7"}, "integrations": {"All": True},
            "version": 2, "unheard": {"of": []}, "_metadata": {"bundled": ["x"]},
        },
    }  # fmt: skip


def test_numbers_are_kept_digit_by_digit() -> None:
    numbers = b'{"n": 1.10, "m": 12345678901234567890123}'
    body = b'{"type": "track", "userId": 1, "event": "x", "properties": ' + numbers + b"}"
    sent = segment_bodies.read("track", body, most=1)
    made = segment.convert(sent.calls[0], sent, source="shop", received_at=NOW, fits=fits)
    assert numbers in made.document


@pytest.mark.parametrize(
    ("timestamps", "sent_at", "occurred_at"),
    [
        ({"timestamp": AT}, None, AT),
        ({"timestamp": AT}, "2026-11-20T12:00:00Z", AT),
        ({"timestamp": AT}, "2026-11-20T11:59:01Z", AT),
        ({"timestamp": AT}, "2026-11-20T12:00:05Z", AT),
        ({"timestamp": AT}, "2026-11-20T11:00:00Z", "2026-11-20T11:00:00.000Z"),
        ({"timestamp": AT}, "2026-11-20T12:00:30Z", "2026-11-20T09:59:30.000Z"),
        ({"timestamp": "2030-01-01T00:00:00Z"}, "2030-01-01T00:10:00Z", "2026-11-20T11:50:00.000Z"),
        ({"originalTimestamp": AT}, "2026-11-20T11:00:00Z", "2026-11-20T11:00:00.000Z"),
        ({"originalTimestamp": AT, "timestamp": "2026-11-19T10:00:00Z"}, None, "2026-11-19T10:00:00Z"),
        ({"timestamp": AT, "receivedAt": "2026-11-20T10:00:01Z"}, "2026-11-20T10:00:00Z", AT),
        ({"timestamp": "2026-11-20T11:00:00+0100"}, None, "2026-11-20T10:00:00.000Z"),
        ({"timestamp": "2026-11-20T10:00:00"}, None, "2026-11-20T10:00:00.000Z"),
        ({"timestamp": AT}, "no time", AT),
        ({}, "2026-11-20T11:00:00Z", None),
    ],
)  # fmt: skip
def test_the_time_is_the_sender_s_set_right_where_its_clock_is_wrong(
    timestamps: Members, sent_at: str | None, occurred_at: str | None
) -> None:
    assert interaction(timestamps, sentAt=sent_at).get("occurred_at") == occurred_at
    assert interaction(timestamps | ({"sentAt": sent_at} if sent_at else {})).get("occurred_at") == occurred_at


def test_a_time_that_was_set_right_says_so_and_keeps_the_sender_s_own() -> None:
    made = convert({"type": "track", "userId": "anna", "event": "x", "timestamp": AT}, sentAt="2026-11-20T11:00:00Z")
    assert made.estimated
    assert json.loads(made.document)["source_fields"]["timestamp"] == AT


@pytest.mark.parametrize(
    ("call", "channel"),
    [
        ({"context": web()}, "web"),
        ({"context": {"library": {"name": "@segment/analytics-next"}}}, "web"),
        ({"context": {"library": {"name": "RudderLabs JavaScript SDK"}}}, "web"),
        ({"context": {"library": {"name": "analytics-ios"}}}, "app"),
        ({"context": {"library": {"name": "com.rudderstack.android.sdk.core"}}}, "app"),
        ({"context": {"library": {"name": "analytics-python"}}}, "other"),
        ({"context": {"library": {"name": "analytics-node"}, "page": {"url": "https://shop.example/"}}}, "web"),
        ({"context": {"library": {"name": "analytics-node"}, "device": {"type": "ios"}}}, "app"),
        ({"context": {"userAgent": "Mozilla/5.0"}}, "web"),
        ({"channel": "mobile", "context": web()}, "app"),
        ({"context": {"channel": "web", "library": {"name": "analytics-ruby"}}}, "web"),
        ({"type": "identify", "context": web()}, "web"),
        ({"type": "page"}, "web"),
        ({"type": "screen", "context": web()}, "app"),
        ({}, "other"),
        ({"channel": 7, "context": {"library": "analytics.js"}}, "other"),
    ],
)
def test_the_channel_is_where_the_client_is(call: Members, channel: str) -> None:
    assert interaction(call)["channel"] == channel


@pytest.mark.parametrize(
    ("event", "channel", "more"),
    [
        ("Product Viewed", "web", {"function": "marketing"}),
        ("Checkout Started", "web", {"function": "sales"}),
        ("Email Opened", "email", {"outcome": "opened"}),
        ("Email Link Clicked", "email", {"outcome": "clicked"}),
        ("Email Marked as Spam", "email", {"outcome": "complained"}),
        ("Unsubscribed", "email", {"outcome": "unsubscribed", "direction": "inbound"}),
        ("Live Chat Conversation Started", "chat", {"function": "service", "status": "open"}),
        ("Live Chat Message Received", "chat", {"direction": "outbound"}),
        ("Application Opened", "app", {}),
        ("Push Notification Tapped", "app", {"outcome": "clicked"}),
        ("order_completed", "web", {"outcome": "purchased"}),
        ("Signed Up", "web", {}),
    ],
)  # fmt: skip
def test_events_of_the_specifications_have_their_channel(event: str, channel: str, more: Members) -> None:
    made = interaction({"event": event, "context": web()})
    assert made["channel"] == channel
    assert made["kind"] == slug(event)
    assert more.items() <= made.items()


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_valid_whatever_its_properties_are(name: str) -> None:
    named = (
        "order_id", "total", "currency", "products", "email_id", "email_subject", "link_url", "list_id", "site",
        "campaign_name", "conversation_id", "conversation_duration", "agent_id", "message_body", "rating",
        "review_body",
    )  # fmt: skip
    parts = ("page", "campaign", "device", "os", "app", "integration", "traits", "locale", "sessionId")
    for value in (None, "", "x", 7, -1, 2.5, True, [], [1], {}, {"a": 1}, "x" * 900):
        within = dict.fromkeys(("name", "url", "type", "version", "source"), value)
        for context in (dict.fromkeys(parts, value), dict.fromkeys(parts, within)):
            properties = dict.fromkeys(named, value)
            assert interaction({"event": name, "properties": properties, "context": context})["kind"] == name


def test_an_order_is_a_purchase_with_its_lines() -> None:
    properties = {
        "order_id": 2041, "revenue": 20, "total": 25.5, "currency": "EUR",
        "products": [{"sku": "A", "quantity": 2, "price": 10}, {"product_id": "B", "price": "free"}, "C"],
    }  # fmt: skip
    made = interaction({"event": "Order Completed", "properties": properties, "context": web()})
    assert (made["channel"], made["kind"], made["outcome"]) == ("purchase", "order_completed", "purchased")
    assert made["details"] == {
        "order_id": "2041", "status": "placed", "total": {"amount": 25.5, "currency": "EUR"},
        "items": [{"sku": "A", "quantity": 2, "price": 10}, {"sku": "B"}, {}],
    }  # fmt: skip
    assert made["attributes"] == properties
    refunded = interaction({"event": "Order Refunded", "properties": {"order_id": "A", "currency": "euro"}})
    assert refunded["details"] == {"order_id": "A", "status": "refunded"}


def test_mail_chat_and_reviews_tell_what_they_can() -> None:
    mail = {"email_id": "e-1", "email_subject": "News", "campaign_name": "spring", "link_url": "https://shop.example/"}
    made = interaction({"event": "Email Link Clicked", "properties": mail})
    assert made["campaign"] == "spring"
    assert made["details"] == {
        "event": "clicked", "subject": "News", "message_id": "e-1", "link_url": "https://shop.example/",
    }  # fmt: skip
    chat = {"conversation_id": "c-9", "agent_id": 12, "message_body": "Hello", "conversation_duration": 30}
    made = interaction({"event": "Live Chat Message Sent", "properties": chat})
    assert (made["conversation"], made["agent"], made["text"]) == ("c-9", "12", "Hello")
    assert made["details"] == {"duration_seconds": 30}
    review = {"rating": 4, "review_body": "Good"}
    page = {"page": {"url": "https://reviews.example/p/1"}}
    made = interaction({"event": "Product Reviewed", "properties": review, "context": page})
    assert (made["channel"], made["text"]) == ("review", "Good")
    assert made["details"] == {
        "site": "reviews.example", "url": "https://reviews.example/p/1", "rating": {"value": 4},
    }  # fmt: skip


def test_a_page_has_its_details_from_its_properties_and_else_from_its_context() -> None:
    context = web(
        page={"url": "https://shop.example/?a=1", "title": "Other"}, locale="it_IT", sessionId=1700000000,
        campaign={"name": "spring", "source": "mail", "medium": "newsletter"},
        device={"type": "phone"}, os={"name": "iOS", "version": "18"}, app={"version": "1.2"},
    )  # fmt: skip
    call = {"type": "page", "name": "Home", "properties": {"title": "Shop", "path": "/"}, "context": context}
    made = interaction(call)
    assert (made["kind"], made["language"], made["campaign"]) == ("page_viewed", "it-IT", "spring")
    assert made["details"] == {
        "url": "https://shop.example/?a=1", "path": "/", "title": "Shop", "name": "Home", "session_id": "1700000000",
        "device": "phone", "os": "iOS 18", "app_version": "1.2",
        "utm": {"campaign": "spring", "source": "mail", "medium": "newsletter"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "customer"),
    [
        ({"userId": 97980}, {"user_id": "97980"}),
        ({"userId": None, "anonymousId": "a"}, {"anonymous_id": "a"}),
        ({"userId": " ", "anonymousId": "a"}, {"anonymous_id": "a"}),
        ({"context": {"traits": {"email": "a@b.example"}}}, {"user_id": "anna", "email": "a@b.example"}),
        ({"context": {"traits": {"email": "none", "phone": 7}}}, {"user_id": "anna"}),
        ({"traits": {"email": "a@b.example"}}, {"user_id": "anna"}),
        ({"type": "identify", "traits": {"phone": "+39066982"}}, {"user_id": "anna", "phone": "+39066982"}),
        ({"type": "group", "traits": {"email": "a@b.example"}}, {"user_id": "anna"}),
        ({"type": "alias", "previousId": "p"}, {"user_id": ["anna", "p"], "anonymous_id": "p"}),
        ({"type": "alias", "previousId": "p", "anonymousId": "p"}, {"user_id": "anna", "anonymous_id": "p"}),
        (
            {"type": "alias", "previousId": "p", "anonymousId": "a"},
            {"user_id": ["anna", "p"], "anonymous_id": ["a", "p"]},
        ),
        ({"type": "alias", "previousId": "anna"}, {"user_id": "anna", "anonymous_id": "anna"}),
    ],
)
def test_who_it_was_is_read_of_identifiers_and_of_traits(call: Members, customer: Members) -> None:
    assert interaction(call)["customer"] == customer


@pytest.mark.parametrize(
    ("call", "pointer"),
    [
        ({"userId": None}, ""),
        ({"userId": True}, "/userId"),
        ({"userId": 1.5}, "/userId"),
        ({"anonymousId": []}, "/anonymousId"),
        ({"messageId": 1.5}, "/messageId"),
        ({"messageId": False}, "/messageId"),
        ({"messageId": {}}, "/messageId"),
        ({"event": None}, "/event"),
        ({"event": 7}, "/event"),
        ({"type": "merge"}, "/type"),
        ({"type": ["track"]}, "/type"),
        ({"timestamp": 1700000000000}, "/timestamp"),
        ({"timestamp": "2026-02-30T10:00:00Z"}, "/timestamp"),
        ({"originalTimestamp": "x"}, "/originalTimestamp"),
        ({"timestamp": "9999-12-31T23:59:59Z", "sentAt": "2026-11-20T11:00:00Z"}, "/timestamp"),
        ({"type": "alias"}, "/previousId"),
        ({"type": "alias", "previousId": "p", "userId": None, "anonymousId": "a"}, "/userId"),
    ],
)
def test_what_is_no_call_is_pointed_at(call: Members, pointer: str) -> None:
    with pytest.raises(RejectedInteraction) as refused:
        interaction(call)
    assert [problem.pointer for problem in refused.value.problems] == [pointer]


def test_what_a_batch_says_of_all_fills_up_what_its_calls_do_not_say() -> None:
    defaults = {"context": {"ip": "192.0.2.7", "locale": "it-IT"}, "integrations": {"All": False}}
    made = interaction({"context": {"locale": "en"}, "integrations": None}, **defaults)
    assert made["language"] == "en"
    assert made["source_fields"]["context"] == {"ip": "192.0.2.7", "locale": "en"}
    assert made["source_fields"]["integrations"] == {"All": False}
    assert interaction({}, **defaults)["language"] == "it-IT"
    assert interaction({}, context="of no use")["source_fields"] == {"type": "track", "event": "Done"}


def test_traits_have_names_that_traits_can_have() -> None:
    traits = {"firstName": "A", "first_name": "B", "createdAt": 1, "E-Mail": 2, "città": 3, "日本": 4, "gone": None}
    assert convert({"type": "identify", "userId": "anna", "traits": traits}).traits == {
        "first_name": "B", "created_at": 1, "e-mail": 2, "citta": 3, "gone": None,
    }  # fmt: skip
    both = {"type": "identify", "userId": "anna", "context": {"traits": {"a": 1, "b": 1}}, "traits": {"b": 2}}
    assert convert(both).traits == {"a": 1, "b": 2}
    group = {"type": "group", "userId": "anna", "groupId": "g-1", "traits": {"name": "Acme"}}
    assert convert(group).traits == {"group_name": "Acme", "group_id": "g-1"}
    assert convert({"type": "track", "userId": "anna", "event": "x", "traits": {"a": 1}}).traits == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Order Completed", "order_completed"), ("orderCompleted", "order_completed"), ("  Città!! ", "citta"),
        ("日本", ""), ("a" * 80, "a" * 64), ("Product-Viewed.v2", "product-viewed.v2"), ("__x__", "x"),
    ],
)  # fmt: skip
def test_a_name_becomes_a_slug(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_an_event_whose_name_has_no_slug_is_a_track() -> None:
    made = interaction({"event": "日本"})
    assert (made["kind"], made["source_fields"]["event"]) == ("track", "日本")


def test_what_is_kept_of_a_call_does_not_hold_the_key() -> None:
    assert json.loads(segment_bodies.received(b'{"writeKey": "secret", "a": [1]}', Sent([]))) == {"a": [1]}
    for other in (b'["\\"writeKey\\"", "writeKey"]', b'{"a": 1}', b'"writeKey"', b"{"):
        assert segment_bodies.received(other, Sent([])) == other


def test_what_is_kept_of_a_call_says_by_itself_what_its_request_said_of_it() -> None:
    context = {"locale": "it-IT", "page": {"path": "/"}}
    own: dict[str, Any] = {"userId": "u", "context": {"locale": "en"}, "event": 7}
    sent = Sent([], "track", NOW, {"context": context, "integrations": {"All": True}})
    kept = json.loads(segment_bodies.received(json.dumps(own).encode(), sent))
    told = {"type": "track", "sentAt": "2026-11-20T12:00:00.000Z", "context": context | own["context"]}
    assert kept == own | told | {"integrations": {"All": True}}
    for other in (b"7", b"[]", b"{"):
        assert segment_bodies.received(other, sent) == other


def test_a_number_that_json_has_not_fails_its_call_and_not_the_batch() -> None:
    body = json.dumps(
        {"writeKey": "k", "sentAt": AT, "batch": [{"a": 1}, {"a": float("nan"), "writeKey": "k"}, {"b": 2}]}
    )
    assert segment_bodies.write_key_of(body.encode()) == "k"
    sent = segment_bodies.read("batch", body.encode(), most=3)
    assert [sent.calls[0], sent.calls[2]] == [b'{"a": 1}', b'{"b": 2}']
    assert sent.sent_at is not None
    with pytest.raises(RejectedInteraction):
        segment.convert(sent.calls[1], sent, source="shop", received_at=NOW, fits=fits)
    assert segment_bodies.received(sent.calls[1], sent) == b'{"a": NaN}'


def test_the_key_is_read_of_a_body_if_it_is_there() -> None:
    assert segment_bodies.write_key_of(b'{"batch": [7], "writeKey": "k"}') == "k"
    for body in (b"", b"{", b"[]", b"{}", b'{"writeKey": 7}', b'{"writeKey": null}', b"[" * 100_000):
        assert segment_bodies.write_key_of(body) is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


_documents = st.binary() | _json.map(lambda each: json.dumps(each).encode())
_NAMES = ("userId", "anonymousId", "previousId", "event", "timestamp", "properties", "traits", "_metadata")
_contexts = st.dictionaries(st.sampled_from(["traits", "page", "os", "library", "campaign", "locale"]), _json)
_calls = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page", "screen", "group", "alias"]) | _json},
    optional={**dict.fromkeys(_NAMES, _json), "context": _contexts},
)


@given(name=st.sampled_from([*segment_bodies.BATCHES, *segment_bodies.CALLS]), body=_documents)
def test_any_body_is_read_or_refused(name: str, body: bytes) -> None:
    with suppress(MalformedBody):
        assert len(segment_bodies.read(name, body, most=5).calls) <= 5


@given(call=_calls)
def test_any_call_is_an_interaction_or_refused(call: Members) -> None:
    with suppress(RejectedInteraction):
        assert json.loads(convert(call).document)["source"] == "shop"
