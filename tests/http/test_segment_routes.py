"""Segments: filters that have a name, and who is in them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from exchanges import check_problem, items_at, pointers, store, walk
from following import follow
from percorso.http.services import Services
from support import Make, running
from writing import Database

PATH = "/v1/segments"
Item = dict[str, Any]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    async with running(database_url) as (app, client):
        yield app.state.services, client


async def put(client: httpx.AsyncClient, name: str, **filter_: Any) -> Item:
    """Say what a segment is."""
    answer = await client.put(f"{PATH}/{name}", json={"filter": filter_})
    assert answer.status_code in {200, 201}, answer.text
    document: Item = answer.json()
    return document


async def members(client: httpx.AsyncClient, name: str) -> list[str]:
    """The CRM's id of each member."""
    return crm_ids(await items_at(client, f"{PATH}/{name}/members"))


def crm_ids(items: list[Item]) -> list[str]:
    """The CRM's id of each of these customers."""
    return [each["value"] for item in items for each in item["identifiers"] if each["kind"] == "crm_id"]


async def is_member(client: httpx.AsyncClient, name: str, customer: str) -> bool:
    """Whether a customer is in a segment."""
    answer = await client.get(f"{PATH}/{name}/members/{customer}")
    assert answer.status_code == 200, answer.text
    member: bool = answer.json()["member"]
    return member


async def test_a_segment_is_said_read_listed_said_anew_and_forgotten(client: httpx.AsyncClient) -> None:
    given = {"channel": ["phone"], "trait": ["city:Milano"], "last_contact_within": "90d", "open_complaints": False}
    answer = await client.put(f"{PATH}/callers", json={"description": "Who calls", "filter": given})
    assert answer.status_code == 201
    said = answer.json()
    assert (said["name"], said["description"], said["filter"]) == ("callers", "Who calls", given)
    assert said["updated_by"] == "bootstrap"
    assert (await client.get(f"{PATH}/callers")).json() == said
    answer = await client.put(f"{PATH}/callers", json={"filter": {}})
    assert answer.status_code == 200
    assert answer.json() == said | {"description": None, "filter": {}, "updated_at": answer.json()["updated_at"]}
    assert answer.json()["updated_at"] > said["updated_at"]
    for name in ("b.1", "a", "0-x"):
        await put(client, name)
    pages = [[item["name"] for item in items] async for items in walk(client, PATH, limit=2)]
    assert pages == [["0-x", "a"], ["b.1", "callers"]]
    assert (await client.delete(f"{PATH}/callers")).status_code == 204
    for method, path in (("DELETE", ""), ("GET", ""), ("GET", "/members"), ("GET", "/members/email:a@example.com")):
        check_problem(await client.request(method, f"{PATH}/callers{path}"), 404, "not_found")
    check_problem(await client.get("/v1/customers?segment=callers"), 404, "not_found")


async def test_the_members_of_a_segment_are_who_the_filter_fits_and_a_search_may_narrow_them(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    now = datetime.now(UTC)
    for name, channel, days in (("a", "phone", 5), ("b", "phone", 100), ("c", "web", 5)):
        at = (now - timedelta(days=days)).isoformat()
        await store(client, make(customer={"crm_id": name}, channel=channel, occurred_at=at))
    await follow(services)
    await put(client, "callers", channel=["phone"])
    await put(client, "lately", last_contact_within="90d")
    await put(client, "everyone")
    assert sorted(await members(client, "callers")) == ["a", "b"]
    assert sorted(await members(client, "lately")) == ["a", "c"]
    assert sorted(await members(client, "everyone")) == ["a", "b", "c"]
    for customer, found in (("crm_id:a", True), ("crm_id:c", False)):
        assert await is_member(client, "callers", customer) is found
    narrowed = await items_at(client, "/v1/customers", segment="callers", last_contact_before="30d")
    assert crm_ids(narrowed) == ["b"]
    # Who is in it is found anew each time.
    await store(client, make(customer={"crm_id": "c"}))
    await follow(services)
    assert await is_member(client, "callers", "crm_id:c")
    answer = (await client.get(f"{PATH}/callers/members/crm_id:c")).json()
    assert answer.keys() == {"customer_id", "member", "as_of"}
    assert answer["customer_id"] == (await client.get("/v1/customers/crm_id:c")).json()["customer_id"]
    check_problem(await client.get(f"{PATH}/callers/members/crm_id:nobody"), 404, "unknown_customer")


async def test_each_member_comes_once_while_their_contacts_change(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    names = [f"C-{number}" for number in range(9)]
    await store(client, *(make(customer={"crm_id": name}) for name in names))
    await follow(services)
    await put(client, "everyone")
    seen = []
    async for items in walk(client, f"{PATH}/everyone/members", limit=2):
        seen += crm_ids(items)
        await store(client, *(make(customer={"crm_id": name}) for name in names))
        await follow(services)
    assert sorted(seen) == names


async def test_a_segment_may_ask_for_an_identifier_and_a_search_in_it_for_another(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    await store(
        client,
        make(customer={"email": "b@shop.it", "crm_id": "K-1"}),
        make(customer={"email": "a@shop.it", "crm_id": "C-2"}),
        make(customer={"crm_id": "K-3"}),
    )
    await put(client, "key", identifier="crm_id:K-")
    assert await members(client, "key") == ["K-1", "K-3"]
    found = await items_at(client, "/v1/customers", segment="key", identifier="email:b")
    assert crm_ids(found) == ["K-1"]
    # Without a profile an identifier alone decides.
    assert await is_member(client, "key", "email:b@shop.it")
    assert not await is_member(client, "key", "email:a@shop.it")
    await put(client, "key", identifier="crm_id:K-", relationship=["solid"])
    assert not await is_member(client, "key", "email:b@shop.it")
    await follow(services)
    assert await is_member(client, "key", "email:b@shop.it")
    document = check_problem(await client.get("/v1/customers?segment=key&order=asc"), 422, "invalid_request")
    assert pointers(document) == ["/query/order"]


REFUSED: list[tuple[Item, list[str]]] = [
    ({}, ["/filter"]),
    ({"filter": []}, ["/filter"]),
    ({"filter": {}, "more": 1}, ["/more"]),
    ({"filter": {}, "description": "x" * 257}, ["/description"]),
    ({"filter": {"colour": "red"}}, ["/filter/colour"]),
    ({"filter": {"segment": "other"}}, ["/filter/segment"]),
    ({"filter": {"identifier": "anna"}}, ["/filter/identifier"]),
    ({"filter": {"identifier": 5}}, ["/filter/identifier"]),
    ({"filter": {"trait": "city:Milano"}}, ["/filter/trait"]),
    ({"filter": {"trait": ["city"]}}, ["/filter/trait/0"]),
    ({"filter": {"last_contact_from": 5}}, ["/filter/last_contact_from"]),
    ({"filter": {"last_contact_from": "2026-01-01"}}, ["/filter/last_contact_from"]),
    (
        {"filter": {"last_contact_from": "2026-01-01T00:00:00Z", "last_contact_to": "2025-01-01T00:00:00Z"}},
        ["/filter/last_contact_to"],
    ),
    ({"filter": {"last_contact_within": "3 months"}}, ["/filter/last_contact_within"]),
    ({"filter": {"last_contact_within": "1d", "last_contact_before": "2d"}}, ["/filter/last_contact_before"]),
    ({"filter": {"channel": "phone"}}, ["/filter/channel"]),
    ({"filter": {"channel": ["telepathy"]}}, ["/filter/channel/0"]),
    ({"filter": {"relationship": ["fine"], "rfm": ["best"]}}, ["/filter/relationship/0", "/filter/rfm/0"]),
    ({"filter": {"open_complaints": "true"}}, ["/filter/open_complaints"]),
]


async def test_a_filter_that_cannot_be_had_is_refused_with_a_pointer(client: httpx.AsyncClient) -> None:
    for body, found in REFUSED:
        document = check_problem(await client.put(f"{PATH}/a", json=body), 422, "invalid_request")
        assert pointers(document) == found, body


async def test_names_that_cannot_be_had_are_refused(client: httpx.AsyncClient, database: Database) -> None:
    for name in ("A", "-a", "a b", "é", "a" * 65):
        for method in ("GET", "PUT", "DELETE"):
            document = check_problem(
                await client.request(method, f"{PATH}/{name}", json={"filter": {}} if method == "PUT" else None),
                422,
                "invalid_request",
            )
            assert pointers(document) == ["/path/name"]
    assert await database.fetchval("SELECT count(*) FROM segments") == 0
