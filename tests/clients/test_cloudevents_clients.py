"""CloudEvents of the official SDKs, from PyPI and npm, unmodified, against a running service."""

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings import http as binding
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import conversion
from cloudevents.v1.http import CloudEvent as OlderCloudEvent

from exchanges import Item, Served, journey_of, serving_at
from support import KEY

HERE = Path(__file__).parent
NODE = Path(sys.executable).with_name("node")
BATCH = "application/cloudevents-batch+json"
SUBJECT = "email:anna@example.com"
AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
PNG = bytes((0x89, 0x50, 0x4E, 0x47))
BODY = {"customer": {"email": "anna@example.com"}, "details": {"message_count": 7}, "text": "così"}

GIVEN: dict[str, tuple[Item, Any]] = {
    "body": (
        {
            "type": "com.example.chat.sales_chat",
            "datacontenttype": "application/json",
            "dataschema": "https://example.com/chat.json",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
        BODY,
    ),
    "object": ({"type": "com.example.order.created"}, {"order": 7, "lines": [1.5, None]}),
    "text": ({"type": "com.example.email.received", "datacontenttype": "text/plain"}, "hello"),
    "xml": ({"type": "com.example.mail.sent", "datacontenttype": "application/xml"}, "<letter/>"),
    "bytes": ({"type": "com.example.fax.received", "datacontenttype": "image/png"}, PNG),
    "nothing": ({"type": "com.example.phone.missed_call"}, None),
}
CHANNELS = {
    "body": ("chat", "sales_chat"),
    "object": ("other", "com.example.order.created"),
    "text": ("email", "received"),
    "xml": ("mail", "sent"),
    "bytes": ("fax", "received"),
    "nothing": ("phone", "missed_call"),
}


def ask(served: Served, path: str, **headers: str) -> Any:
    answer = httpx.get(served.url + path, headers={"Authorization": f"Bearer {KEY}"} | headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def check_journey(served: Served, source: str) -> dict[str, Item]:
    """Every event is there, once and right, and comes back as it was; the events by id."""
    interactions = {item["id"]: item for item in ask(served, journey_of(SUBJECT))["items"] if item["source"] == source}
    assert {name: (item["channel"], item["kind"]) for name, item in interactions.items()} == CHANNELS
    assert interactions["body"]["details"] == BODY["details"]
    assert interactions["body"]["text"] == BODY["text"]
    listed = [event for event in ask(served, journey_of(SUBJECT), Accept=BATCH) if event["source"] == source]
    events: dict[str, Item] = {event["id"]: event for event in listed}
    assert len(events) == len(listed) == len(GIVEN)
    for name, (attributes, data) in GIVEN.items():
        event = events[name]
        assert datetime.fromisoformat(event["time"]) == AT
        assert event["subject"] == SUBJECT
        # npm's SDK says of all that its sender says nothing of that it is JSON.
        assert {key: event[key] for key in attributes if key != "datacontenttype" or name != "text"} == {
            key: attributes[key] for key in attributes if key != "datacontenttype" or name != "text"
        }
        if isinstance(data, bytes):
            assert base64.b64decode(event["data_base64"]) == data
        else:
            assert event.get("data") == data
    return events


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Any:
    with serving_at(database_url, tmp_path) as service:
        yield service


def post(served: Served, headers: dict[str, str], body: bytes | str) -> httpx.Response:
    return httpx.post(
        f"{served.url}/v1/cloudevents", headers=headers | {"Authorization": f"Bearer {KEY}"}, content=body
    )


@pytest.mark.parametrize("first", ["binary", "structured"])
def test_events_of_the_pypi_sdk_are_stored_once_in_either_mode(served: Served, first: str) -> None:
    modes = {"binary": binding.to_binary_event, "structured": binding.to_structured_event}
    second = "binary" if first == "structured" else "structured"
    for mode, status in ((first, 201), (second, 200)):
        for name, (attributes, data) in GIVEN.items():
            common = {"id": name, "source": "/pypi", "time": AT, "subject": SUBJECT}
            message = modes[mode](CloudEvent(attributes=common | attributes, data=data))
            answer = post(served, message.headers, message.body)
            assert answer.status_code == status, (name, answer.text)
    events = check_journey(served, "/pypi")
    assert events["text"]["datacontenttype"] == "text/plain"


def test_events_of_the_pypi_sdks_older_interface_are_stored_once_in_either_mode(served: Served) -> None:
    for convert, status in ((conversion.to_binary, 201), (conversion.to_structured, 200)):
        for name, (attributes, data) in GIVEN.items():
            common = {"id": name, "source": "/older", "time": AT.isoformat(), "subject": SUBJECT}
            event = OlderCloudEvent(common | attributes, data)
            # Unless it is told otherwise, in binary mode it makes a JSON string of every text.
            as_it_is = isinstance(data, str) and convert is conversion.to_binary
            headers, body = convert(event, str.encode if as_it_is else None)
            answer = post(served, headers, body or b"")
            assert answer.status_code == status, (name, answer.text)
    check_journey(served, "/older")


def test_a_page_of_events_is_read_by_the_pypi_sdk(served: Served) -> None:
    sent: Item = {"source": "crm", "id": "a", "channel": "phone", "kind": "support_call", "occurred_at": AT.isoformat()}
    sent |= {"customer": {"email": "anna@example.com"}}
    httpx.post(f"{served.url}/v1/interactions", json=sent, headers={"Authorization": f"Bearer {KEY}"})
    [event] = ask(served, journey_of(SUBJECT), Accept=BATCH)
    headers = {"content-type": "application/cloudevents+json"}
    read = binding.from_structured_event(binding.HTTPMessage(headers, json.dumps(event).encode()))
    assert (read.get_source(), read.get_id(), read.get_time(), read.get_subject()) == ("crm", "a", AT, SUBJECT)
    assert read.get_type() == "percorso.interaction.phone.support_call"
    assert read.get_data() == {"channel": "phone", "kind": "support_call", "customer": sent["customer"]}


def emitted(served: Served, mode: str) -> list[Item]:
    """What the service answers to the events of the npm SDK."""
    done = subprocess.run(
        [NODE, HERE / "cloudevents.mjs", f"{served.url}/v1/cloudevents", KEY, mode],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("first", ["binary", "structured", "batch"])
def test_events_of_the_npm_sdk_are_stored_once_in_every_mode(served: Served, first: str) -> None:
    for mode in (first, "binary", "structured", "batch"):
        wanted = "stored" if mode == first and not ask(served, "/v1/touchpoints")["items"] else "duplicate"
        answers = emitted(served, mode)
        if mode == "batch":
            assert answers[0][wanted] == len(GIVEN), answers
        else:
            assert [answer.get("status") for answer in answers] == [wanted] * len(GIVEN), answers
    check_journey(served, "/npm")
