"""Subscribers of the hub are told of what was committed, in order, until they take it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from standardwebhooks import Webhook

from exchanges import Item, store
from percorso.http.services import Services
from percorso.workers import announcing, callbacks, delivering
from percorso.workers.announcing import Announcer
from percorso.workers.delivering import Deliverer
from support import Make, running
from writing import Database

ROOT = "/tmf-api/partyInteraction/v4"
RESOURCE: Item = {"channel": [{"id": "support-line"}], "direction": "inbound", "reason": "question", "status": "opened"}


@dataclass
class Listener:
    """A subscriber: what it was sent, and the statuses that it answers, one after the other; then 201."""

    url: str = ""
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[Item]:
        return [json.loads(body) for _, body in self.taken]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode() if not reader.at_eof() else "":
            lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
            headers = {name.lower(): value for name, _, value in lines}
            body = await reader.readexactly(int(headers["content-length"]))
            self.taken.append((headers, body))
            self.told.set()
            status = self.answers.pop(0) if self.answers else 201
            location = "Location: http://127.0.0.1:1/\r\n" if status == 302 else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            break
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/listener?a=1"
    async with server:
        yield listener


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as made:
        yield made


@pytest.fixture
async def told(database_url: str) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    async with running(database_url, allow_private_callbacks=True) as (app, client):
        yield app.state.services, client


async def announce(services: Services) -> None:
    announcer = Announcer(services.engine, generation=services.deployment.generation)
    while await announcer.run():
        pass


async def deliver(services: Services) -> None:
    payloads = {announcing.PROTOCOL: announcing.payload(services.settings)}
    while await Deliverer(services.engine, services.settings, payloads).run():
        pass


async def work(services: Services) -> None:
    await announce(services)
    await deliver(services)


async def subscribe(client: httpx.AsyncClient, callback: str, query: str | None = None) -> Item:
    answer = await client.post(f"{ROOT}/hub", json={"callback": callback, "query": query})
    assert answer.status_code == 201, answer.text
    made: Item = answer.json()
    assert answer.headers["location"] == f"{ROOT}/hub/{made['id']}"
    return made


async def create(client: httpx.AsyncClient, **members: Any) -> Item:
    made: Item = (await client.post(f"{ROOT}/partyInteraction", json=RESOURCE | members)).json()
    return made


async def due_now(database: Database) -> None:
    await database.execute("UPDATE subscriptions SET next_at = now()")


async def test_every_kind_of_event_is_delivered_in_order_and_signed(
    told: tuple[Services, httpx.AsyncClient], listener: Listener, make: Make, database: Database
) -> None:
    services, client = told
    await create(client, note=[{"text": "before anyone wanted to know"}])
    hub = await subscribe(client, listener.url)
    assert hub["callback"] == listener.url
    made = await create(client, ofTheirOwn={"a": [1]})
    [native] = await store(client, make(text="sent natively"))
    await client.patch(made["href"], json={"status": "completed"})
    changed = (await client.patch(made["href"], json={"description": "more", "status": "failed"})).json()
    await client.delete(f"/v1/interactions/{native['interaction_id']}")
    await work(services)
    short = "PartyInteraction{}Event".format
    assert [(each["eventType"], each["event"]["partyInteraction"]["id"]) for each in listener.events] == [
        (short("Create"), made["id"]),
        (short("StatusChange"), made["id"]),
        (short("AttributeValueChange"), made["id"]),
        (short("StatusChange"), made["id"]),
        (short("Delete"), native["interaction_id"]),
    ]
    assert listener.events[0]["event"]["partyInteraction"] == made
    assert listener.events[1]["event"]["partyInteraction"]["status"] == "completed"
    assert listener.events[2]["event"]["partyInteraction"] == changed
    for headers, body in listener.taken:
        Webhook(hub["secret"]).verify(body, headers)
        assert headers["webhook-id"] == json.loads(body)["eventId"]
        assert headers["host"] == httpx.URL(listener.url).netloc.decode()
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 0
    await work(services)
    assert len(listener.taken) == 5


async def test_a_subscription_is_told_what_it_asked_for_alone(
    told: tuple[Services, httpx.AsyncClient], listener: Listener
) -> None:
    services, client = told
    await subscribe(client, listener.url, "eventType=PartyInteractionCreateEvent&channel.id=shop")
    await create(client)
    made = await create(client, channel=[{"id": "shop"}])
    await client.patch(made["href"], json={"status": "completed"})
    await work(services)
    assert [each["event"]["partyInteraction"]["id"] for each in listener.events] == [made["id"]]


async def test_what_is_not_taken_is_delivered_again_under_the_same_id_before_what_came_later(
    told: tuple[Services, httpx.AsyncClient], listener: Listener, database: Database
) -> None:
    services, client = told
    await subscribe(client, listener.url)
    made = [(await create(client))["id"] for _ in range(2)]
    listener.answers = [500, 302]
    await work(services)
    await work(services)
    assert len(listener.taken) == 1
    await due_now(database)
    await work(services)
    assert len(listener.taken) == 2
    assert await database.fetchval("SELECT failures FROM subscriptions") == 2
    await due_now(database)
    await work(services)
    assert [each["event"]["partyInteraction"]["id"] for each in listener.events] == [made[0], made[0], *made]
    assert len({headers["webhook-id"] for headers, _ in listener.taken[:3]}) == 1
    assert await database.fetchval("SELECT failures FROM subscriptions") == 0


async def test_one_that_answers_nothing_does_not_keep_others_waiting(
    told: tuple[Services, httpx.AsyncClient], listener: Listener
) -> None:
    services, client = told
    await subscribe(client, "http://127.0.0.1:1/")
    await subscribe(client, listener.url)
    await create(client)
    await work(services)
    assert len(listener.taken) == 1


async def test_what_is_refused_again_and_again_or_too_old_is_given_up(
    told: tuple[Services, httpx.AsyncClient], listener: Listener, database: Database
) -> None:
    services, client = told
    await subscribe(client, listener.url)
    made = [(await create(client))["id"] for _ in range(2)]
    listener.answers = [422] * 6
    await announce(services)
    for _ in range(6):
        await due_now(database)
        await deliver(services)
    assert [each["event"]["partyInteraction"]["id"] for each in listener.events] == [made[0]] * 6 + [made[1]]
    await create(client)
    await announce(services)
    await database.execute("UPDATE deliveries SET at = at - $1::interval", timedelta(days=4))
    await deliver(services)
    assert len(listener.taken) == 7
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 0


async def test_a_subscription_ends_by_the_subscriber_by_410_and_with_its_key(
    told: tuple[Services, httpx.AsyncClient], listener: Listener, database: Database
) -> None:
    services, client = told
    hub = await subscribe(client, listener.url)
    await create(client)
    await announce(services)
    assert (await client.delete(f"{ROOT}/hub/{hub['id']}")).status_code == 204
    assert (await client.delete(f"{ROOT}/hub/{hub['id']}")).status_code == 404
    await subscribe(client, listener.url)
    await create(client)
    listener.answers = [410]
    await work(services)
    assert len(listener.taken) == 1
    key = (await client.post("/v1/keys", json={"name": "crm", "scopes": ["read"]})).json()
    bearer = {"Authorization": f"Bearer {key['key']}"}
    other = await subscribe(client, listener.url)
    assert (await client.delete(f"{ROOT}/hub/{other['id']}", headers=bearer)).status_code == 404
    await client.delete(f"{ROOT}/hub/{other['id']}")
    assert (await client.post(f"{ROOT}/hub", json={"callback": listener.url}, headers=bearer)).status_code == 201
    await create(client)
    await announce(services)
    await client.delete(f"/v1/keys/{key['id']}")
    await work(services)
    assert len(listener.taken) == 1
    assert await database.fetchval("SELECT count(*) FROM subscriptions") == 0
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 0


@pytest.mark.parametrize("erasure", ["delete", "anonymise"])
async def test_nothing_of_who_was_erased_is_told(
    database_url: str, listener: Listener, make: Make, erasure: str
) -> None:
    async with running(database_url, allow_private_callbacks=True, erasure=erasure) as (app, client):
        services = app.state.services
        await subscribe(client, listener.url)
        [receipt] = await store(client, make(text="secret"))
        await announce(services)
        assert (await client.delete("/v1/customers/email:anna@example.com")).status_code == 200
        await work(services)
    assert [each["eventType"] for each in listener.events] == ["PartyInteractionDeleteEvent"]
    assert listener.events[0]["event"]["partyInteraction"]["id"] == receipt["interaction_id"]
    assert all(b"secret" not in body and b"anna" not in body for _, body in listener.taken)


async def test_a_subscription_that_asks_for_who_is_erased_ends(
    told: tuple[Services, httpx.AsyncClient], listener: Listener, make: Make, database: Database
) -> None:
    services, client = told
    theirs = (
        "relatedParty.id=email%3AAnna%40example.com",
        "eventType=PartyInteractionCreateEvent&x=of anna@example.com",
        "event.partyInteraction.relatedParty.id=16",
    )
    others = ("relatedParty.id=email:joanna@example.com", "direction=inbound&count=16", "relatedParty.id=167", None)
    for query in (*theirs, *others):
        await subscribe(client, listener.url, query)
    await store(client, make(customer={"email": "anna@example.com", "customer_id": "16"}))
    await announce(services)
    erased = await client.delete("/v1/customers/email:anna@example.com")
    assert erased.json()["found"]["subscriptions"] == 3, erased.text
    left = await database.fetchval("SELECT array_agg(query ORDER BY created_at) FROM subscriptions")
    assert left == list(others)
    assert await database.fetchval(
        "SELECT count(*) FROM deliveries WHERE subscription_id NOT IN (SELECT subscription_id FROM subscriptions)"
    ) == 0  # fmt: skip


async def test_a_service_delivers_by_itself(database_url: str, listener: Listener) -> None:
    async with running(database_url, allow_private_callbacks=True, background_workers=True) as (_, client):
        await subscribe(client, listener.url)
        made = await create(client)
        await asyncio.wait_for(listener.told.wait(), 30)
    assert [each["event"]["partyInteraction"] for each in listener.events] == [made]


async def test_two_that_announce_at_once_put_each_event_down_once(
    told: tuple[Services, httpx.AsyncClient], listener: Listener, database: Database
) -> None:
    services, client = told
    await subscribe(client, listener.url)
    for _ in range(5):
        await create(client)
    await asyncio.gather(*(announce(services) for _ in range(3)))
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 5


@pytest.mark.parametrize(
    "callback",
    [
        "http://127.0.0.1:9/", "http://localhost/", "http://[::1]/", "http://10.0.0.1/", "http://192.168.1.1/",
        "http://169.254.169.254/latest", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/", "http://[fd00::1]/",
        "http://[64:ff9b::7f00:1]/", "http://100.64.0.1/", "http://224.0.0.1/", "http://2130706433/",
        "ftp://example.com/", "file:///etc/passwd", "not a url", "http://", "http://user:pw@8.8.8.8/",
        "http://[::1", "http://no-such-host.invalid/", "http://8.8.8.8:99999/",
    ],
)  # fmt: skip
async def test_a_callback_that_is_not_called_is_refused(client: httpx.AsyncClient, callback: str) -> None:
    answer = await client.post(f"{ROOT}/hub", json={"callback": callback})
    assert answer.status_code == 400, answer.text
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/callback"]


async def test_a_public_callback_is_taken_and_a_query_that_names_no_event_is_not(client: httpx.AsyncClient) -> None:
    await subscribe(client, "https://8.8.8.8/listener")
    for query in ("eventType=Nothing", "creationDate.gt=2026", "sort=a"):
        answer = await client.post(f"{ROOT}/hub", json={"callback": "https://8.8.8.8/", "query": query})
        assert answer.status_code == 400, answer.text
    for body in (b"{", b"[]", b"{}", b'{"callback": 3}'):
        assert (await client.post(f"{ROOT}/hub", content=body)).json()["status"] == "400"


async def test_a_name_that_leads_elsewhere_when_it_is_called_is_not_called(listener: Listener) -> None:
    async with callbacks.client() as client:
        with pytest.raises(callbacks.NotCalled):
            await callbacks.call(client, listener.url, b"{}", id_="a", secret="whsec_YWJj", private=False)
    assert listener.taken == []


def test_pauses_grow_to_a_bound() -> None:
    pauses = [delivering.pause_after(failures) for failures in range(40)]
    assert 4 < pauses[0] < 6
    assert 9 < pauses[1] < 11.1
    assert max(pauses) < 3961


async def test_deliveries_are_dropped_with_the_database_row_of_whom_they_are_about(
    told: tuple[Services, httpx.AsyncClient], listener: Listener, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    services, client = told
    await subscribe(client, listener.url)
    made = await create(client, relatedParty=[{"id": "16", "role": "customer"}])
    await announce(services)
    exported = (await client.get("/v1/customers/customer_id:16/export")).text
    assert made["id"] in exported
    await client.delete("/v1/customers/customer_id:16")
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 0
