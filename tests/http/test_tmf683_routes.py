"""TMF683 party interactions: stored, given back as they were, listed, changed, deleted, refused."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from exchanges import Item, store
from support import KEY, Make, running

ROOT = "/tmf-api/partyInteraction/v4/partyInteraction"
GIVEN: Item = {
    "description": "asked about the last bill",
    "direction": "inbounds",
    "reason": "Billing question",
    "status": "inProgress",
    "channel": [{"id": "8774", "name": "Call Center", "role": "main", "href": "https://x.test/channel/8774"}],
    "interactionDate": {"startDateTime": "2026-03-01T10:00:00+01:00", "endDateTime": "2026-03-01T10:05:00+01:00"},
    "relatedParty": [
        {"id": "16", "role": "Customer", "@referredType": "Individual"},
        {"id": "agent-7", "role": "agent", "@referredType": "Individual"},
    ],
    "interactionItem": [{"id": "1", "item": {"id": "T-4", "@referredType": "TroubleTicket"}}],
    "attachment": [{"url": "https://x.test/call.ogg", "mimeType": "audio/ogg", "name": "call", "validFor": {"a": 1}}],
    "note": [{"text": "wants a copy", "date": "2026-03-01T10:00:00Z"}],
    "@schemaLocation": "https://x.test/schema.json",
    "ofTheirOwn": {"deep": [1, 2.5, None, {"x": "é"}], "none": None},
    "nothing": None,
}


def plain(**members: Any) -> Item:
    usual = {"channel": [{"id": "support-line"}], "direction": "inbound", "reason": "question"}
    return {name: value for name, value in (usual | members).items() if value is not None}


async def create(client: httpx.AsyncClient, given: Item) -> Item:
    answer = await client.post(ROOT, json=given)
    assert answer.status_code == 201, answer.text
    made: Item = answer.json()
    assert answer.headers["location"] == made["href"]
    return made


def check_error(answer: httpx.Response, status: int, code: str) -> Item:
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/json"
    error: Item = answer.json()
    assert error["code"] == code
    assert error["status"] == str(status)
    assert error["reason"]
    assert error["message"]
    assert error["referenceError"].endswith(answer.headers["x-request-id"])
    return error


async def test_what_was_posted_comes_back_member_by_member_with_what_the_server_adds(client: httpx.AsyncClient) -> None:
    made = await create(client, GIVEN)
    assert {name: made[name] for name in GIVEN} == GIVEN
    assert made["href"] == f"{ROOT}/{made['id']}"
    assert made.keys() - GIVEN.keys() == {
        "id", "href", "creationDate", "externalIdentifier", "statusChangeDate", "@type"
    }  # fmt: skip
    answer = await client.get(made["href"])
    assert answer.status_code == 200
    assert answer.json() == made


async def test_a_resource_is_an_interaction_of_its_customer(client: httpx.AsyncClient) -> None:
    made = await create(client, GIVEN)
    stored = (await client.get(f"/v1/interactions/{made['id']}")).json()
    wanted = {
        "source": "bootstrap",
        "occurred_at": "2026-03-01T10:00:00+01:00",
        "ended_at": "2026-03-01T10:05:00+01:00",
        "channel": "phone",
        "touchpoint": "8774",
        "kind": "billing_question",
        "direction": "inbound",
        "status": "in_progress",
        "text": "asked about the last bill",
        "customer": {"customer_id": "16"},
        "agent": "agent-7",
        "case": "T-4",
        "attachments": [{"url": "https://x.test/call.ogg", "media_type": "audio/ogg", "name": "call"}],
        "attributes": {"tmf683": GIVEN},
    }
    assert {name: stored[name] for name in wanted} == wanted
    journey = (await client.get("/v1/customers/customer_id:16/journey")).json()["items"]
    assert [each["interaction_id"] for each in journey] == [made["id"]]


async def test_two_equal_posts_are_two_resources_unless_they_name_themselves(client: httpx.AsyncClient) -> None:
    one, two = await create(client, plain()), await create(client, plain())
    assert one["id"] != two["id"]
    named = plain(externalIdentifier=[{"id": "call-9", "owner": "crm", "externalIdentifierType": "call"}])
    first = await create(client, named)
    again = await client.post(ROOT, json=named)
    assert again.status_code == 200
    assert again.json() == first
    error = check_error(await client.post(ROOT, json=named | {"note": [{"text": "x"}]}), 409, "conflict")
    assert first["id"] in error["message"]


async def test_an_id_that_the_sender_gave_is_kept_as_the_external_one(client: httpx.AsyncClient) -> None:
    made = await create(client, plain(id="call-9"))
    assert made["id"] != "call-9"
    assert made["externalIdentifier"] == [{"id": "call-9", "owner": "bootstrap"}]
    assert (await client.post(ROOT, json=plain(id="call-9"))).status_code == 200


async def test_the_same_interaction_sent_natively_too_is_one(client: httpx.AsyncClient, make: Make) -> None:
    native = make(source="bootstrap", id="a", occurred_at="2026-03-01T10:00:00Z", customer={"customer_id": "16"})
    native |= {"direction": "inbound", "kind": "question"}
    same = plain(
        id="a",
        channel=[{"id": "phone"}],
        interactionDate={"startDateTime": "2026-03-01T10:00:00Z"},
        relatedParty=[{"id": "16", "role": "customer"}],
    )
    [receipt] = await store(client, native)
    answer = await client.post(ROOT, json=same)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == receipt["interaction_id"]
    made = await create(client, same | {"id": "b"})
    again = await client.post("/v1/interactions", json=native | {"id": "b"})
    assert (again.status_code, again.json()["interaction_id"]) == (200, made["id"])
    check_error(await client.post(ROOT, json=same | {"reason": "complaint"}), 409, "conflict")


async def test_an_interaction_of_another_format_is_shown_by_the_mapping(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(
        kind="support_call", touchpoint="support-line", direction="inbound", text="hello", status="open", agent="a-1",
        customer={"email": "anna@example.com", "customer_id": "16"}, ended_at="2026-03-02T00:00:00Z", case="T-4",
        attachments=[{"url": "https://x.test/a", "media_type": "audio/ogg"}],
    )  # fmt: skip
    [receipt] = await store(client, sent)
    shown = (await client.get(f"{ROOT}/{receipt['interaction_id']}")).json()
    assert shown == {
        "id": receipt["interaction_id"],
        "href": f"{ROOT}/{receipt['interaction_id']}",
        "creationDate": receipt["received_at"],
        "description": "hello",
        "direction": "inbound",
        "reason": "support_call",
        "status": "opened",
        "statusChangeDate": receipt["received_at"],
        "channel": [{"id": "support-line", "name": "phone"}],
        "interactionDate": {"startDateTime": sent["occurred_at"], "endDateTime": "2026-03-02T00:00:00Z"},
        "relatedParty": [
            {"id": "email:anna@example.com", "role": "customer", "@referredType": "Individual"},
            {"id": "16", "role": "customer", "@referredType": "Individual"},
            {"id": "a-1", "role": "agent", "@referredType": "Individual"},
        ],
        "externalIdentifier": [{"id": sent["id"], "owner": "test"}],
        "attachment": [{"url": "https://x.test/a", "mimeType": "audio/ogg"}],
        "interactionItem": [{"item": {"id": "T-4", "@referredType": "TroubleTicket"}}],
        "@type": "PartyInteraction",
    }


async def test_fields_are_chosen_and_the_id_is_always_there(client: httpx.AsyncClient) -> None:
    made = await create(client, GIVEN)
    shown = (await client.get(made["href"], params={"fields": "reason,channel"})).json()
    assert shown.keys() == {"id", "href", "@type", "reason", "channel"}
    [listed] = (await client.get(ROOT, params={"fields": "reason,channel"})).json()
    assert listed == shown


async def test_a_list_has_counts_and_is_partial_with_links_until_all_is_there(client: httpx.AsyncClient) -> None:
    made = [
        await create(client, plain(interactionDate={"startDateTime": f"2026-03-0{day}T00:00:00Z"}))
        for day in range(1, 6)
    ]
    newest = [each["id"] for each in reversed(made)]
    whole = await client.get(ROOT)
    assert whole.status_code == 200
    assert [each["id"] for each in whole.json()] == newest
    assert (whole.headers["x-total-count"], whole.headers["x-result-count"]) == ("5", "5")
    assert "link" not in whole.headers
    for narrowed in ({}, {"channel.id": "support-line"}, {"reason": "question"}):
        page = await client.get(ROOT, params=narrowed | {"offset": "1", "limit": "2"})
        assert page.status_code == 206
        assert [each["id"] for each in page.json()] == newest[1:3]
        assert (page.headers["x-total-count"], page.headers["x-result-count"]) == ("5", "2")
        assert page.links.keys() == {"first", "prev", "next", "last"}
        seen: list[str] = []
        url: str | None = str(httpx.URL(ROOT, params=narrowed | {"limit": "2"}))
        while url is not None:
            answer = await client.get(url)
            seen += [each["id"] for each in answer.json()]
            url = answer.links.get("next", {}).get("url")
        assert seen == newest


async def test_filters_compare_members_and_all_must_fit(client: httpx.AsyncClient, make: Make) -> None:
    one = await create(client, GIVEN)
    two = await create(client, plain(status="completed", urgent=True, count=3))
    three = await create(client, plain(channel=[{"id": "Call Center 1"}, {"id": "email"}]))
    [native] = await store(client, make(touchpoint="support-line", direction="outbound"))

    async def found(**filters: str) -> set[str]:
        answer = await client.get(ROOT, params={name.replace("__", "."): value for name, value in filters.items()})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-total-count"] == str(len(answer.json()))
        return {each["id"] for each in answer.json()}

    assert await found(id=one["id"]) == {one["id"]}
    assert await found(id=one["id"], status="completed") == set()
    assert await found(id=str(uuid4())) == set()
    assert await found(id="none") == set()
    assert await found(channel__id="8774") == {one["id"]}
    assert await found(channel__id="support-line") == {two["id"], native["interaction_id"]}
    assert await found(channel__id="support-line", direction="inbound") == {two["id"]}
    assert await found(channel__id="Call Center 1") == {three["id"]}
    assert await found(channel__id="call center 1") == set()
    assert await found(channel__id="nowhere") == set()
    assert await found(relatedParty__id="16") == {one["id"]}
    assert await found(relatedParty__role="agent", direction="inbounds") == {one["id"]}
    assert await found(urgent="true") == {two["id"]}
    assert await found(count="3", status="completed") == {two["id"]}
    assert await found(status="Completed") == set()
    assert await found(ofTheirOwn__deep__x="é") == {one["id"]}
    assert await found(reason="phone") == {native["interaction_id"]}


async def test_a_list_that_cannot_be_narrowed_so_is_refused(client: httpx.AsyncClient) -> None:
    for query in (
        "sort=reason",
        "creationDate.gt=2026",
        "limit=0",
        "offset=-1",
        "limit=x",
        "a%00=1",
        "offset=10000&reason=x",
    ):
        error = check_error(await client.get(f"{ROOT}?{query}"), 400, "invalid_request")
        assert error["errors"]


async def test_a_search_that_takes_too_long_says_how_to_narrow_it(
    client: httpx.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(client, GIVEN)
    async with running(database_url, analytics_timeout=1) as (app, slow):
        places = app.state.services.analytics
        monkeypatch.setattr(places, "_seconds", 0.0)
        answer = await slow.get(ROOT, params={"reason": "x"})
        error = check_error(answer, 503, "analytics_timeout")
        assert "channel.id" in error["message"]
        assert answer.headers["retry-after"]


async def test_a_patch_changes_the_resource_and_the_interaction(client: httpx.AsyncClient) -> None:
    made = await create(client, GIVEN)
    patch = {
        "status": "completed",
        "description": None,
        "note": [{"text": "done"}],
        "interactionDate": {"endDateTime": None},
        "ofTheirOwn": {"deep": None, "more": 1},
        "nothing": "something",
        "attachment": [{"href": "https://x.test/b"}],
    }
    answer = await client.patch(made["href"], json=patch)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["statusChangeDate"] > made["statusChangeDate"]
    wanted = made | {
        "status": "completed",
        "statusChangeDate": changed["statusChangeDate"],
        "note": [{"text": "done"}],
        "interactionDate": {"startDateTime": "2026-03-01T10:00:00+01:00"},
        "ofTheirOwn": {"more": 1, "none": None},
        "nothing": "something",
        "attachment": [{"href": "https://x.test/b"}],
    }
    del wanted["description"]
    assert changed == wanted
    assert (await client.get(made["href"])).json() == changed
    stored = (await client.get(f"/v1/interactions/{made['id']}")).json()
    assert (stored["status"], stored.get("text"), stored["attachments"]) == (
        "completed", None, [{"url": "https://x.test/b"}],
    )  # fmt: skip
    revisions = (await client.get(f"/v1/interactions/{made['id']}/revisions")).json()["items"]
    assert [each["interaction"]["attributes"]["tmf683"]["status"] for each in revisions] == ["inProgress", "completed"]
    assert (await client.patch(made["href"], json={"status": "completed", "id": made["id"]})).json() == changed
    assert len((await client.get(f"/v1/interactions/{made['id']}/revisions")).json()["items"]) == 2


async def test_an_interaction_of_another_format_is_changed_as_a_resource(client: httpx.AsyncClient, make: Make) -> None:
    [receipt] = await store(client, make(status="open", attributes={"mine": 1}))
    path = f"{ROOT}/{receipt['interaction_id']}"
    before = (await client.get(path)).json()
    patch = {
        "status": "inProgress",
        "interactionDate": {"endDateTime": "2026-03-02T00:00:00Z"},
        "note": [{"text": "x"}],
    }
    changed = (await client.patch(path, json=patch)).json()
    assert changed["interactionDate"] == before["interactionDate"] | patch["interactionDate"]
    assert (changed["status"], changed["note"]) == ("inProgress", [{"text": "x"}])
    assert changed.keys() == before.keys() | {"note"}
    stored = (await client.get(f"/v1/interactions/{receipt['interaction_id']}")).json()
    assert (stored["status"], stored["attributes"]["mine"]) == ("in_progress", 1)


async def test_what_cannot_be_changed_is_pointed_at(client: httpx.AsyncClient) -> None:
    made = await create(client, GIVEN)
    for patch, wrong in (
        ({"id": "x"}, "/id"),
        ({"href": "x"}, "/href"),
        ({"creationDate": "2020-01-01T00:00:00Z"}, "/creationDate"),
        ({"reason": None}, "/reason"),
        ({"channel": None}, "/channel"),
        ({"channel": [{"id": "other"}]}, "/channel/0/id"),
        ({"relatedParty": [{"id": "17", "role": "Customer"}]}, "/relatedParty"),
        (
            {"relatedParty": [*GIVEN["relatedParty"], {"id": "email:b@example.com", "role": "customer"}]},
            "/relatedParty",
        ),
        ({"relatedParty": None}, "/relatedParty"),
        ({"status": 3}, "/status"),
        ({"interactionDate": {"endDateTime": "tomorrow"}}, "/interactionDate/endDateTime"),
        ({"description": "x" * 70_000}, ""),
        ([], ""),
    ):
        error = check_error(await client.patch(made["href"], json=patch), 400, "invalid_request")
        assert [each["pointer"] for each in error["errors"]] == [wrong], patch
    check_error(await client.patch(made["href"], content=b"{"), 400, "malformed_body")
    assert (await client.get(made["href"])).json() == made


async def test_what_is_deleted_is_gone_and_does_not_come_back(client: httpx.AsyncClient) -> None:
    made = await create(client, plain(id="a"))
    assert (await client.delete(made["href"])).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = await client.request(method, made["href"], json={} if method == "PATCH" else None)
        check_error(answer, 404, "unknown_interaction")
    assert (await client.get(ROOT)).json() == []
    check_error(await client.post(ROOT, json=plain(id="a")), 409, "conflict")


async def test_what_cannot_be_stored_is_refused_in_their_words_and_kept(client: httpx.AsyncClient) -> None:
    for body, wrong in (
        ({}, ["/channel", "/direction", "/reason"]),
        ([], [""]),
        (plain(channel=[]), ["/channel"]),
        (plain(channel=[{}]), ["/channel/0/id"]),
        (plain(channel="phone"), ["/channel"]),
        (plain(direction=1), ["/direction"]),
        (plain(reason=" "), ["/reason"]),
        (plain(relatedParty={}), ["/relatedParty"]),
        (plain(interactionDate=[1]), ["/interactionDate"]),
        (plain(interactionDate={"startDateTime": "2026-03-01"}), ["/interactionDate/startDateTime"]),
        (plain(interactionDate={"startDateTime": "2999-03-01T00:00:00Z"}), ["/interactionDate/startDateTime"]),
        (plain(relatedParty=[{"id": "email:nobody", "role": "customer"}]), ["/relatedParty"]),
        (plain(note="x" * 70_000), [""]),
    ):
        error = check_error(await client.post(ROOT, json=body), 400, "rejected")
        assert [each["pointer"] for each in error["errors"]] == wrong, (body, error)
        item = (await client.get("/v1/rejected", params={"limit": 1})).json()["items"][0]
        assert item["format"] == "tmf683"
        assert item["truncated"] or json.loads(item["payload"]) == body
    for raw in (b"", b"{", b"\xff", b'{"a": 1, "a": 2}', b'{"a": "\\u0000"}', b"[" * 200):
        check_error(await client.post(ROOT, content=raw), 400, "rejected")


async def test_a_large_body_is_not_looked_into(client: httpx.AsyncClient) -> None:
    made = await create(client, GIVEN)
    many = b'{"channel":[' + b",".join([b"{}"] * 100_000) + b'],"direction":"in","reason":"r"}'
    for answer, code in (
        (await client.post(ROOT, content=many), "rejected"),
        (await client.patch(made["href"], content=many), "invalid_request"),
    ):
        [problem] = check_error(answer, 400, code)["errors"]
        assert problem == {"pointer": "", "detail": f"is {len(many)} bytes long; at most 65536 are taken"}
    several = plain(channel=[{}] * 1000)
    assert len(check_error(await client.post(ROOT, json=several), 400, "rejected")["errors"]) == 50


async def test_what_was_refused_goes_with_whom_it_names(client: httpx.AsyncClient) -> None:
    await create(client, GIVEN)
    theirs = plain(direction=1, relatedParty=GIVEN["relatedParty"])
    others: list[Any] = [{"id": "a", "relatedParty": 3}, {"relatedParty": [3]}, []]
    for refused in (theirs, *others):
        check_error(await client.post(ROOT, json=refused), 400, "rejected")
    assert (await client.delete("/v1/customers/customer_id:16")).status_code == 200
    left = [each["payload"] for each in (await client.get("/v1/rejected")).json()["items"]]
    assert [json.loads(payload) for payload in left[::-1]] == others


async def test_every_refusal_has_their_shape(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "text/xml"}
    check_error(await client.post(ROOT, content=b"<a/>", headers=headers), 415, "unsupported_encoding")
    check_error(await client.post(ROOT, content=b"x", headers={"Content-Encoding": "gzip"}), 400, "malformed_body")
    check_error(await client.put(ROOT, json={}), 405, "method_not_allowed")
    check_error(await client.get(f"{ROOT}/x/y"), 404, "not_found")
    check_error(await client.get(f"{ROOT}/none"), 404, "not_found")
    check_error(await client.get(ROOT, headers={"Authorization": "Bearer no"}), 401, "unauthorized")
    made = await client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]})
    reader = {"Authorization": f"Bearer {made.json()['key']}"}
    check_error(await client.post(ROOT, json=plain(), headers=reader), 403, "forbidden")
    assert KEY not in (await client.get(ROOT, headers=reader)).text
