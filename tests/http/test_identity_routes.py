"""Identity over HTTP: the evidence, as it is and as it was; merge, split, and what is suspected."""

from asyncio import gather
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from exchanges import Item, check_problem, ids_at, items_at, journey_of, pointers, store, walk
from percorso.http.services import Services
from support import Make, running
from writing import Database, statuses

ANNA, BERTA, PHONE = "email:anna@example.com", "email:berta@example.com", "phone:+39066982"
BOTH = {"email": "anna@example.com", "phone": "+39066982"}


def at(customer: str, what: str = "") -> str:
    """A path below a customer."""
    return f"/v1/customers/{quote(customer, safe='')}{what}"


async def merge(client: httpx.AsyncClient, customer: str, into: str) -> list[Item]:
    answer = await client.post(at(customer, "/merge"), json={"into": into, "reason": "said so"})
    assert answer.status_code == 200, answer.text
    customers: list[Item] = answer.json()["customers"]
    return customers


async def split(client: httpx.AsyncClient, customer: str, *identifiers: str) -> list[Item]:
    answer = await client.post(at(customer, "/split"), json={"identifiers": identifiers, "reason": "two people"})
    assert answer.status_code == 200, answer.text
    customers: list[Item] = answer.json()["customers"]
    return customers


async def identity(client: httpx.AsyncClient, customer: str, **params: Any) -> Item:
    answer = await client.get(at(customer, "/identity"), params=params)
    assert answer.status_code == 200, answer.text
    document: Item = answer.json()
    return document


async def id_of(client: httpx.AsyncClient, customer: str) -> str:
    found: str = (await client.get(at(customer))).json()["customer_id"]
    return found


def values(customer: Item) -> set[str]:
    return {each["value"] for each in customer["identifiers"]}


async def test_a_merge_makes_one_journey_and_a_split_gives_both_back(client: httpx.AsyncClient, make: Make) -> None:
    await store(
        client,
        make(id="anna"),
        make(id="berta", customer={"email": "berta@example.com"}),
    )
    anna, berta = await id_of(client, ANNA), await id_of(client, BERTA)
    [merged] = await merge(client, BERTA, ANNA)
    assert merged["customer_id"] == anna
    assert values(merged) == {"anna@example.com", "berta@example.com"}
    for customer in (ANNA, BERTA, anna, berta):
        assert await ids_at(client, journey_of(customer)) == ["berta", "anna"]
        assert await id_of(client, customer) == anna
    parts = await split(client, ANNA, BERTA)
    assert [(part["customer_id"], values(part)) for part in parts] == [
        (anna, {"anna@example.com"}),
        (berta, {"berta@example.com"}),
    ]
    assert await ids_at(client, journey_of(ANNA)) == ["anna"]
    assert await ids_at(client, journey_of(berta)) == ["berta"]


async def test_a_merge_of_one_customer_changes_nothing(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    await store(client, make(customer=BOTH))
    before = await database.fetchval("SELECT epoch FROM identity_epoch")
    [same] = await merge(client, ANNA, PHONE)
    assert values(same) == set(BOTH.values())
    assert await database.fetchval("SELECT epoch FROM identity_epoch") == before
    assert await database.fetchval("SELECT count(*) FROM identity_changes") == 0


async def test_a_link_that_was_split_is_not_made_again_but_listed_until_it_is_decided(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, make(customer=BOTH))
    await split(client, ANNA, PHONE)
    [receipt, _] = await store(client, make(customer=BOTH, source="shop"), make(customer=BOTH, source="later"))
    assert await id_of(client, ANNA) != await id_of(client, PHONE)
    [listed] = await items_at(client, "/v1/identity/suspected", why="split_before", decided="false")
    assert {each["value"] for each in listed["identities"]} == set(BOTH.values())
    assert {each["customer_id"] for each in listed["identities"]} == {
        await id_of(client, ANNA),
        await id_of(client, PHONE),
    }
    # A process notes the same once: the second is known to be stopped.
    assert (listed["times"], listed["source"], listed["interaction_id"]) == (1, "shop", receipt["interaction_id"])
    await merge(client, PHONE, ANNA)
    assert await items_at(client, "/v1/identity/suspected", decided="false") == []
    [decided] = await items_at(client, "/v1/identity/suspected", decided="true")
    assert (decided["decision"], decided["decided_by"], decided["reason"]) == ("merged", "bootstrap", "said so")
    await split(client, ANNA, PHONE)
    await store(client, make(customer=BOTH))
    [again] = await items_at(client, "/v1/identity/suspected", decided="false")
    assert (again["suspicion_id"], again["times"], again["reason"]) == (listed["suspicion_id"], 2, None)


async def test_what_was_split_does_not_become_one_through_a_link_that_was_never_seen_before(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, make(customer=BOTH | {"user_id": "u-1"}))
    parts = await split(client, ANNA, ANNA)
    assert sorted(map(len, map(values, parts))) == [1, 2]
    await store(client, make(customer=BOTH))
    assert await id_of(client, ANNA) != await id_of(client, PHONE)
    assert len(await items_at(client, "/v1/identity/suspected", why="split_before")) == 1


async def test_a_suspicion_can_be_dismissed_once_and_one_that_was_merged_cannot(
    client: httpx.AsyncClient, make: Make
) -> None:
    for number in (1, 2, 3):
        await store(client, make(customer={"crm_id": f"C-{number}", "email": "anna@example.com"}))
    newest, oldest = await items_at(client, "/v1/identity/suspected", why="too_many")
    assert newest["suspicion_id"] > oldest["suspicion_id"]
    assert newest["detail"] == {"kind": "crm_id", "limit": 1, "count": 2}
    path = f"/v1/identity/suspected/{newest['suspicion_id']}/dismiss"
    dismissed = await client.post(path, json={"reason": "not them"})
    assert dismissed.status_code == 200, dismissed.text
    assert (dismissed.json()["decision"], dismissed.json()["reason"]) == ("dismissed", "not them")
    assert (await client.post(path, json={"reason": "again"})).json() == dismissed.json()
    assert await items_at(client, "/v1/identity/suspected", decided="false") == [oldest]
    await merge(client, "crm_id:C-2", "crm_id:C-1")
    path = f"/v1/identity/suspected/{oldest['suspicion_id']}/dismiss"
    assert "merged" in check_problem(await client.post(path, json={"reason": "x"}), 409, "decided")["detail"]
    unknown = path.replace(oldest["suspicion_id"], "019c0d44-0c11-8a55-9d02-6be2a10c7f31")
    check_problem(await client.post(unknown, json={"reason": "x"}), 404, "not_found")
    # What changed nothing is no act.
    assert len(await items_at(client, "/v1/audit", act="dismissed")) == 1


@pytest.fixture
async def shared(database_url: str, make: Make) -> AsyncIterator[tuple[httpx.AsyncClient, str, str]]:
    """An email that two accounts were seen with, one too many; its suspicion, and a moment before the second."""
    async with running(database_url, shared_customers=1) as (_, client):
        await store(client, make(customer={"account_id": "a-1", "email": "anna@example.com"}))
        before = datetime.now(UTC).isoformat()
        await store(client, make(customer={"account_id": "a-2", "email": "anna@example.com"}))
        [suspicion] = await items_at(client, "/v1/identity/suspected", why="shared", decided="false")
        yield client, suspicion["suspicion_id"], before


async def test_a_shared_identifier_is_restored_once_and_was_weak_in_between(
    shared: tuple[httpx.AsyncClient, str, str],
) -> None:
    client, suspicion_id, before = shared
    between = datetime.now(UTC).isoformat()
    path = f"/v1/identity/suspected/{suspicion_id}/restore"
    restored, again = await gather(*(client.post(path, json={"reason": "her accounts"}) for _ in range(2)))
    assert restored.status_code == 200, restored.text
    assert restored.json() == again.json()
    assert (restored.json()["decision"], restored.json()["decided_by"]) == ("restored", "bootstrap")
    [suspect] = restored.json()["identities"]
    assert suspect["strong"] is True
    assert (await client.post(path, json={"reason": "later"})).json() == restored.json()
    for customer in ("account_id:a-1", "account_id:a-2", ANNA):
        seen = await identity(client, customer)
        assert values(seen) == {"a-1", "a-2", "anna@example.com"}
        assert {each["strong"] for each in seen["identifiers"]} == {True}
    then = await identity(client, ANNA, at=between)
    assert [(each["value"], each["strong"]) for each in then["identifiers"]] == [("anna@example.com", False)]
    assert values(await identity(client, "account_id:a-1", at=between)) == {"a-1"}
    then = await identity(client, ANNA, at=before)
    assert {(each["value"], each["strong"]) for each in then["identifiers"]} == {
        ("a-1", True),
        ("anna@example.com", True),
    }
    now = await identity(client, ANNA, at=datetime.now(UTC).isoformat())
    assert values(now) == {"a-1", "a-2", "anna@example.com"}
    [changes] = [each["changes"] for each in now["identifiers"] if each["kind"] == "email"]
    assert [(each["what"], each["state"], each["by"], each["reason"]) for each in changes] == [
        ("demoted", "weak", None, None),
        ("restored", "strong", "bootstrap", "her accounts"),
    ]
    [act] = await items_at(client, "/v1/audit", act="restored")
    assert (act["actor"], act["subject"]) == ("bootstrap", suspect["identity_id"])
    assert act["details"]["suspicion"] == suspicion_id


async def test_what_was_dismissed_can_be_restored_and_what_was_restored_is_not_dismissed(
    shared: tuple[httpx.AsyncClient, str, str],
) -> None:
    client, suspicion_id, _ = shared
    path = f"/v1/identity/suspected/{suspicion_id}"
    dismissed = await client.post(f"{path}/dismiss", json={"reason": "a shop"})
    assert dismissed.json()["decision"] == "dismissed"
    restored = await client.post(f"{path}/restore", json={"reason": "hers"})
    assert (restored.json()["decision"], restored.json()["reason"]) == ("restored", "hers")
    assert await id_of(client, "account_id:a-1") == await id_of(client, "account_id:a-2")
    refused = await client.post(f"{path}/dismiss", json={"reason": "a shop"})
    assert "restored" in check_problem(refused, 409, "decided")["detail"]
    assert await items_at(client, "/v1/identity/suspected", decided="true") == [restored.json()]


async def test_what_cannot_be_restored_is_told_why(client: httpx.AsyncClient, make: Make, database: Database) -> None:
    for number in (1, 2):
        await store(client, make(customer={"crm_id": f"C-{number}", "email": "anna@example.com"}))
    [link] = await items_at(client, "/v1/identity/suspected")
    path = f"/v1/identity/suspected/{link['suspicion_id']}/restore"
    detail = check_problem(await client.post(path, json={"reason": "x"}), 409, "cannot_restore")["detail"]
    assert "merge" in detail
    assert await items_at(client, "/v1/identity/suspected") == [link]
    unknown = path.replace(link["suspicion_id"], "019c0d44-0c11-8a55-9d02-6be2a10c7f31")
    check_problem(await client.post(unknown, json={"reason": "x"}), 404, "not_found")
    for body, wrong in (({}, "/reason"), ({"reason": ""}, "/reason"), ({"reason": "x", "force": True}, "/force")):
        answer = await client.post(path, json=body)
        assert pointers(check_problem(answer, 422, "invalid_request")) == [wrong]
    answer = await client.post(path, params={"force": "true"}, json={"reason": "x"})
    assert pointers(check_problem(answer, 422, "invalid_request")) == ["/query/force"]
    assert await database.fetchval("SELECT count(*) FROM identity_changes WHERE what = 'restored'") == 0


async def test_an_identifier_that_is_being_erased_is_not_restored(
    shared: tuple[httpx.AsyncClient, str, str], database: Database
) -> None:
    client, suspicion_id, _ = shared
    await database.execute(ERASE, "anna@example.com")
    answer = await client.post(f"/v1/identity/suspected/{suspicion_id}/restore", json={"reason": "x"})
    assert "erased" in check_problem(answer, 404, "not_found")["detail"]


async def test_suspicions_are_paged_newest_first_and_keep_to_their_filters(
    client: httpx.AsyncClient, make: Make
) -> None:
    for number in range(8):
        await store(client, make(customer={"crm_id": f"C-{number}", "email": "anna@example.com"}))
    pages = [page async for page in walk(client, "/v1/identity/suspected", limit=3, why="too_many")]
    assert list(map(len, pages)) == [3, 3, 1]
    ids = [item["suspicion_id"] for page in pages for item in page]
    assert ids == sorted(ids, reverse=True)
    assert await items_at(client, "/v1/identity/suspected", why="shared") == []
    for name, value in (("why", "other"), ("decided", "perhaps"), ("limit", "0"), ("cursor", "x"), ("other", "1")):
        answer = await client.get("/v1/identity/suspected", params={name: value})
        assert pointers(check_problem(answer, 422, "invalid_request")) == [f"/query/{name}"]


async def test_the_identity_shows_every_link_with_its_evidence_and_what_was_decided(
    client: httpx.AsyncClient, make: Make
) -> None:
    [receipt] = await store(client, make(customer=BOTH | {"cookie_id": "ck"}, source="shop"))
    seen = await identity(client, PHONE)
    assert {each["value"] for each in seen["identifiers"]} == {*BOTH.values(), "ck"}
    assert seen["customer_id"] == seen["customer_id_then"] == await id_of(client, ANNA)
    assert len(seen["links"]) == 2
    for link in seen["links"]:
        assert (link["interaction_id"], link["source"]) == (receipt["interaction_id"], "shop")
        assert (link["state"], link["by"], link["changes"]) == ("active", None, [])
    await split(client, ANNA, PHONE)
    cut = [link for link in (await identity(client, PHONE))["links"] if link["state"] == "cut"]
    [of_phone_and_anna] = [link for link in cut if {end["value"] for end in link["identities"]} == set(BOTH.values())]
    [change] = of_phone_and_anna["changes"]
    assert (change["what"], change["state"], change["by"], change["reason"]) == (
        "split", "cut", "bootstrap", "two people",
    )  # fmt: skip
    [alone] = (await identity(client, PHONE))["identifiers"]
    assert alone["value"] == "+39066982"


async def test_the_identity_as_it_was_shows_what_was_undone_since(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(customer=BOTH))
    both = await id_of(client, ANNA)
    one = datetime.now(UTC).isoformat()
    await split(client, ANNA, PHONE)
    [other] = {await id_of(client, ANNA), await id_of(client, PHONE)} - {both}
    two = datetime.now(UTC).isoformat()
    await merge(client, PHONE, ANNA)
    assert values(await identity(client, PHONE)) == set(BOTH.values())
    then = await identity(client, other, at=two)
    assert len(values(then)) == 1
    assert (then["customer_id"], then["customer_id_then"]) == (both, other)
    assert [link["state"] for link in then["links"]] == ["cut"]
    then = await identity(client, other, at=one)
    assert values(then) == set(BOTH.values())
    assert [(link["state"], link["changes"]) for link in then["links"]] == [("active", [])]
    answer = await client.get(at(ANNA, "/identity"), params={"at": "2020-01-01T00:00:00Z"})
    check_problem(answer, 404, "unknown_customer")
    answer = await client.get(at(ANNA, "/identity"), params={"at": "yesterday"})
    assert pointers(check_problem(answer, 422, "invalid_request")) == ["/query/at"]


async def test_what_cannot_be_merged_is_told_why(client: httpx.AsyncClient, make: Make) -> None:
    await store(
        client,
        make(customer={"email": "anna@example.com", "device_id": "d"}),
        make(customer={"email": "berta@example.com", "device_id": "d"}),
        make(customer={"cookie_id": "c"}),
    )
    shared = await client.post(at("device_id:d", "/merge"), json={"into": ANNA, "reason": "x"})
    assert "shared" in check_problem(shared, 409, "cannot_merge")["detail"]
    weak = await client.post(at("cookie_id:c", "/merge"), json={"into": "device_id:d", "reason": "x"})
    assert "Neither" in check_problem(weak, 409, "cannot_merge")["detail"]
    [joined] = await merge(client, "cookie_id:c", ANNA)
    assert values(joined) == {"anna@example.com", "c"}


async def test_bodies_that_say_nothing_sensible_are_pointed_at(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(customer=BOTH), make(customer={"email": "berta@example.com"}))
    cases: list[tuple[str, Item, list[str]]] = [
        ("merge", {}, ["/into", "/reason"]),
        ("merge", {"into": "anna", "reason": "x"}, ["/into"]),
        ("merge", {"into": "email:nobody@example.com", "reason": "x"}, ["/into"]),
        ("merge", {"into": BERTA, "reason": "", "force": True}, ["/force", "/reason"]),
        ("split", {"identifiers": [], "reason": "x"}, ["/identifiers"]),
        ("split", {"identifiers": [PHONE, "anna"], "reason": "x"}, ["/identifiers/1"]),
        ("split", {"identifiers": [PHONE, BERTA], "reason": "x"}, ["/identifiers/1"]),
        ("split", {"identifiers": [PHONE, ANNA], "reason": "x"}, ["/identifiers"]),
        ("split", {"identifiers": [PHONE], "reason": 1}, ["/reason"]),
    ]
    for what, body, wrong in cases:
        answer = await client.post(at(ANNA, f"/{what}"), json=body)
        document = check_problem(answer, 422, "invalid_request")
        assert sorted(pointers(document)) == wrong
        assert "berta" not in str(document)
    for raw in (b"{", b'{"reason": "\\u0000", "into": "email:berta@example.com"}'):
        check_problem(await client.post(at(ANNA, "/merge"), content=raw), 422, "malformed_body")
    for what, body in (("merge", {"into": ANNA, "reason": "x"}), ("split", {"identifiers": [ANNA], "reason": "x"})):
        answer = await client.post(at("email:nobody@example.com", f"/{what}"), json=body)
        check_problem(answer, 404, "unknown_customer")
    assert await id_of(client, ANNA) == await id_of(client, PHONE) != await id_of(client, BERTA)


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    async with running(database_url) as (app, client):
        yield app, client


ERASE = (
    "WITH gone AS (DELETE FROM identities WHERE value = $1 RETURNING identity_id) "
    "INSERT INTO erased_identities SELECT identity_id, gen_random_uuid(), now() FROM gone"
)


async def test_what_names_someone_erased_is_refused_and_kept_nowhere(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make, database: Database
) -> None:
    app, client = service
    await store(client, make(customer={"email": "berta@example.com"}))
    await database.execute(ERASE, "berta@example.com")
    await database.execute("UPDATE identity_epoch SET epoch = epoch + 1")
    hers = make(customer={"user_id": "u-9", "email": "Berta@example.com"}, text="secret")
    document = check_problem(await client.post("/v1/interactions", json=hers), 422, "erased")
    assert pointers(document) == ["/customer/email"]
    assert document["errors"][0]["detail"].startswith("erased")
    assert "rejection_id" not in document
    assert "berta" not in str(document).lower()
    answer = await client.post("/v1/interactions/batch", json=[make(), hers, make()])
    receipt = answer.json()
    assert (receipt["stored"], receipt["rejected"]) == (2, 1)
    [result] = receipt["results"]
    assert result.keys() == {"index", "status", "errors"}
    assert (result["index"], result["status"], pointers(result)) == (1, "rejected", ["/customer/email"])
    assert await items_at(client, "/v1/rejected") == []
    assert await database.fetchval("SELECT count(*) FROM identities WHERE value IN ('u-9', 'berta@example.com')") == 0
    assert 'status="erased"' in (await client.get("/metrics")).text
    services: Services = app.state.services
    assert await statuses(services, *(make() for _ in range(300)), hers) == ["stored"] * 300 + ["rejected"]
