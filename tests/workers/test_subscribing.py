"""Subscriptions are told the feed in order, until they take it; what they do not take is kept, and can be replayed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from exchanges import Item, check_problem, pointers, store, store_all
from feeding import page, read
from listening import Listener, listening
from percorso.http import subscriptions
from percorso.http.services import Services
from percorso.storage import feed_subscriptions, partitions
from percorso.storage.database import writing
from percorso.workers import callbacks
from percorso.workers.subscribing import Pusher
from support import Make, running
from writing import Database

PATH = "/v1/subscriptions"
Pushing = tuple[Services, httpx.AsyncClient]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as made:
        yield made


@pytest.fixture
async def pushing(database_url: str) -> AsyncIterator[Pushing]:
    async with running(database_url, allow_private_callbacks=True) as (app, client):
        yield app.state.services, client


async def push(services: Services) -> None:
    """Push all that can be pushed now."""
    pusher = Pusher(services.engine, services.settings, subscriptions.reader(services))
    while await pusher.run():
        pass


async def subscribe(client: httpx.AsyncClient, url: str, **members: Any) -> Item:
    answer = await client.post(PATH, json={"url": url} | members)
    assert answer.status_code == 201, answer.text
    made: Item = answer.json()
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    return made


async def state(client: httpx.AsyncClient, made: Item) -> Item:
    found: Item = (await client.get(f"{PATH}/{made['id']}")).json()
    return found


async def due_now(database: Database) -> None:
    await database.execute("UPDATE subscriptions SET next_at = now()")
    await database.execute("UPDATE dead_letters SET next_at = now() WHERE next_at IS NOT NULL")


async def test_each_event_is_delivered_once_in_the_order_of_the_feed_and_signed(
    pushing: Pushing, listener: Listener, make: Make
) -> None:
    services, client = pushing
    await store(client, make(id="before"))
    made = await subscribe(client, listener.url, name="CRM")
    [receipt] = await store(client, make())
    await store_all(client, [make() for _ in range(30)])
    await client.patch(f"/v1/interactions/{receipt['interaction_id']}", json={"text": "new"})
    await client.put("/v1/customers/email:anna@example.com/traits", json={"traits": {"city": "Milano"}})
    assert (await state(client, made))["lag_seconds"] > 0
    await push(services)
    feed = await read(client, made["after"])
    assert [each["data"] for each in listener.events] == feed
    assert len(feed) == 33
    for (headers, body), item in zip(listener.taken, feed, strict=True):
        Webhook(made["secret"]).verify(body, headers)
        assert headers["webhook-id"] == item["id"]
        assert headers["host"] == httpx.URL(listener.url).netloc.decode()
    assert {(each["type"], each["timestamp"]) for each in listener.events} == {
        (item["event"], item["at"]) for item in feed
    }
    await push(services)
    assert len(listener.taken) == 33
    shown = await state(client, made)
    assert (shown["state"], shown["lag_seconds"], shown["failures"]) == ("active", 0.0, 0)
    assert shown["last_taken_at"] is not None
    assert "secret" not in shown


async def test_it_is_told_of_what_it_asked_for_alone(pushing: Pushing, listener: Listener, make: Make) -> None:
    services, client = pushing
    filter_ = {"channel": ["phone"], "customer": ["email:anna@example.com"]}
    made = await subscribe(client, listener.url, events=["interaction.stored"], filter=filter_)
    assert (made["events"], made["filter"]) == (["interaction.stored"], filter_)
    [receipt, *_] = await store(
        client, make(id="a"), make(channel="web"), make(customer={"email": "beppe@example.com"})
    )
    await client.patch(f"/v1/interactions/{receipt['interaction_id']}", json={"text": "new"})
    await push(services)
    assert listener.ids == ["a"]
    assert (await state(client, made))["lag_seconds"] == 0
    changed = await client.patch(f"{PATH}/{made['id']}", json={"filter": {"channel": ["web"]}, "events": []})
    assert (changed.json()["events"], changed.json()["filter"]) == ([], {"channel": ["web"]})
    await store(client, make(id="b"), make(id="c", channel="web"))
    await push(services)
    assert listener.ids == ["a", "c"]


async def test_where_nothing_happens_nothing_is_written(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    await subscribe(client, listener.url)
    await store(client, make())
    await push(services)
    before = await database.fetchval("SELECT xmin::text FROM subscriptions")
    await database.execute("SELECT pg_current_xact_id()")
    for _ in range(3):
        await push(services)
    assert await database.fetchval("SELECT xmin::text FROM subscriptions") == before


async def test_a_subscriber_that_fails_is_tried_again_later_with_the_same_event_before_what_comes_next(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store(client, *(make() for _ in range(3)))
    listener.answers = [204, 503, 429]
    await push(services)
    await push(services)
    assert listener.ids == ["event-1", "event-2"]
    shown = await state(client, made)
    assert (shown["state"], shown["failures"]) == ("failing", 1)
    assert shown["next_try_at"] > shown["failing_since"]
    await due_now(database)
    await push(services)
    assert (await state(client, made))["failures"] == 2
    await due_now(database)
    await push(services)
    assert listener.ids == ["event-1", "event-2", "event-2", "event-2", "event-3"]
    assert len({headers["webhook-id"] for headers, _ in listener.taken[1:4]}) == 1
    shown = await state(client, made)
    assert (shown["state"], shown["failures"], shown["failing_since"]) == ("active", 0, None)


async def test_one_that_cannot_be_reached_keeps_nobody_else_waiting(
    pushing: Pushing, listener: Listener, make: Make
) -> None:
    services, client = pushing
    away = await subscribe(client, "http://127.0.0.1:1/")
    await subscribe(client, listener.url)
    await store(client, make())
    await push(services)
    assert listener.ids == ["event-1"]
    assert (await state(client, away))["state"] == "failing"


async def test_what_is_refused_is_set_aside_tried_again_and_given_up_after_a_day_and_can_be_replayed(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store(client, make(id="a"), make(id="poison"), make(id="b"))
    listener.refuses = "poison"
    await push(services)
    assert listener.ids == ["a", "poison", "b"]
    shown = await state(client, made)
    assert (shown["state"], shown["set_aside"], shown["dead_letters"]) == ("active", 1, 0)
    await due_now(database)
    await push(services)
    assert listener.ids == ["a", "poison", "b", "poison"]
    letters = f"{PATH}/{made['id']}/dead-letters"
    [letter] = (await client.get(letters)).json()["items"]
    assert (letter["status"], letter["tries"], letter["event"]) == (422, 2, "interaction.stored")
    assert letter["next_at"] is not None
    await database.execute(
        "UPDATE dead_letters SET first_failed_at = first_failed_at - $1::interval", timedelta(hours=25)
    )
    await due_now(database)
    await push(services)
    [letter] = (await client.get(letters)).json()["items"]
    assert letter["next_at"] is None
    assert (await state(client, made))["dead_letters"] == 1
    [item] = (await page(client, letter["before"], limit=1))["items"]
    assert (item["id"], item["interaction"]["id"]) == (letter["id"], "poison")
    await due_now(database)
    await push(services)
    assert len(listener.taken) == 5
    listener.refuses = ""
    answer = await client.post(f"{PATH}/{made['id']}/replay", json={"dead_letters": True})
    assert answer.json() == {"dead_letters": 1, "after": None}
    await push(services)
    assert listener.ids[5:] == ["poison"]
    assert listener.taken[5][0]["webhook-id"] == letter["id"]
    assert (await client.get(letters)).json()["items"] == []


async def test_one_that_is_answered_5xx_again_and_again_does_not_hold_back_all_others(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store(client, make(id="poison"), make(id="b"))
    listener.answers = [500] * 8
    for _ in range(8):
        await due_now(database)
        await push(services)
    assert listener.ids == ["poison"] * 8
    assert (await state(client, made))["set_aside"] == 1
    await database.execute("UPDATE subscriptions SET next_at = now()")
    await push(services)
    assert listener.ids == ["poison"] * 8 + ["b"]
    assert (await state(client, made))["state"] == "active"


async def test_what_waited_for_a_day_for_one_that_failed_as_long_becomes_dead_letters(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store_all(client, [make() for _ in range(7)])
    await store(client, make(id="young"))
    listener.usual = 500
    await push(services)
    await database.execute("UPDATE subscriptions SET failing_since = now() - interval '25 hours'")
    async with writing(services.engine) as session:
        await partitions.ensure_days(session, [datetime.now(UTC) - timedelta(hours=25)])
    await database.execute("UPDATE commits SET at = at - interval '25 hours' WHERE cardinality(interaction_ids) = 7")
    await due_now(database)
    await push(services)
    shown = await state(client, made)
    assert (shown["dead_letters"], shown["state"]) == (7, "failing")
    assert len(listener.taken) == 2
    listener.usual = 204
    await due_now(database)
    await push(services)
    assert listener.ids[2:] == ["young"]
    await client.post(f"{PATH}/{made['id']}/replay", json={"dead_letters": True})
    await push(services)
    assert sorted(listener.ids[3:]) == [f"event-{n}" for n in range(1, 8)]


async def test_one_that_takes_too_little_is_paused_and_loses_nothing(
    pushing: Pushing, listener: Listener, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_subscriptions, "MOST_LETTERS", 2)
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store(client, *(make() for _ in range(4)))
    listener.usual = 400
    await push(services)
    shown = await state(client, made)
    assert (shown["state"], shown["paused"], shown["set_aside"]) == ("paused", "full", 2)
    listener.usual = 204
    listener.taken.clear()
    await push(services)
    assert listener.taken == []
    assert (await client.patch(f"{PATH}/{made['id']}", json={"paused": False})).json()["state"] == "active"
    await push(services)
    assert listener.ids == ["event-3", "event-4"]


async def test_it_is_paused_and_goes_on_where_it_was_and_410_pauses_it_too(
    pushing: Pushing, listener: Listener, make: Make
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    path = f"{PATH}/{made['id']}"
    assert (await client.patch(path, json={"paused": True})).json()["paused"] == "by_hand"
    await store(client, make(id="a"))
    await push(services)
    assert listener.taken == []
    await client.patch(path, json={"paused": False, "name": "other"})
    listener.answers = [410]
    await push(services)
    shown = await state(client, made)
    assert (shown["paused"], shown["name"]) == ("gone", "other")
    await push(services)
    await client.patch(path, json={"paused": False})
    await push(services)
    assert listener.ids == ["a", "a"]


async def test_it_is_replayed_from_a_cursor(pushing: Pushing, listener: Listener, make: Make) -> None:
    services, client = pushing
    await store(client, make(id="old"))
    made = await subscribe(client, listener.url)
    await store(client, make(id="a"), make(id="b"))
    await push(services)
    [first, _] = listener.events
    replay = f"{PATH}/{made['id']}/replay"
    assert (await client.post(replay, json={"after": first["data"]["cursor"]})).status_code == 200
    await push(services)
    assert listener.ids == ["a", "b", "b"]
    await client.post(replay, json={"after": "oldest"})
    await push(services)
    assert listener.ids[3:] == ["old", "a", "b"]
    await client.post(replay, json={"after": made["after"]})
    await client.post(replay, json={"after": "now"})
    await push(services)
    assert len(listener.taken) == 6
    for body, pointer in (
        ({}, ""),
        ({"after": "now", "dead_letters": True}, ""),
        ({"after": "x"}, "/after"),
        ({"more": 1}, "/more"),
    ):
        assert pointers(check_problem(await client.post(replay, json=body), 422, "invalid_request")) == [pointer]


async def test_a_replay_while_it_is_told_something_is_not_undone(
    pushing: Pushing, listener: Listener, make: Make
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store(client, *(make() for _ in range(30)))

    async def replay() -> None:
        await listener.told.wait()
        await client.post(f"{PATH}/{made['id']}/replay", json={"after": made["after"]})

    await asyncio.gather(push(services), replay())
    await push(services)
    ids = [f"event-{n}" for n in range(1, 31)]
    assert listener.ids[-30:] == ids
    assert len(listener.taken) > 30


async def test_a_rotated_secret_signs_beside_the_one_before_for_a_while(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    rotated = (await client.post(f"{PATH}/{made['id']}/rotate-secret", json={"overlap_hours": 1})).json()
    assert rotated["secret"] != made["secret"]
    await store(client, make())
    await push(services)
    headers, body = listener.taken[0]
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(body, headers)
    await database.execute("UPDATE subscriptions SET earlier_until = now()")
    await store(client, make())
    await push(services)
    headers, body = listener.taken[1]
    Webhook(rotated["secret"]).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body, headers)
    assert (await client.post(f"{PATH}/{made['id']}/rotate-secret")).status_code == 200


async def test_a_test_is_posted_at_once_and_says_what_came_of_it(pushing: Pushing, listener: Listener) -> None:
    _, client = pushing
    made = await subscribe(client, listener.url)
    path = f"{PATH}/{made['id']}/test"
    assert (await client.post(path)).json() == {"taken": True, "status": 204}
    listener.usual = 500
    assert (await client.post(path)).json() == {"taken": False, "status": 500}
    assert listener.events[0]["type"] == "subscription.test"
    headers, body = listener.taken[0]
    Webhook(made["secret"]).verify(body, headers)
    await client.patch(f"{PATH}/{made['id']}", json={"url": "http://127.0.0.1:1/"})
    assert (await client.post(path)).json() == {"taken": False, "status": None}


async def test_a_key_sees_its_own_and_they_end_with_it(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    mine = await subscribe(client, listener.url)
    key = (await client.post("/v1/keys", json={"name": "crm", "scopes": ["read"]})).json()
    headers = {"Authorization": f"Bearer {key['key']}"}
    theirs = (await client.post(PATH, json={"url": listener.url}, headers=headers)).json()
    assert [each["id"] for each in (await client.get(PATH, headers=headers)).json()["items"]] == [theirs["id"]]
    assert [each["id"] for each in (await client.get(PATH)).json()["items"]] == [mine["id"], theirs["id"]]
    there = f"{PATH}/{mine['id']}"
    for method, path in (
        ("GET", there), ("PATCH", there), ("DELETE", there), ("POST", f"{there}/test"),
        ("POST", f"{there}/rotate-secret"), ("GET", f"{there}/dead-letters"), ("POST", f"{there}/replay"),
    ):  # fmt: skip
        body = None if method == "GET" else {"after": "now"} if path.endswith("replay") else {}
        check_problem(await client.request(method, path, headers=headers, json=body), 404, "not_found")
    await client.delete(f"/v1/keys/{key['id']}")
    await store(client, make())
    await push(services)
    assert len(listener.taken) == 1
    assert (await client.delete(there)).status_code == 204
    assert (await client.delete(there)).status_code == 404
    assert await database.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_what_a_subscription_cannot_be_is_pointed_at(client: httpx.AsyncClient) -> None:
    good = {"url": "https://8.8.8.8/"}
    for body, pointer in (
        ({}, "/url"),
        ({"url": "http://127.0.0.1/"}, "/url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "/url"),
        ({"url": "ftp://8.8.8.8/"}, "/url"),
        (good | {"events": ["interaction.eaten"]}, "/events/0"),
        (good | {"filter": {"channel": ["pigeon"]}}, "/filter/channel/0"),
        (good | {"filter": {"colour": ["red"]}}, "/filter/colour"),
        (good | {"filter": {"customer": ["anna"]}}, "/filter/customer/0"),
        (good | {"after": "yesterday"}, "/after"),
        (good | {"secret": "mine"}, "/secret"),
    ):
        assert pointers(check_problem(await client.post(PATH, json=body), 422, "invalid_request")) == [pointer], body
    made = (await client.post(PATH, json=good)).json()
    for body, pointer in (({"url": "http://10.0.0.1/"}, "/url"), ({"url": ""}, "/url"), ({"paused": "x"}, "/paused")):
        answer = await client.patch(f"{PATH}/{made['id']}", json=body)
        assert pointers(check_problem(answer, 422, "invalid_request")) == [pointer], body
    assert len((await client.get(PATH)).json()["items"]) == 1


async def test_a_key_has_so_many_subscriptions_at_most(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_subscriptions, "MOST_OF_A_KEY", 2)
    for status in (201, 201, 422):
        assert (await client.post(PATH, json={"url": "https://8.8.8.8/"})).status_code == status


async def test_a_name_that_leads_into_a_private_network_only_when_it_is_called_is_not_called(
    database_url: str, listener: Listener, make: Make, database: Database
) -> None:
    async with running(database_url) as (app, client):
        made = await subscribe(client, "https://8.8.8.8/")
        await database.execute("UPDATE subscriptions SET callback = $1", listener.url)
        await store(client, make())
        await push(app.state.services)
        assert listener.taken == []
        assert (await state(client, made))["state"] == "failing"


@pytest.mark.parametrize("who", ["email:Anna@example.com", "crm_id:16", "its id"])
async def test_a_subscription_to_who_is_erased_ends_and_others_stay(
    pushing: Pushing, listener: Listener, make: Make, who: str
) -> None:
    services, client = pushing
    [receipt] = await store(client, make(text="secret", customer={"email": "anna@example.com", "crm_id": "16"}))
    other = await subscribe(client, listener.url, filter={"customer": ["email:joanna@example.com", "crm_id:167"]})
    everyone = await subscribe(client, listener.url, after="oldest")
    await subscribe(client, listener.url, filter={"customer": [receipt["customer_id"] if who == "its id" else who]})
    assert (await client.delete("/v1/customers/email:anna@example.com")).status_code == 200
    left = [each["id"] for each in (await client.get(PATH)).json()["items"]]
    assert left == [other["id"], everyone["id"]]
    await push(services)
    assert len(listener.taken) > 1
    assert all(b"secret" not in body and b"anna" not in body for _, body in listener.taken)


async def test_one_whose_place_is_no_longer_kept_is_paused_and_says_so(
    pushing: Pushing, listener: Listener, make: Make, database: Database
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store(client, make(id="a"))
    await database.execute("INSERT INTO commit_floor (generation, xid8) SELECT generation, xid8 FROM commits")
    await database.execute("DELETE FROM commits")
    await store(client, make(id="b"))
    await push(services)
    assert (await state(client, made))["paused"] == "expired"
    gone = await client.post(f"{PATH}/{made['id']}/replay", json={"after": made["after"]})
    check_problem(gone, 410, "cursor_gone")
    await client.post(f"{PATH}/{made['id']}/replay", json={"after": "oldest"})
    await push(services)
    assert listener.ids == ["b"]


async def test_a_service_pushes_by_itself(database_url: str, listener: Listener, make: Make) -> None:
    async with running(database_url, allow_private_callbacks=True, background_workers=True) as (_, client):
        await subscribe(client, listener.url)
        await store(client, make(id="a"))
        await asyncio.wait_for(listener.told.wait(), 30)
    assert listener.ids == ["a"]


async def test_two_that_push_at_once_leave_it_where_it_must_be(
    pushing: Pushing, listener: Listener, make: Make
) -> None:
    services, client = pushing
    made = await subscribe(client, listener.url)
    await store(client, *(make() for _ in range(30)))
    await asyncio.gather(*(push(services) for _ in range(3)))
    await push(services)
    assert set(listener.ids) == {f"event-{n}" for n in range(1, 31)}
    assert (await state(client, made))["lag_seconds"] == 0


def test_what_an_answer_means() -> None:
    answer = callbacks.Answer.of
    assert {answer(status) for status in (200, 202, 204)} == {callbacks.Answer.TAKEN}
    assert {answer(status) for status in (None, 302, 408, 425, 429, 500, 503)} == {callbacks.Answer.FAILED}
    assert {answer(status) for status in (400, 401, 404, 422)} == {callbacks.Answer.REFUSED}
    assert answer(410) is callbacks.Answer.GONE
