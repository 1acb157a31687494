"""The OpenAPI document: complete, sound, and what the service really does."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from exchanges import database_from, healthy, store, store_all
from following import follow
from percorso.app import create_app
from rolling import roll
from support import KEY, Make, running, settings_for

EXAMPLES = int(os.environ.get("PERCORSO_CONTRACT_EXAMPLES", "4"))
"""How many requests are made up for each operation."""

Node = dict[str, Any]
Operation = schemathesis.APIOperation[Any, Any, Any, Any]
DOCUMENT: Node = create_app(settings_for("postgresql://unused")).openapi()
OPERATIONS: dict[str, Node] = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}
OTHERS = {"TMF683 Party Interaction"}
"""Tags of the routes whose errors have a form of their own, in which what cannot be taken is 400."""


def nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from nodes(member)
    elif isinstance(value, list):
        for member in value:
            yield from nodes(member)


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def validator(schema: Node) -> jsonschema_rs.Draft202012Validator:
    """What checks that a value is as a schema of the document says, formats included."""
    return jsonschema_rs.Draft202012Validator(schema | {"components": DOCUMENT["components"]}, validate_formats=True)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = {node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert all(resolved(reference) for reference in used)
    mapped = {
        target for node in nodes(DOCUMENT) for target in node.get("discriminator", {}).get("mapping", {}).values()
    }
    assert all(resolved(reference) for reference in mapped)
    names = {reference.rsplit("/", 1)[1] for reference in used | mapped}
    assert names == DOCUMENT["components"]["schemas"].keys()


def test_every_schema_is_valid_and_so_are_its_examples() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        for example in schema.get("examples", ()):
            validator({"$ref": f"#/components/schemas/{name}"}).validate(example)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_route_says_what_it_does_with_examples_and_errors(operation: Node) -> None:
    assert re.fullmatch(r"[A-Z].{3,}[^.]", operation["summary"])
    assert len(operation["description"]) > 20
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])
    assert operation["tags"]
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], parameter["name"]
    for status, response in operation["responses"].items():
        assert response["description"]
        content = response.get("content", {})
        if status == "204":
            assert not content
        elif status < "3" or "application/json" in content:
            assert content
            for kind in content.values():
                schema = resolved(kind["schema"]["$ref"]) if "$ref" in kind["schema"] else kind["schema"]
                # What is not text is told by its media type alone.
                assert kind.get("example") or schema.get("examples") or schema.get("format") == "binary", status
        else:
            assert content == {"application/problem+json": {"schema": PROBLEM}}
    if "security" in operation:
        unfit = "422" if OTHERS.isdisjoint(operation["tags"]) else "400"
        assert operation["responses"].keys() >= {"401", "403", unfit, "503"}
    if "requestBody" in operation:
        assert operation["responses"].keys() >= {"408", "413", "415"}
        for kind in operation["requestBody"]["content"].values():
            schema = kind["schema"].get("items", kind["schema"])
            schema = resolved(schema["$ref"]) if "$ref" in schema else schema
            assert schema.get("examples") or kind.get("example")
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        assert "404" in operation["responses"] or operation["operationId"] == "describe_touchpoint"


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids))


async def test_the_document_and_its_page_are_served_without_a_key(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    answer = await client.get("/openapi.json")
    assert answer.json() == json.loads(json.dumps(DOCUMENT))
    assert answer.json()["openapi"].startswith("3.1")
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text


async def test_the_examples_in_the_document_are_taken(client: httpx.AsyncClient) -> None:
    schemas = DOCUMENT["components"]["schemas"]
    [event] = schemas["Interaction"]["examples"]
    event = event | {"occurred_at": "2026-03-01T10:00:00+01:00"}
    [receipt] = await store(client, event)
    [patch] = schemas["Enrichment"]["examples"]
    answer = await client.patch(f"/v1/interactions/{receipt['interaction_id']}", json=patch)
    assert answer.status_code == 200, answer.text
    for method, path, status in (
        ("PUT", "/v1/touchpoints/{slug}", 201),
        ("POST", "/v1/keys", 201),
        ("PUT", "/v1/segments/{name}", 201),
        ("PUT", "/v1/schemas/{channel}/{kind}", 201),
        ("POST", "/v1/schemas/{channel}/{kind}/activate", 200),
        ("POST", "/v1/schemas/{channel}/{kind}/check", 200),
        ("PUT", "/v1/customers/{customer}/traits", 200),
        ("PUT", "/v1/customers/{customer}/consents", 200),
    ):
        [body] = OPERATIONS[f"{method} {path}"]["requestBody"]["content"]["application/json"]["schema"]["examples"]
        url = path.replace("{slug}", "a").replace("{name}", "a").replace("{customer}", "email:anna@example.com")
        url = url.replace("{channel}", "phone").replace("{kind}", "*")
        assert (await client.request(method, url, json=body)).status_code == status


def check(name: str, answer: httpx.Response) -> None:
    """Hold an answer of this operation against what the document says of it."""
    response = OPERATIONS[name]["responses"][str(answer.status_code)]
    kind = response["content"][answer.headers["content-type"]]
    validator(kind["schema"]).validate(answer.json())


async def test_real_answers_are_what_the_document_says(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(customer={"email": ["anna@example.com", "a@example.com"], "cookie_id": "c"})
    first = await client.post("/v1/interactions", json=sent)
    check("POST /v1/interactions", first)
    check("POST /v1/interactions", await client.post("/v1/interactions", json=sent))
    check("POST /v1/interactions", await client.post("/v1/interactions", json=sent | {"text": "x"}))
    check("POST /v1/interactions", await client.post("/v1/interactions", json={}))
    batch = [make(), sent, sent | {"text": "x"}, {}]
    check("POST /v1/interactions/batch", await client.post("/v1/interactions/batch?results=all", json=batch))
    one = first.headers["location"]
    check("PATCH /v1/interactions/{interaction_id}", await client.patch(one, json={"text": "t"}))
    check("GET /v1/interactions/{interaction_id}", await client.get(one))
    check("GET /v1/interactions/{interaction_id}/revisions", await client.get(f"{one}/revisions"))
    check("GET /v1/interactions", await client.get("/v1/interactions", params={"source": "test", "id": sent["id"]}))
    said = "/v1/customers/cookie_id:c"
    consent = {"purpose": "marketing", "status": "granted"}
    check(
        "PUT /v1/customers/{customer}/traits",
        await client.put(f"{said}/traits", json={"traits": {"a": [1], "b": None}}),
    )
    check("PUT /v1/customers/{customer}/consents", await client.put(f"{said}/consents", json={"consents": [consent]}))
    check("PUT /v1/customers/{customer}/consents", await client.put(f"{said}/consents", json={"consents": []}))
    check("GET /v1/customers/{customer}/traits", await client.get(f"{said}/traits"))
    check("GET /v1/customers/{customer}/traits/history", await client.get(f"{said}/traits/history"))
    asked = f"{said}/consents?purpose=marketing&channel=email"
    check("GET /v1/customers/{customer}/consents", await client.get(asked))
    check("GET /v1/customers/{customer}/consents/history", await client.get(f"{said}/consents/history"))
    check("GET /v1/customers/{customer}", await client.get("/v1/customers/cookie_id:c"))
    check("GET /v1/customers/{customer}/journey", await client.get("/v1/customers/cookie_id:c/journey?limit=1"))
    check("GET /v1/customers/{customer}/summary", await client.get("/v1/customers/cookie_id:c/summary"))
    check("GET /v1/customers/{customer}/episodes", await client.get("/v1/customers/cookie_id:c/episodes"))
    check("GET /v1/customers/{customer}/journey", await client.get("/v1/customers/cookie_id:unknown/journey"))
    check("GET /v1/touchpoints", await client.get("/v1/touchpoints"))
    check("GET /v1/touchpoints/{slug}", await client.get("/v1/touchpoints/phone"))
    check("GET /v1/touchpoints/{slug}/interactions", await client.get("/v1/touchpoints/phone/interactions"))
    check("PUT /v1/touchpoints/{slug}", await client.put("/v1/touchpoints/phone", json={"name": "Phone"}))
    await store(client, make(touchpoint="line"))
    merge, unmerge = (f"POST /v1/touchpoints/{{slug}}/{act}" for act in ("merge", "unmerge"))
    body = {"into": "phone", "reason": "r"}
    check(merge, await client.post("/v1/touchpoints/line/merge", json=body))
    check(merge, await client.post("/v1/touchpoints/phone/merge", json={"into": "line", "reason": "r"}))
    check("GET /v1/touchpoints/{slug}", await client.get("/v1/touchpoints/line"))
    check("GET /v1/touchpoints", await client.get("/v1/touchpoints"))
    check(unmerge, await client.post("/v1/touchpoints/line/unmerge", json={"reason": "r"}))
    check(unmerge, await client.post("/v1/touchpoints/line/unmerge", json={"reason": "r"}))
    check("GET /v1/rejected", rejected := await client.get("/v1/rejected"))
    item = rejected.json()["items"][0]["rejection_id"]
    check("GET /v1/rejected/{rejection_id}", await client.get(f"/v1/rejected/{item}"))
    check("POST /v1/keys", await client.post("/v1/keys", json={"name": "n", "scopes": ["read"]}))
    check("GET /v1/keys", await client.get("/v1/keys"))
    check("GET /v1/retention", await client.get("/v1/retention"))
    check("GET /health/ready", await client.get("/health/ready"))
    check("GET /health/live", await client.get("/health/live"))


async def test_real_answers_about_schemas_are_what_the_document_says(client: httpx.AsyncClient, make: Make) -> None:
    one, path = "/v1/schemas/{channel}/{kind}", "/v1/schemas/phone/call"
    await store(client, make(kind="call"))
    body = {"schema": {"required": ["agent"]}}
    check(f"PUT {one}", await client.put(path, json=body))
    check(f"PUT {one}", await client.put(path, json=body))
    check(f"PUT {one}", await client.put(path, json={"schema": {"type": 1}}))
    check(f"PUT {one}", await client.put(path, json=body, headers={"If-Match": "x"}))
    check(f"GET {one}", await client.get(path))
    check("GET /v1/schemas", await client.get("/v1/schemas"))
    check(f"GET {one}/versions", await client.get(f"{path}/versions"))
    check(f"GET {one}/versions/{{version}}", await client.get(f"{path}/versions/1"))
    check(f"POST {one}/activate", await client.post(f"{path}/activate", json={"version": 1}))
    check(f"POST {one}/check", await client.post(f"{path}/check", json={}))
    check(f"POST {one}/check", await client.post(f"{path}/check", json=body))
    check(f"GET {one}/report", await client.get(f"{path}/report"))
    check(f"GET {one}", await client.get("/v1/schemas/fax/call"))


async def test_real_answers_about_events_are_what_the_document_says(client: httpx.AsyncClient) -> None:
    [event] = DOCUMENT["components"]["schemas"]["CloudEvent"]["examples"]
    storing, batch = "POST /v1/cloudevents", "application/cloudevents-batch+json"
    structured = {"Content-Type": "application/cloudevents+json"}
    events: list[Node] = [event, event, event | {"data": {"customer": {"crm_id": "C-17"}}}, {}]
    for sent in events:
        check(storing, await client.post("/v1/cloudevents", json=sent, headers=structured))
    check(storing, await client.post("/v1/cloudevents", json=[event, {}], headers={"Content-Type": batch}))
    check(storing, await client.post("/v1/cloudevents", json=event))
    check("OPTIONS /v1/cloudevents", await client.options("/v1/cloudevents"))
    journey, path = "GET /v1/customers/{customer}/journey", "/v1/customers/crm_id:C-17/journey"
    answer = await client.get(path, headers={"Accept": batch})
    check(journey, answer)
    assert answer.json() == [event]
    check(journey, await client.get(path, headers={"Accept": "application/cloudevents+json"}))


async def test_real_answers_about_identity_are_what_the_document_says(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(customer={"email": ["anna@example.com", "a@example.com"], "cookie_id": "c"})
    await store(client, sent)
    named = "/v1/customers/cookie_id:c"
    body = {"identifiers": ["email:a@example.com"], "reason": "r"}
    check("POST /v1/customers/{customer}/split", await client.post(f"{named}/split", json=body))
    check("POST /v1/customers/{customer}/split", await client.post(f"{named}/split", json=body))
    await store(client, sent | {"id": "again"})
    check("GET /v1/identity/suspected", suspected := await client.get("/v1/identity/suspected"))
    path = f"/v1/identity/suspected/{suspected.json()['items'][0]['suspicion_id']}/dismiss"
    dismissing = "POST /v1/identity/suspected/{suspicion_id}/dismiss"
    check(dismissing, await client.post(path, json={"reason": "r"}))
    check(dismissing, await client.post(path, json={}))
    restoring = "POST /v1/identity/suspected/{suspicion_id}/restore"
    check(restoring, await client.post(path.replace("dismiss", "restore"), json={"reason": "r"}))
    shop = {"email": "info@shop.example"}
    await store_all(client, [make(customer={"account_id": f"a-{number}"} | shop) for number in range(11)])
    shared = (await client.get("/v1/identity/suspected", params={"why": "shared"})).json()["items"][0]
    path = f"/v1/identity/suspected/{shared['suspicion_id']}/restore"
    check(restoring, await client.post(path, json={"reason": "r"}))
    body = {"into": "email:a@example.com", "reason": "r"}
    check("POST /v1/customers/{customer}/merge", await client.post(f"{named}/merge", json=body))
    check("GET /v1/customers/{customer}/identity", await client.get(f"{named}/identity"))
    then = datetime.now(UTC).isoformat()
    check("GET /v1/customers/{customer}/identity", await client.get(f"{named}/identity", params={"at": then}))
    body = {"into": "cookie_id:d", "reason": "r"}
    await store(client, sent | {"id": "weak", "customer": {"cookie_id": "d"}})
    check("POST /v1/customers/{customer}/merge", await client.post("/v1/customers/cookie_id:d/merge", json=body))
    await store(client, sent | {"id": "other weak", "customer": {"cookie_id": "e"}})
    check("POST /v1/customers/{customer}/merge", await client.post("/v1/customers/cookie_id:e/merge", json=body))


async def test_real_answers_about_privacy_are_what_the_document_says(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(customer={"email": "anna@example.com", "cookie_id": "c"}))
    await client.post("/v1/interactions", json=make(channel="x"))
    check("GET /v1/customers/{customer}/export", await client.get("/v1/customers/cookie_id:c/export"))
    erased = await client.request("DELETE", "/v1/customers/cookie_id:c", json={"reason": "asked for"})
    check("DELETE /v1/customers/{customer}", erased)
    check("DELETE /v1/customers/{customer}", await client.delete("/v1/customers/cookie_id:c"))
    check("GET /v1/erasures", await client.get("/v1/erasures"))
    check("GET /v1/erasures/{erasure_id}", await client.get(f"/v1/erasures/{erased.json()['erasure_id']}"))
    check("GET /v1/audit", await client.get("/v1/audit"))
    check("GET /v1/audit/head", await client.get("/v1/audit/head"))


async def test_real_answers_about_party_interactions_are_what_the_document_says(client: httpx.AsyncClient) -> None:
    root = "/tmf-api/partyInteraction/v4"
    posting, one = f"POST {root}/partyInteraction", f"{root}/partyInteraction/{{party_interaction_id}}"
    [body] = OPERATIONS[posting]["requestBody"]["content"]["application/json"]["schema"]["examples"]
    named = body | {"externalIdentifier": [{"id": "a"}]}
    check(posting, made := await client.post(f"{root}/partyInteraction", json=named))
    check(posting, await client.post(f"{root}/partyInteraction", json=named))
    check(posting, await client.post(f"{root}/partyInteraction", json=named | {"reason": "other"}))
    check(posting, await client.post(f"{root}/partyInteraction", json={}))
    check(posting, await client.post(f"{root}/partyInteraction", json=body))
    check(f"GET {root}/partyInteraction", await client.get(f"{root}/partyInteraction"))
    check(f"GET {root}/partyInteraction", await client.get(f"{root}/partyInteraction?limit=1"))
    check(f"GET {one}", await client.get(made.headers["location"]))
    check(f"GET {one}", await client.get(f"{root}/partyInteraction/none"))
    check(f"PATCH {one}", await client.patch(made.headers["location"], json={"status": "cancelled"}))
    check(f"POST {root}/hub", await client.post(f"{root}/hub", json={"callback": "https://8.8.8.8/"}))
    check(f"POST {root}/hub", await client.post(f"{root}/hub", json={"callback": "http://127.0.0.1/"}))


async def test_real_answers_of_the_feed_are_what_the_document_says(client: httpx.AsyncClient, make: Make) -> None:
    [receipt] = await store(client, make())
    await client.patch(f"/v1/interactions/{receipt['interaction_id']}", json={"text": "t"})
    await client.put("/v1/customers/email:anna@example.com/traits", json={"traits": {"a": 1}})
    check("GET /v1/feed", await client.get("/v1/feed"))
    check("GET /v1/feed", await client.get("/v1/feed?after=now"))
    check("GET /v1/feed", await client.get("/v1/feed?after=x"))
    check("GET /v1/feed/stream", await client.get("/v1/feed/stream?after=x"))
    making, one = "POST /v1/subscriptions", "/v1/subscriptions/{subscription_id}"
    [body] = OPERATIONS[making]["requestBody"]["content"]["application/json"]["schema"]["examples"]
    check(making, made := await client.post("/v1/subscriptions", json=body | {"url": "https://8.8.8.8/"}))
    check(making, await client.post("/v1/subscriptions", json={"url": "http://127.0.0.1/"}))
    check("GET /v1/subscriptions", await client.get("/v1/subscriptions"))
    there = made.headers["location"]
    check(f"GET {one}", await client.get(there))
    for path in (one, f"{one}/rotate-secret", f"{one}/replay"):
        method = "PATCH" if path == one else "POST"
        operation = f"{method} {path}"
        [body] = OPERATIONS[operation]["requestBody"]["content"]["application/json"]["schema"]["examples"]
        check(operation, await client.request(method, there + path.removeprefix(one), json=body))
    check(f"POST {one}/replay", await client.post(f"{there}/replay", json={"after": "now"}))
    check(f"GET {one}/dead-letters", await client.get(f"{there}/dead-letters"))


async def test_real_answers_of_searches_and_segments_are_what_the_document_says(database_url: str, make: Make) -> None:
    bought = {"order_id": "1", "total": {"amount": 20.5, "currency": "EUR"}}
    buyers = {"filter": {"channel": ["purchase"]}}
    async with running(database_url) as (app, client):
        await store(client, make(customer={"cookie_id": "c"}, channel="purchase", details=bought))
        check("GET /v1/customers", await client.get("/v1/customers?identifier=cookie_id:c"))
        await follow(app.state.services)
        check("GET /v1/customers", await client.get("/v1/customers?identifier=cookie_id:c"))
        check("GET /v1/customers", await client.get("/v1/customers?order=best"))
        for _ in range(2):
            check("PUT /v1/segments/{name}", await client.put("/v1/segments/a", json=buyers))
        check("GET /v1/segments", await client.get("/v1/segments"))
        check("GET /v1/segments/{name}", await client.get("/v1/segments/a"))
        check("GET /v1/segments/{name}/members", await client.get("/v1/segments/a/members"))
        check("GET /v1/segments/{name}/members/{customer}", await client.get("/v1/segments/a/members/cookie_id:c"))


async def test_real_answers_of_figures_are_what_the_document_says(database_url: str, make: Make) -> None:
    async with running(database_url) as (app, client):
        cost = {"cost": {"amount": 2.5, "currency": "EUR"}}
        feedback = [{"metric": "nps", "score": 3, "min": 0, "max": 10}]
        await store(client, *(make(agent=agent, feedback=feedback) for agent in ("a", None) for _ in range(40)))
        await store(client, make(channel="mail", details=cost, touchpoint="letters"))
        for _ in range(2):
            for month in ("03", "04"):
                span = f"from=2026-{month}-01T00:00:00Z&to=2026-{month}-03T00:00:00Z"
                check("GET /v1/touchpoints", await client.get(f"/v1/touchpoints?{span}"))
                check("GET /v1/analytics/channels", await client.get(f"/v1/analytics/channels?{span}&tz=Asia/Kolkata"))
                for by in ("", "&by=agent&top=1", "&interval=month&by=channel"):
                    answer = await client.get(f"/v1/touchpoints/phone/stats?{span}{by}")
                    check("GET /v1/touchpoints/{slug}/stats", answer)
            await roll(app.state.services)


WANTED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
]


def test_made_up_requests_are_answered_as_the_document_says(server_url: str, template: str) -> None:
    load_all_checks()
    checks: list[Any] = [*CHECKS.get_by_names(WANTED)]
    made_up = schemathesis.openapi.from_dict(DOCUMENT)
    operations = [result.ok() for result in made_up.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) == len(OPERATIONS)

    async def explore(url: str) -> None:
        async with running(url) as (_, client):
            loop = asyncio.get_running_loop()

            def answer_to(case: schemathesis.Case[Any]) -> httpx.Response:
                # Nothing would come of it but a longer test.
                (case.query or {}).pop("wait", None)
                wanted = case.as_transport_kwargs(base_url="http://percorso.test")
                sending = client.request(
                    **{name: value for name, value in wanted.items() if name not in {"headers", "data", "cookies"}},
                    headers=dict(wanted["headers"]) | {"Authorization": f"Bearer {KEY}"},
                    content=wanted.get("data"),
                )
                return asyncio.run_coroutine_threadsafe(sending, loop).result(30)

            def try_out(operation: Operation, mode: schemathesis.GenerationMode) -> None:
                @given(operation.as_strategy(mode))
                @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
                def conforms(case: schemathesis.Case[Any]) -> None:
                    case.validate_response(answer_to(case), checks=checks)

                conforms()

            # A stream has no end.
            for operation in (each for each in operations if not each.path.endswith("/stream")):
                for mode in schemathesis.GenerationMode:
                    with suppress(Unsatisfiable):
                        await asyncio.to_thread(try_out, operation, mode)
            assert await healthy(client)

    with database_from(server_url, template) as url:
        asyncio.run(explore(url))
