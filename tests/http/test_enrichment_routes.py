"""One interaction by its id: read, enriched, its revisions, deleted."""

import asyncio
import gzip
import json
from uuid import uuid4

import asyncpg
import httpx

from exchanges import Item, check_problem, items_at, journey_of, pointers, store
from support import Make


async def stored_at(client: httpx.AsyncClient, item: Item) -> str:
    [receipt] = await store(client, item)
    return f"/v1/interactions/{receipt['interaction_id']}"


async def test_a_patch_is_merged_deeply_and_null_removes(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(
        text="before",
        topics=["a", "b"],
        sentiment={"score": -1, "label": "negative"},
        attributes={"keep": 1, "change": {"x": 1, "y": [1, 2]}, "remove": True},
    )
    path = await stored_at(client, sent)
    patch = {
        "text": None,
        "topics": ["c"],
        "sentiment": {"label": "mixed"},
        "attributes": {"change": {"y": [3], "z": None}, "remove": None, "new": {"n": None, "m": 2}},
        "resolution": "resolved",
    }
    answer = await client.patch(path, json=patch)
    assert answer.status_code == 200, answer.text
    enriched = answer.json()
    assert enriched["attributes"] == {"keep": 1, "change": {"x": 1, "y": [3]}, "new": {"m": 2}}
    assert enriched["sentiment"] == {"score": -1, "label": "mixed"}
    assert (enriched["topics"], enriched["resolution"]) == (["c"], "resolved")
    assert "text" not in enriched
    untouched = sent.keys() - patch.keys()
    assert {name: enriched[name] for name in untouched} == {name: sent[name] for name in untouched}
    assert (await client.get(path)).json() == enriched
    assert await items_at(client, journey_of("email:anna@example.com")) == [enriched]


async def test_every_earlier_version_stays_readable(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(attributes={"n": 0})
    path = await stored_at(client, sent)
    made = (await client.post("/v1/keys", json={"name": "agent desk", "scopes": ["write"]})).json()
    await client.patch(path, json={"attributes": {"n": 1}})
    await client.patch(path, json={"attributes": {"n": 2}}, headers={"Authorization": f"Bearer {made['key']}"})
    page = (await client.get(f"{path}/revisions")).json()
    assert page["next_cursor"] is None
    assert [each["revision"] for each in page["items"]] == [0, 1, 2]
    assert [each["interaction"]["attributes"]["n"] for each in page["items"]] == [0, 1, 2]
    assert page["items"][0]["interaction"] == sent
    assert [each["replaced_by"] for each in page["items"]] == ["bootstrap", "agent desk", None]
    moments = [each["replaced_at"] for each in page["items"]]
    assert moments[2] is None
    assert moments[0] <= moments[1]


async def test_a_patch_that_changes_nothing_makes_no_revision(client: httpx.AsyncClient, make: Make) -> None:
    path = await stored_at(client, make(attributes={"n": 1}))
    for patch in ({}, {"attributes": {"n": 1}}, {"text": None}, {"attributes": {"gone": None}}):
        assert (await client.patch(path, json=patch)).status_code == 200
    assert len((await client.get(f"{path}/revisions")).json()["items"]) == 1


async def test_what_may_not_be_changed_is_named_with_what_may(client: httpx.AsyncClient, make: Make) -> None:
    path = await stored_at(client, make())
    for name in (
        "source",
        "id",
        "occurred_at",
        "customer",
        "channel",
        "details",
        "kind",
        "interaction_id",
        "customer_id",
    ):
        document = check_problem(await client.patch(path, json={name: "x", "text": "t"}), 422, "invalid_request")
        assert pointers(document) == [f"/{name}"]
        assert "attributes" in document["errors"][0]["detail"]
    assert "text" not in (await client.get(path)).json()


async def test_a_patch_that_is_not_valid_is_pointed_at(client: httpx.AsyncClient, make: Make) -> None:
    path = await stored_at(client, make())
    for body, wrong in (
        (b'{"status": "done"}', ["/status"]),
        (b'{"sentiment": {"score": 7}}', ["/sentiment/score"]),
        (b'{"attributes": {"a": 1, "a": 2}}', ["/attributes/a"]),
        (b'{"attributes": {"a": NaN}}', None),
        (b'{"attributes": {"a": 1e400}}', ["/attributes/a"]),
        (b'{"attributes": {"a": "\\u0000"}}', ["/attributes/a"]),
        (b'{"text": "\\ud800"}', ["/text"]),
        (b"[]", [""]),
        (b"null", [""]),
        (b"", [""]),
        (b"{", [""]),
        (b'{"attributes": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", None),
        (b'{"text": "' + b"x" * 70_000 + b'"}', [""]),
    ):
        document = check_problem(await client.patch(path, content=body), 422, "invalid_request")
        assert wrong is None or pointers(document) == wrong, body[:50]
    assert len((await client.get(f"{path}/revisions")).json()["items"]) == 1


async def test_patches_may_not_add_up_to_too_large_an_interaction(client: httpx.AsyncClient, make: Make) -> None:
    path = await stored_at(client, make())
    assert (await client.patch(path, json={"attributes": {"a": "x" * 40_000}})).status_code == 200
    document = check_problem(await client.patch(path, json={"attributes": {"b": "x" * 40_000}}), 422, "invalid_request")
    assert "65536" in document["errors"][0]["detail"]
    assert (await client.get(path)).json()["attributes"].keys() == {"a"}


async def test_patches_at_the_same_time_are_all_kept(client: httpx.AsyncClient, make: Make) -> None:
    path = await stored_at(client, make())
    answers = await asyncio.gather(*(client.patch(path, json={"attributes": {f"n{n}": n}}) for n in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await client.get(path)).json()["attributes"] == {f"n{n}": n for n in range(20)}
    revisions = (await client.get(f"{path}/revisions")).json()["items"]
    assert [each["revision"] for each in revisions] == list(range(21))
    assert [len(each["interaction"].get("attributes", {})) for each in revisions] == list(range(21))


async def test_a_patch_may_be_compressed_and_by_either_name_and_nothing_else(
    client: httpx.AsyncClient, make: Make
) -> None:
    path = await stored_at(client, make())
    body = gzip.compress(json.dumps({"text": "t"}).encode())
    kind = {"Content-Type": "application/merge-patch+json"}
    assert (await client.patch(path, content=body, headers=kind | {"Content-Encoding": "gzip"})).status_code == 200
    check_problem(
        await client.patch(path, content=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported_encoding"
    )


async def test_an_enriched_interaction_sent_again_is_a_duplicate_of_what_it_was_and_of_what_it_is(
    client: httpx.AsyncClient, make: Make
) -> None:
    sent = make(text="one")
    path = await stored_at(client, sent)
    await client.patch(path, json={"text": "two"})
    assert (await client.post("/v1/interactions", json=sent)).status_code == 200
    assert (await client.post("/v1/interactions", json=sent | {"text": "three"})).status_code == 409


async def test_a_deleted_interaction_is_gone_everywhere(
    client: httpx.AsyncClient, make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    path = await stored_at(client, make(id="a", text="secret words"))
    await client.patch(path, json={"text": "other words"})
    answer = await client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    for gone in (client.get(path), client.get(f"{path}/revisions"), client.patch(path, json={}), client.delete(path)):
        check_problem(await gone, 404, "unknown_interaction")
    assert await items_at(client, "/v1/interactions", source="test", id="a") == []
    assert await items_at(client, journey_of("email:anna@example.com")) == []
    assert await items_at(client, "/v1/touchpoints/phone/interactions") == []
    for table in ("interactions", "interaction_revisions"):
        assert await database.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - names of this test


async def test_ids_that_name_nothing_are_told_from_those_that_are_none(client: httpx.AsyncClient) -> None:
    for path in (
        f"/v1/interactions/{uuid4()}",
        f"/v1/interactions/{'f' * 32}",
        f"/v1/interactions/{uuid4()}/revisions",
    ):
        check_problem(await client.get(path), 404, "unknown_interaction")
    document = check_problem(await client.get("/v1/interactions/call-8731"), 422, "invalid_request")
    assert pointers(document) == ["/path/interaction_id"]


async def test_an_interaction_has_an_etag(client: httpx.AsyncClient, make: Make) -> None:
    path = await stored_at(client, make())
    tag = (await client.get(path)).headers["etag"]
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 304
    await client.patch(path, json={"text": "t"})
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_a_search_by_sender_needs_both_source_and_id(client: httpx.AsyncClient) -> None:
    document = check_problem(await client.get("/v1/interactions"), 422, "invalid_request")
    assert sorted(pointers(document)) == ["/query/id", "/query/source"]
    document = check_problem(
        await client.get("/v1/interactions", params={"source": "x" * 129, "id": "y"}), 422, "invalid_request"
    )
    assert pointers(document) == ["/query/source"]
