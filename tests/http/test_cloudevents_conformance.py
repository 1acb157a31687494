"""The published conformance scenarios of CloudEvents: those of the HTTP binding, and the events of the JSON format.

Each is told here in percorso's words: what is parsed is stored, and given back as the event it was. An interaction is
with somebody, and the published events are about nobody: each has a subject here that names a customer.
"""

import json
from typing import Any

import httpx
import pytest

from exchanges import Item, check_problem, journey_of, pointers

PATH = "/v1/cloudevents"
BATCH = "application/cloudevents-batch+json"
SUBJECT = "email:anna@example.com"
HELLO = {"message": "Hello World!"}
ATTRIBUTES = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "time": "2018-04-05T03:56:24Z",
    "id": "1234-1234-1234",
    "source": "/mycontext/subcontext",
    "subject": SUBJECT,
}


async def given_back(client: httpx.AsyncClient) -> list[Item]:
    """The customer's journey, as events."""
    answer = await client.get(journey_of(SUBJECT), headers={"Accept": BATCH})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == BATCH
    events: list[Item] = answer.json()
    return events


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
async def test_binary_content_mode(client: httpx.AsyncClient, content_type: str) -> None:
    headers = {f"ce-{name}": value for name, value in ATTRIBUTES.items()} | {"Content-Type": content_type}
    answer = await client.post(PATH, content=b'{\n    "message": "Hello World!"\n}', headers=headers)
    assert answer.status_code == 201, answer.text
    assert await given_back(client) == [ATTRIBUTES | {"datacontenttype": content_type, "data": HELLO}]


@pytest.mark.parametrize(
    "content_type", ["application/cloudevents+json", "application/cloudevents+json; charset=utf-8"]
)
async def test_structured_content_mode(client: httpx.AsyncClient, content_type: str) -> None:
    event = ATTRIBUTES | {"datacontenttype": "application/json", "data": HELLO}
    answer = await client.post(
        PATH, content=json.dumps(event, indent=4).encode(), headers={"Content-Type": content_type}
    )
    assert answer.status_code == 201, answer.text
    assert await given_back(client) == [event]


@pytest.mark.parametrize("content_type", [BATCH, f"{BATCH}; charset=utf-8"])
async def test_batched_content_mode(client: httpx.AsyncClient, content_type: str) -> None:
    batch = [
        ATTRIBUTES | {"datacontenttype": "application/json", "data": HELLO},
        ATTRIBUTES | {"id": "2", "time": "2018-04-05T03:56:25Z"},
    ]
    answer = await client.post(PATH, content=json.dumps(batch).encode(), headers={"Content-Type": content_type})
    assert answer.json()["stored"] == 2
    assert await given_back(client) == batch[::-1]


def event(**members: Any) -> Item:
    """The smallest event of the JSON format's scenarios, which a test adds to; None leaves a member out."""
    usual = {
        "specversion": "1.0",
        "id": "invalid",
        "type": "io.cloudevents.test",
        "source": "https://cloudevents.io",
        "subject": SUBJECT,
    }
    return {name: value for name, value in (usual | members).items() if value is not None}


VALID: dict[str, Item] = {
    "minimal": event(),
    "null for what is optional": event() | dict.fromkeys(["datacontenttype", "dataschema", "time", "data"]),
    "all core attributes": event(
        datacontenttype="text/plain", dataschema="https://cloudevents.io/dataschema", time="2018-04-05T17:31:00Z"
    ),
    "time in UTC": event(time="2018-04-05T17:31:00Z"),
    "time to nanoseconds": event(time="2018-04-05T17:31:00.000000000Z"),
    "time with a positive offset": event(time="2018-04-05T18:31:00+01:00"),
    "time with a negative offset": event(time="2018-04-05T16:31:00-01:00"),
    "relative source": event(source="#fragment"),
    "simple text": event(datacontenttype="text/plain", data="Simple text"),
    "extensions of all types": event(
        extinteger=10,
        extboolean=True,
        extstring="text",
        exturi="https://cloudevents.io",
        exturiref="//authority/path",
        exttimestamp="2023-03-31T15:12:00Z",
        extbinary="TWE=",
    ),
}


@pytest.mark.parametrize("valid", VALID.values(), ids=VALID)
async def test_a_valid_event_is_stored_and_given_back(client: httpx.AsyncClient, valid: Item) -> None:
    answer = await client.post(PATH, json=valid, headers={"Content-Type": "application/cloudevents+json"})
    assert answer.status_code == 201, answer.text
    [given] = await given_back(client)
    if valid.get("time") is None:
        assert given.pop("time") == answer.json()["received_at"]
    assert given == {name: value for name, value in valid.items() if value is not None}


INVALID: dict[str, tuple[Item, str]] = {
    "no specversion": (event(specversion=None), "/specversion"),
    "no id": (event(id=None), "/id"),
    "no type": (event(type=None), "/type"),
    "no source": (event(source=None), "/source"),
    "garbage as time": (event(time="lunchtime"), "/time"),
    "time to the minute": (event(time="2018-04-05T18:31Z"), "/time"),
    "offset X": (event(time="2018-04-05T18:31:00X"), "/time"),
    "offset out of range": (event(time="2018-04-05T18:31:00+25:00"), "/time"),
    "offset of letters": (event(time="2018-04-05T18:31:00+xx:00"), "/time"),
    "offset of hours only": (event(time="2018-04-05T18:31:00+05"), "/time"),
    "empty id": (event(id=""), "/id"),
    "empty type": (event(type=""), "/type"),
    "empty source": (event(source=""), "/source"),
    "empty specversion": (event(specversion=""), "/specversion"),
    "unknown specversion": (event(specversion="0.9"), "/specversion"),
    "no media type": (event(datacontenttype="xyz"), "/datacontenttype"),
    "empty media type": (event(datacontenttype=""), "/datacontenttype"),
    "empty schema": (event(dataschema=""), "/dataschema"),
    "empty subject": (event(subject=""), "/subject"),
    "a number as id": (event(id=25), "/id"),
    "an object as id": (event(id={"xyz": "abc"}), "/id"),
    "capitals in an extension's name": (event(MyExtension="bad"), "/MyExtension"),
    "a dot in an extension's name": (event(**{"my.extension": "bad"}), "/my.extension"),
    "a fraction as extension": (event(myextension=1.5), "/myextension"),
    "both data and data_base64": (event(data="text", data_base64="eyAieHl6IjogMTIzIH0="), "/data_base64"),
}


@pytest.mark.parametrize(("invalid", "wrong"), INVALID.values(), ids=INVALID)
async def test_an_invalid_event_is_refused_where_it_is_wrong(
    client: httpx.AsyncClient, invalid: Item, wrong: str
) -> None:
    answer = await client.post(PATH, json=invalid, headers={"Content-Type": "application/cloudevents+json"})
    assert pointers(check_problem(answer, 422, "rejected")) == [wrong]


@pytest.mark.parametrize(
    ("batch", "stored"),
    [
        ([event(id="minimal1"), event(id="minimal2", specversion="0.9")], 1),
        ([event(id=None)], 0),
        (["not an object", event(id="minimal1")], 1),
    ],
    ids=["mixed versions", "an invalid event", "no object"],
)
async def test_of_an_invalid_batch_only_what_is_invalid_is_refused(
    client: httpx.AsyncClient, batch: list[Any], stored: int
) -> None:
    answer = await client.post(PATH, json=batch, headers={"Content-Type": BATCH})
    receipt = answer.json()
    assert (receipt["stored"], receipt["rejected"]) == (stored, 1)
