"""A journey as CloudEvents: what is given, in which form, page by page."""

import httpx

from exchanges import Item, check_problem, journey_of, store
from support import Make, running

BATCH = "application/cloudevents-batch+json"
AS_EVENTS = {"Accept": BATCH}
JOURNEY = journey_of("email:anna@example.com")


async def events_at(client: httpx.AsyncClient, path: str = JOURNEY, **params: str) -> list[Item]:
    answer = await client.get(path, params=params, headers=AS_EVENTS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == BATCH
    events: list[Item] = answer.json()
    return events


async def test_an_interaction_is_given_as_an_event_of_percorsos_own(client: httpx.AsyncClient, make: Make) -> None:
    customer = {"cookie_id": "c", "email": "Anna@Example.com"}
    sent = make(id="a", kind="support_call", customer=customer, attributes={"n": 1.5, "a": ["è"]})
    await store(client, sent)
    [event] = await events_at(client)
    assert event == {
        "specversion": "1.0",
        "id": "a",
        "source": "test",
        "type": "percorso.interaction.phone.support_call",
        "time": sent["occurred_at"],
        "subject": "email:anna@example.com",
        "datacontenttype": "application/json",
        "data": {name: value for name, value in sent.items() if name not in {"source", "id", "occurred_at"}},
    }


async def test_a_journey_in_events_goes_into_another_percorso_and_is_the_same_there(
    client: httpx.AsyncClient, make: Make
) -> None:
    own = [make(id=f"a-{number}", kind="x") for number in range(3)]
    await store(client, *own)
    came: Item = {
        "specversion": "1.0",
        "id": "b",
        "source": "/b",
        "type": "a.chat.b",
        "subject": "email:anna@example.com",
    }
    came |= {"time": "2026-03-02T00:00:00Z", "sequence": 7, "data": {"what": "it was"}}
    answer = await client.post("/v1/cloudevents", json=came, headers={"Content-Type": "application/cloudevents+json"})
    assert answer.status_code == 201, answer.text
    events = await events_at(client)
    assert events[0] == came
    again = await client.post("/v1/cloudevents", json=events, headers={"Content-Type": BATCH})
    assert again.json()["duplicate"] == len(events) == 4


async def test_what_was_added_since_stands_in_the_data(client: httpx.AsyncClient, make: Make) -> None:
    [receipt] = await store(client, make())
    await client.patch(f"/v1/interactions/{receipt['interaction_id']}", json={"outcome": "answered"})
    [event] = await events_at(client)
    assert event["data"]["outcome"] == "answered"


async def test_pages_of_events_follow_the_link_and_hold_what_pages_of_json_hold(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, *(make(id=f"e-{number}") for number in range(5)))
    seen: list[str] = []
    path: str | None = f"{JOURNEY}?limit=2&channel=phone"
    while path is not None:
        answer = await client.get(path, headers=AS_EVENTS)
        seen += [event["id"] for event in answer.json()]
        path = answer.links.get("next", {}).get("url")
        assert len(answer.json()) == (1 if path is None else 2)
    assert seen == [f"e-{number}" for number in reversed(range(5))]


async def test_the_form_is_negotiated_and_caches_are_told_so(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    for accept, form in (
        (BATCH, BATCH),
        ("Application/CloudEvents-Batch+JSON", BATCH),
        (f"application/json;q=0.5, {BATCH}", BATCH),
        (f"application/json, {BATCH};q=0.5", "application/json"),
        (f"application/json, {BATCH}", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("application/cloudevents+json, */*;q=0.1", "application/json"),
    ):
        answer = await client.get(JOURNEY, headers={"Accept": accept})
        assert (answer.headers["content-type"], answer.headers["vary"]) == (form, "Accept"), accept
    document = check_problem(
        await client.get(JOURNEY, headers={"Accept": "application/cloudevents+json"}), 406, "not_acceptable"
    )
    assert document["offered"] == ["application/json", BATCH]
    check_problem(await client.get(journey_of("email:no@example.com"), headers=AS_EVENTS), 404, "unknown_customer")


async def test_each_form_has_an_etag_of_its_own(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(), make())
    first = await client.get(f"{JOURNEY}?limit=1", headers=AS_EVENTS)
    as_json = await client.get(f"{JOURNEY}?limit=1")
    assert first.headers["etag"] != as_json.headers["etag"]
    for accept, tag, status in (
        (BATCH, first.headers["etag"], 304),
        (BATCH, as_json.headers["etag"], 200),
        ("application/json", as_json.headers["etag"], 304),
        ("application/json", first.headers["etag"], 200),
    ):
        again = await client.get(f"{JOURNEY}?limit=1", headers={"Accept": accept, "If-None-Match": tag})
        assert again.status_code == status
        assert again.headers["vary"] == "Accept"
        assert "link" in again.headers


async def test_without_details_events_have_no_bulk_either(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(text="long", attributes={"a": 1}, details={"queue": "q"}, kind="x"))
    for number, data in enumerate(({"what": "long"}, {"customer": {"email": "anna@example.com"}, "text": "long"})):
        sent = {"specversion": "1.0", "id": f"e-{number}", "source": "/s", "type": "phone", "data": data}
        sent |= {"subject": "email:anna@example.com", "time": f"2026-03-02T00:00:0{number}Z", "sequence": 1}
        headers = {"Content-Type": "application/cloudevents+json"}
        assert (await client.post("/v1/cloudevents", json=sent, headers=headers)).status_code == 201
    body, foreign, own = await events_at(client, details="false")
    assert own["data"].keys() == {"channel", "customer", "kind"}
    assert "data" not in foreign
    assert body["data"] == {"customer": {"email": "anna@example.com"}}
    assert body["sequence"] == foreign["sequence"] == 1


async def test_an_identifier_that_other_settings_took_leaves_an_event_without_subject(
    database_url: str, make: Make
) -> None:
    async with running(database_url, default_region="IT") as (_, client):
        await store(client, make(customer={"phone": "06 6982", "cookie_id": "c"}))
    async with running(database_url) as (_, client):
        [event] = await events_at(client, journey_of("cookie_id:c"))
    assert "subject" not in event
    assert event["data"]["customer"] == {"phone": "06 6982", "cookie_id": "c"}
