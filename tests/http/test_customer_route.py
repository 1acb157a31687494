"""GET /v1/customers/{customer}: who a customer is, and how much contact there was."""

import httpx

from exchanges import check_problem, items_at, journey_of, pointers, store
from support import Make


async def test_a_customer_shows_every_identifier_strong_ones_first(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(customer={"cookie_id": "ck-1", "email": "Anna@Example.com", "phone": "+39 06 6982"}))
    customer = (await client.get("/v1/customers/cookie_id:ck-1")).json()
    assert customer.keys() == {
        "customer_id",
        "identifiers",
        "first_contact_at",
        "last_contact_at",
        "interactions",
        "traits",
        "consents",
    }
    shown = [(each["kind"], each["value"], each["strong"]) for each in customer["identifiers"]]
    assert sorted(shown[:2]) == [("email", "anna@example.com", True), ("phone", "+39066982", True)]
    assert shown[2:] == [("cookie_id", "ck-1", False)]
    assert customer == (await client.get(f"/v1/customers/{customer['customer_id']}")).json()


async def test_counts_and_first_and_last_contact_are_over_all_identities(client: httpx.AsyncClient, make: Make) -> None:
    both = {"email": "anna@example.com", "crm_id": "C-1"}
    await store(
        client,
        make(occurred_at="2020-02-03T04:05:06.789+01:00", channel="web", customer={"crm_id": "C-1"}),
        make(occurred_at="2026-03-01T00:00:00Z", customer=both),
        make(occurred_at="2026-04-01T00:00:00Z", channel="web"),
    )
    customer = (await client.get("/v1/customers/email:anna@example.com")).json()
    assert customer["interactions"] == {"total": 3, "by_channel": {"phone": 1, "web": 2}}
    assert customer["first_contact_at"] == "2020-02-03T03:05:06.789Z"
    assert customer["last_contact_at"] == "2026-04-01T00:00:00.000Z"


async def test_a_customer_whose_only_interaction_was_deleted_has_had_no_contact(
    client: httpx.AsyncClient, make: Make
) -> None:
    [receipt] = await store(client, make())
    await client.delete(f"/v1/interactions/{receipt['interaction_id']}")
    customer = (await client.get("/v1/customers/email:anna@example.com")).json()
    assert customer["interactions"] == {"total": 0, "by_channel": {}}
    assert customer["first_contact_at"] is customer["last_contact_at"] is None
    assert await items_at(client, journey_of("email:anna@example.com")) == []


async def test_two_people_on_one_device_stay_two(client: httpx.AsyncClient, make: Make) -> None:
    await store(
        client,
        make(id="anna", customer={"email": "anna@example.com", "device_id": "d-1"}),
        make(id="bruno", customer={"email": "bruno@example.com", "device_id": "d-1"}),
        make(id="device", customer={"device_id": "d-1"}),
    )
    for name in ("anna", "bruno"):
        items = await items_at(client, journey_of(f"email:{name}@example.com"))
        assert [item["id"] for item in items] == [name]
    device = (await client.get("/v1/customers/device_id:d-1")).json()
    assert [each["kind"] for each in device["identifiers"]] == ["device_id"]
    assert device["interactions"]["total"] == 1


async def test_a_customer_has_an_etag_that_changes_with_what_is_known(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    path = "/v1/customers/email:anna@example.com"
    tag = (await client.get(path)).headers["etag"]
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 304
    await store(client, make(customer={"email": "anna@example.com", "crm_id": "C-1"}))
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_unknown_customers_are_not_found_and_impossible_ones_refused(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/v1/customers/email:nobody@example.com"), 404, "unknown_customer")
    check_problem(await client.get("/v1/customers/d345ea01-9b1c-4f7e-8a55-3f0c2f6a7b88"), 404, "unknown_customer")
    document = check_problem(await client.get("/v1/customers/email:nobody"), 422, "invalid_request")
    assert pointers(document) == ["/path/customer"]
    assert "nobody" not in str(document)
    check_problem(await client.get("/v1/customers/email:x%00@example.com"), 404, "not_found")
