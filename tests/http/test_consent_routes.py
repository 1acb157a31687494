"""Consents of a customer: what is said by whom and since when, and whether contact is allowed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from exchanges import Item, check_problem, items_at, pointers, store, walk
from support import Make

ANNA = "/v1/customers/email:anna@example.com"
PHONE = "/v1/customers/phone:+39066982"


@pytest.fixture
async def anna(client: httpx.AsyncClient, make: Make) -> httpx.AsyncClient:
    """A client of a service that knows Anna."""
    await store(client, make())
    return client


def day(number: int) -> str:
    return f"2026-03-{number:02}T12:00:00.000Z"


def said(channel: str | None, status: str, number: int, **members: Any) -> Item:
    """What is said on a day of marketing by a channel."""
    return {"purpose": "marketing", "channel": channel, "status": status, "occurred_at": day(number)} | members


async def say(client: httpx.AsyncClient, *consents: Item, customer: str = ANNA) -> Item:
    """Say this of a customer; the answer."""
    answer = await client.put(f"{customer}/consents", json={"consents": consents})
    assert answer.status_code == 200, answer.text
    document: Item = answer.json()
    return document


async def asked(client: httpx.AsyncClient, customer: str = ANNA, **params: str) -> Item:
    """What is answered to who asks before making contact."""
    answer = await client.get(f"{customer}/consents", params=params)
    assert answer.status_code == 200, answer.text
    document: Item = answer.json()
    return document


async def may(client: httpx.AsyncClient, channel: str, customer: str = ANNA) -> tuple[bool, str, str | None]:
    """Whether marketing is allowed by this channel, why, and on which day it was said."""
    document = await asked(client, customer, purpose="marketing", channel=channel)
    by = document["decided_by"]
    assert document["decided_by"] is None or document["decided_by"] in document["items"]
    return document["allowed"], document["reason"], by and by["occurred_at"]


async def test_a_consent_is_kept_with_its_evidence_its_basis_its_source_and_who_said_it(
    anna: httpx.AsyncClient,
) -> None:
    key = (await anna.post("/v1/keys", json={"name": "desk", "scopes": ["write"]})).json()["key"]
    consent = said("email", "granted", 1, lawful_basis="consent", evidence="form 7", source="shop")
    consent["occurred_at"] = "2026-03-01T13:00:00+01:00"
    answer = await anna.put(
        f"{ANNA}/consents", json={"consents": [consent]}, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 200, answer.text
    [item] = answer.json()["items"]
    received = datetime.fromisoformat(item.pop("received_at"))
    assert timedelta(0) <= datetime.now(UTC) - received < timedelta(minutes=1)
    assert item == consent | {"occurred_at": day(1), "set_by": "desk", "interaction_id": None}
    document = await asked(anna)
    assert document == answer.json()
    assert document["allowed"] is document["reason"] is document["decided_by"] is document["next_cursor"] is None
    customer = (await anna.get(ANNA)).json()
    assert (customer["customer_id"], customer["consents"]) == (document["customer_id"], document["items"])


async def test_what_is_left_out_is_every_channel_the_time_of_receipt_and_the_name_of_the_key(
    anna: httpx.AsyncClient,
) -> None:
    for consent in (
        {"purpose": "research", "status": "denied"},
        {"purpose": "other", "status": "denied", "channel": "any"},
    ):
        await say(anna, consent)
    for item in (await asked(anna))["items"]:
        assert (item["channel"], item["source"], item["set_by"]) == ("any", "bootstrap", "bootstrap")
        assert item["occurred_at"] == item["received_at"]
        assert item["lawful_basis"] is item["evidence"] is None


async def test_one_call_says_whether_contact_is_allowed_and_by_what_it_was_decided(anna: httpx.AsyncClient) -> None:
    assert await may(anna, "email") == (False, "nothing_said", None)
    await say(anna, said("email", "granted", 3, evidence="form"))
    assert await may(anna, "email") == (True, "granted", day(3))
    assert await may(anna, "sms") == (False, "nothing_said", None)
    document = await asked(anna, purpose="marketing", channel="email")
    assert document["decided_by"]["evidence"] == "form"
    assert (await asked(anna, purpose="research", channel="email"))["allowed"] is False
    await say(anna, said("email", "denied", 4))
    assert await may(anna, "email") == (False, "denied", day(4))


async def test_of_a_channel_and_all_channels_the_later_decides_and_at_the_same_moment_the_denial(
    anna: httpx.AsyncClient,
) -> None:
    for own, any_, allowed, decided in (
        (("granted", 2), ("denied", 1), True, 2),
        (("granted", 2), ("denied", 3), False, 3),
        (("denied", 2), ("granted", 1), False, 2),
        (("denied", 2), ("granted", 3), True, 3),
        (("denied", 2), ("granted", 2), False, 2),
        (("granted", 2), ("denied", 2), False, 2),
        (None, ("granted", 2), True, 2),
        (None, ("denied", 2), False, 2),
    ):
        purpose = f"p{uuid4()}"
        consents = [said("email", *own, purpose=purpose)] if own else []
        await say(anna, *consents, said(None, *any_, purpose=purpose))
        document = await asked(anna, purpose=purpose, channel="email")
        assert (document["allowed"], document["decided_by"]["occurred_at"]) == (allowed, day(decided)), (own, any_)
    await say(anna, said("email", "granted", 5, evidence="own"), said(None, "granted", 5, evidence="all"))
    assert (await asked(anna, purpose="marketing", channel="email"))["decided_by"]["evidence"] == "own"


async def test_what_occurred_last_holds_whatever_arrives_last_and_at_the_same_moment_the_denial(
    anna: httpx.AsyncClient,
) -> None:
    await say(anna, said("email", "denied", 5))
    await say(anna, said("email", "granted", 4), said("email", "granted", 5))
    assert await may(anna, "email") == (False, "denied", day(5))
    [item] = (await asked(anna))["items"]
    assert item["status"] == "denied"
    await say(anna, said("email", "denied", 5, evidence="letter"))
    assert (await asked(anna))["items"][0]["evidence"] == "letter"
    await say(anna, said("email", "granted", 6))
    assert await may(anna, "email") == (True, "granted", day(6))
    assert await may(anna, "phone") == (False, "nothing_said", None)


async def test_a_question_is_narrowed_to_a_purpose_and_to_what_speaks_of_a_channel(anna: httpx.AsyncClient) -> None:
    await say(
        anna,
        *(said(channel, "granted", 1) for channel in ("sms", "email", None)),
        *(said(channel, "granted", 1, purpose="research") for channel in ("phone", "email")),
    )
    everything = [("marketing", each) for each in ("any", "email", "sms")] + [
        ("research", "email"),
        ("research", "phone"),
    ]
    for params, wanted in (
        ({}, everything),
        ({"purpose": "marketing"}, everything[:3]),
        ({"channel": "email"}, [everything[0], everything[1], everything[3]]),
        ({"purpose": "marketing", "channel": "sms"}, [everything[0], everything[2]]),
        ({"purpose": "unknown", "channel": "sms"}, []),
    ):
        document = await asked(anna, **params)
        assert [(item["purpose"], item["channel"]) for item in document["items"]] == wanted
        assert (document["allowed"] is None) == (len(params) < 2)


async def test_to_say_the_same_again_changes_nothing(
    anna: httpx.AsyncClient, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    consent = said("email", "granted", 1, evidence="form")
    first = await say(anna, consent, consent)
    assert await say(anna, consent) == first
    assert len(await items_at(anna, f"{ANNA}/consents/history")) == 1
    logged = await database.fetch("SELECT * FROM commits WHERE what = 'said'")
    assert len(logged) == 1
    identity = await database.fetchval("SELECT identity_id FROM identities")
    assert (logged[0]["identity_ids"], logged[0]["hours"], logged[0]["interaction_ids"]) == ([identity], [], [])


async def test_the_history_keeps_every_word_and_is_paged_newest_first(anna: httpx.AsyncClient) -> None:
    for number in range(1, 6):
        status = ["granted", "denied"][number % 2]
        await say(
            anna, said("email", status, number), said(None, status, number), said("sms", status, number, purpose="x")
        )
    path = f"{ANNA}/consents/history"
    pages = [page async for page in walk(anna, path, limit=4)]
    assert [len(page) for page in pages] == [4, 4, 4, 3]
    moments = [item["occurred_at"] for page in pages for item in page]
    assert moments == [day(number) for number in (5, 4, 3, 2, 1) for _ in range(3)]
    emails = await items_at(anna, path, purpose="marketing", channel="email")
    assert [(item["occurred_at"], item["status"]) for item in emails] == [
        (day(number), ["granted", "denied"][number % 2]) for number in (5, 4, 3, 2, 1)
    ]
    assert len(await items_at(anna, path, channel="any")) == 5
    assert len(await items_at(anna, path, purpose="x")) == 5


async def test_what_cannot_be_taken_is_pointed_at(anna: httpx.AsyncClient) -> None:
    good = said("email", "granted", 1)
    soon = (datetime.now(UTC) + timedelta(hours=25)).isoformat()
    for body, wrong in (
        ({}, ["/consents"]),
        ({"consents": []}, ["/consents"]),
        ({"consents": [good] * 101}, ["/consents"]),
        ({"consents": good}, ["/consents"]),
        ({"consents": [good, 1]}, ["/consents/1"]),
        ({"consents": [{}]}, ["/consents/0/purpose", "/consents/0/status"]),
        ({"consents": [good | {"purpose": "Marketing"}]}, ["/consents/0/purpose"]),
        ({"consents": [good | {"purpose": "x" * 65}]}, ["/consents/0/purpose"]),
        ({"consents": [good, good | {"channel": "fax machine"}]}, ["/consents/1/channel"]),
        ({"consents": [good | {"status": "maybe"}]}, ["/consents/0/status"]),
        ({"consents": [good | {"lawful_basis": "because"}]}, ["/consents/0/lawful_basis"]),
        ({"consents": [good | {"evidence": ""}]}, ["/consents/0/evidence"]),
        ({"consents": [good | {"evidence": "x" * 1025}]}, ["/consents/0/evidence"]),
        ({"consents": [good | {"source": ""}]}, ["/consents/0/source"]),
        ({"consents": [good | {"occurred_at": "yesterday"}]}, ["/consents/0/occurred_at"]),
        ({"consents": [good, good | {"occurred_at": soon}]}, ["/consents/1/occurred_at"]),
        ({"consents": [good | {"occurred_at": "1989-12-31T23:59:59Z"}]}, ["/consents/0/occurred_at"]),
        ({"consents": [good | {"interaction_id": str(uuid4())}]}, ["/consents/0/interaction_id"]),
        ({"consents": [good], "source": "crm"}, ["/source"]),
    ):
        document = check_problem(await anna.put(f"{ANNA}/consents", json=body), 422, "invalid_request")
        assert pointers(document) == wrong, body
    for params, at in (
        ({"channel": "any"}, "/query/channel"),
        ({"channel": "letter"}, "/query/channel"),
        ({"purpose": "x" * 65}, "/query/purpose"),
        ({"name": "x"}, "/query/name"),
    ):
        answer = await anna.get(f"{ANNA}/consents", params=params)
        assert pointers(check_problem(answer, 422, "invalid_request")) == [at]
    assert (await asked(anna))["items"] == []


async def test_every_lawful_basis_is_taken_and_a_full_request_too(anna: httpx.AsyncClient) -> None:
    bases = ("consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests")
    document = await say(anna, *(said("mail", "granted", 1, purpose=basis, lawful_basis=basis) for basis in bases))
    assert {item["purpose"]: item["lawful_basis"] for item in document["items"]} == {basis: basis for basis in bases}
    full = [said("mail", "granted", 1, purpose=f"{n:064}", evidence="é" * 1024, source="é" * 128) for n in range(100)]
    assert len((await say(anna, *full))["items"]) == 106


async def test_consents_of_nobody_are_not_found(client: httpx.AsyncClient) -> None:
    nobody = "/v1/customers/email:nobody@example.com/consents"
    body = {"consents": [said("email", "granted", 1)]}
    for answer in (client.get(nobody), client.get(f"{nobody}/history"), client.put(nobody, json=body)):
        check_problem(await answer, 404, "unknown_customer")


async def test_what_is_said_of_any_identifier_is_said_of_the_customer_and_goes_with_it(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, make(), make(customer={"phone": "+39066982"}))
    await say(client, said("email", "granted", 3), said("sms", "granted", 1))
    await say(client, said("sms", "denied", 2), said("phone", "granted", 2), said("fax", "denied", 4), customer=PHONE)
    await say(client, said("fax", "granted", 4))
    assert await may(client, "sms") == (True, "granted", day(1))
    assert await may(client, "email", PHONE) == (False, "nothing_said", None)
    await store(client, make(customer={"email": "anna@example.com", "phone": "+39066982"}))
    for customer in (ANNA, PHONE):
        assert await may(client, "sms", customer) == (False, "denied", day(2))
        assert await may(client, "email", customer) == (True, "granted", day(3))
        assert await may(client, "phone", customer) == (True, "granted", day(2))
        assert await may(client, "fax", customer) == (False, "denied", day(4))
        assert len(await items_at(client, f"{customer}/consents/history")) == 6


async def test_an_answer_has_an_etag(anna: httpx.AsyncClient) -> None:
    path = f"{ANNA}/consents?purpose=marketing&channel=email"
    tag = (await anna.get(path)).headers["etag"]
    assert (await anna.get(path, headers={"If-None-Match": tag})).status_code == 304
    await say(anna, said("email", "granted", 1))
    assert (await anna.get(path, headers={"If-None-Match": tag})).status_code == 200
