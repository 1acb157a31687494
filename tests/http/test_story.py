"""A customer's story, as its senders tell it: stored, and given back in order with nothing lost."""

import json
import random
from typing import Any

import httpx
import pytest

from exchanges import NDJSON, ids_at, items_at, journey_of, store
from support import FIXTURES

Item = dict[str, Any]


def lines(name: str) -> list[Item]:
    return [json.loads(line) for line in (FIXTURES / name).read_text(encoding="utf-8").splitlines()]


STORY = lines("interactions.ndjson")
EVERY_CHANNEL = lines("every_channel.ndjson")
ADDED = {"interaction_id", "customer_id", "received_at"}

# Everything that ever said who she is leads to the whole story: the ends of a chain of links included.
NAMES = [
    "cookie_id:ck-5f0b7c1e",
    "social:instagram:anna.bianchi",
    "loyalty_id:L-884-2210",
    "email:anna.bianchi@example.com",
    "phone:+393471234567",
    "phone:+39029876543",
    "crm_id:C-20417",
    "customer_id:100417",
]


async def send(client: httpx.AsyncClient, items: list[Item], way: str) -> None:
    shuffled = random.Random(way).sample(items, len(items))
    if way == "one by one":
        await store(client, *shuffled)
        return
    body = "\n".join(json.dumps(item, ensure_ascii=False) for item in shuffled).encode()
    answer = await client.post("/v1/interactions/batch", content=body, headers=NDJSON)
    assert answer.json()["stored"] == len(items), answer.text


def assert_nothing_lost(found: list[Item], sent: list[Item]) -> None:
    assert [item["id"] for item in found] == [item["id"] for item in sent]
    for got, given in zip(found, sent, strict=True):
        assert got.keys() == given.keys() | ADDED
        assert {name: got[name] for name in given} == given


@pytest.mark.parametrize("way", ["one by one", "as one batch"])
async def test_a_story_told_out_of_order_is_one_customers_journey_in_order(client: httpx.AsyncClient, way: str) -> None:
    await send(client, STORY, way)
    path = journey_of("email:anna.bianchi@example.com")
    assert_nothing_lost(await items_at(client, path, order="asc"), STORY)
    newest_first = await items_at(client, path)
    assert_nothing_lost(newest_first, STORY[::-1])
    assert len({item["customer_id"] for item in newest_first}) == 1
    for name in NAMES:
        assert await ids_at(client, journey_of(name)) == [item["id"] for item in STORY[::-1]], name
    customer = (await client.get("/v1/customers/crm_id:C-20417")).json()
    assert customer["interactions"]["total"] == len(STORY)
    assert {f"{each['kind']}:{each['value']}" for each in customer["identifiers"]} >= set(NAMES)


@pytest.mark.parametrize("way", ["one by one", "as one batch"])
async def test_every_channel_comes_back_as_it_was_sent(client: httpx.AsyncClient, way: str) -> None:
    await send(client, EVERY_CHANNEL, way)
    path = journey_of("email:marco.rossi@example.com")
    assert_nothing_lost(await items_at(client, path, order="asc"), EVERY_CHANNEL)
    assert_nothing_lost(await items_at(client, path), EVERY_CHANNEL[::-1])
    counts = (await client.get("/v1/customers/email:marco.rossi@example.com")).json()["interactions"]
    assert counts == {"total": 23, "by_channel": {item["channel"]: 1 for item in EVERY_CHANNEL}}


async def test_each_interaction_of_a_story_is_found_by_its_id_and_by_its_senders(client: httpx.AsyncClient) -> None:
    for given, receipt in zip(STORY, await store(client, *STORY), strict=True):
        by_id = (await client.get(f"/v1/interactions/{receipt['interaction_id']}")).json()
        assert {name: by_id[name] for name in given} == given
        assert by_id["interaction_id"] == receipt["interaction_id"]
        assert by_id["received_at"] == receipt["received_at"]
        by_sender = await client.get("/v1/interactions", params={"source": given["source"], "id": given["id"]})
        assert by_sender.json()["items"] == [by_id]


async def test_identifiers_come_back_in_normal_form_and_in_the_shape_they_were_sent(client: httpx.AsyncClient) -> None:
    customer = {
        "email": [" Anna@EXAMPLE.com ", "anna@bücher.example"],
        "phone": "+39 06 6982",
        "social": "Instagram:@anna",
        "shop_id": " 17 ",
    }
    [receipt] = await store(client, {"source": "s", "id": "1", "channel": "phone", "customer": customer})
    got = (await client.get(f"/v1/interactions/{receipt['interaction_id']}")).json()
    assert got["customer"] == {
        "email": ["anna@example.com", "anna@xn--bcher-kva.example"],
        "phone": "+39066982",
        "social": "instagram:anna",
        "shop_id": "17",
    }
