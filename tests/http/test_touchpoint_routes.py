"""Touchpoints: the registry, and what happened at each."""

import httpx

from exchanges import check_problem, ids_at, items_at, pointers, store, store_all, walk
from support import Make

SAID = {
    "channel": "phone",
    "name": "Support line",
    "function": "service",
    "stage": "service",
    "owner": "Contact centre",
    "location": "Milano",
}


async def test_an_interaction_discovers_its_touchpoint_and_a_hand_describes_it(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, make(channel="email", touchpoint="support-line"))
    found = (await client.get("/v1/touchpoints/support-line")).json()
    assert found["discovered"] is True
    assert (found["channel"], found["name"]) == ("email", None)
    answer = await client.put("/v1/touchpoints/support-line", json=SAID)
    assert answer.status_code == 200
    described = answer.json()
    assert {name: described[name] for name in SAID} == SAID
    assert described["discovered"] is False
    assert described["created_at"] == found["created_at"]
    assert described["updated_at"] > found["updated_at"]
    now = described | {"asked_for": "support-line", "changes": []}
    assert (await client.get("/v1/touchpoints/support-line")).json() == now
    await store(client, make(channel="email", touchpoint="support-line"))
    assert (await client.get("/v1/touchpoints/support-line")).json() == now


async def test_a_touchpoint_may_be_described_before_anything_happens_there(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/touchpoints/milano-01/shelf-4b", json={"name": "Shelf"})
    assert answer.status_code == 201
    assert answer.json()["slug"] == "milano-01/shelf-4b"
    assert await items_at(client, "/v1/touchpoints/milano-01/shelf-4b/interactions") == []


async def test_what_is_left_out_of_a_description_is_no_longer_said(client: httpx.AsyncClient) -> None:
    await client.put("/v1/touchpoints/a", json=SAID)
    again = (await client.put("/v1/touchpoints/a", json={"name": "A"})).json()
    assert {name: again[name] for name in SAID} == dict.fromkeys(SAID) | {"name": "A"}


async def test_a_slug_may_hold_slashes_encoded_or_not_even_the_name_of_a_route(
    client: httpx.AsyncClient, make: Make
) -> None:
    slugs = ["milano-01/shelf-4b", "a/interactions", "x:y.z_0", "a//b"]
    for slug in slugs:
        await store(client, make(id=slug, touchpoint=slug))
        encoded = slug.replace("/", "%2f")
        assert (await client.get(f"/v1/touchpoints/{encoded}")).json()["slug"] == slug
        assert await ids_at(client, f"/v1/touchpoints/{encoded}/interactions") == [slug]
        assert (await client.put(f"/v1/touchpoints/{encoded}", json={})).json()["slug"] == slug
    assert (await client.get("/v1/touchpoints/milano-01/shelf-4b")).json()["slug"] == "milano-01/shelf-4b"
    assert [item["slug"] for item in await items_at(client, "/v1/touchpoints")] == slugs


async def test_what_cannot_be_a_slug_or_a_description_is_pointed_at(client: httpx.AsyncClient) -> None:
    for slug in ("Support", "-x", "a b", "ü", "x" * 129, "%0A", "a%0A", "a%0Ab"):
        document = check_problem(await client.put(f"/v1/touchpoints/{slug}", json={}), 422, "invalid_request")
        assert pointers(document) == ["/path/slug"], slug
    for body, wrong in (
        ({"channel": "fone"}, ["/channel"]),
        ({"stage": 1}, ["/stage"]),
        ({"name": 1}, ["/name"]),
        ({"name": "x" * 257}, ["/name"]),
        ({"a/b~": 1}, ["/a~1b~0"]),
        ({"slug": "other"}, ["/slug"]),
        ([], [""]),
    ):
        document = check_problem(await client.put("/v1/touchpoints/a", json=body), 422, "invalid_request")
        assert pointers(document) == wrong
    for raw in (b"", b"{", b'{"name": "\\u0000"}', b'{"name": "a", "name": "b"}', b"\xff"):
        check_problem(await client.put("/v1/touchpoints/a", content=raw), 422, "malformed_body")
    assert await items_at(client, "/v1/touchpoints") == []


async def test_the_registry_is_paged_in_the_order_of_registration(client: httpx.AsyncClient) -> None:
    slugs = [f"t-{number}" for number in (3, 1, 4, 15, 9, 2, 6)]
    for slug in slugs:
        await client.put(f"/v1/touchpoints/{slug}", json={})
    pages = walk(client, "/v1/touchpoints", limit=3)
    seen = [item["slug"] for item in await anext(pages)]
    await client.put("/v1/touchpoints/late", json={})
    async for page in pages:
        seen += [item["slug"] for item in page]
    assert seen == [*slugs, "late"]


async def test_a_forged_cursor_of_the_registry_is_refused(client: httpx.AsyncClient) -> None:
    for cursor in ("CGFiY2RlZmdodG91Y2hwb2ludHM", "AHRvdWNocG9pbnRz", "x"):
        for sort in ("registered", "interactions"):
            answer = await client.get("/v1/touchpoints", params={"cursor": cursor, "sort": sort})
            assert pointers(check_problem(answer, 422, "invalid_request")) == ["/query/cursor"]
    highest = "BP____90b3VjaHBvaW50cw"
    assert await items_at(client, "/v1/touchpoints", sort="registered", cursor=highest) == []


async def test_the_interactions_of_a_touchpoint_are_filtered_ordered_and_paged(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store_all(
        client,
        [
            make(
                id=f"i-{number}",
                touchpoint=["shop", "line"][number % 2],
                kind=["a", "b"][number // 6],
                customer={"email": f"c{number}@example.com"},
                text="t",
            )
            for number in range(12)
        ],
    )
    path = "/v1/touchpoints/shop/interactions"
    assert await ids_at(client, path) == ["i-10", "i-8", "i-6", "i-4", "i-2", "i-0"]
    assert await ids_at(client, path, kind="a", order="asc") == ["i-0", "i-2", "i-4"]
    assert await ids_at(client, path, channel="web") == []
    for order in ("asc", "desc"):
        pages = [[item["id"] for item in page] async for page in walk(client, path, limit=2, order=order, kind="b")]
        assert pages == ([["i-6", "i-8"], ["i-10"]] if order == "asc" else [["i-10", "i-8"], ["i-6"]])
    [item] = await items_at(client, path, limit=1, details="false")
    assert "text" not in item
    customer = (await client.get("/v1/customers/email:c10@example.com")).json()
    assert item["customer_id"] == customer["customer_id"]
    first = await client.get(path, params={"limit": 4})
    assert (
        await client.get(path, params={"limit": 4}, headers={"If-None-Match": first.headers["etag"]})
    ).status_code == 304
    document = check_problem(
        await client.get(path, params={"order": "asc", "cursor": first.json()["next_cursor"]}), 422, "invalid_request"
    )
    assert pointers(document) == ["/query/cursor"]


async def test_an_unknown_touchpoint_is_not_found(client: httpx.AsyncClient) -> None:
    for path in ("/v1/touchpoints/nowhere", "/v1/touchpoints/nowhere/interactions", "/v1/touchpoints/"):
        check_problem(await client.get(path), 404, "not_found")
