"""Who may call what: every route, without a key, with a bad one, and with each scope."""

from uuid import uuid4

import httpx
from fastapi import FastAPI

from exchanges import Item, check_problem, items_at, journey_of, pointers, store
from percorso.app import create_app
from percorso.http.access import SCOPES
from support import KEY, Make, running, settings_for

NEEDED = {
    "store_interaction": "ingest",
    "store_interactions": "ingest",
    "store_cloudevents": "ingest",
    "store_segment_calls": "ingest",
    "find_interaction": "read",
    "read_interaction": "read",
    "read_interaction_revisions": "read",
    "read_journey": "read",
    "read_customer": "read",
    "find_customers": "read",
    "read_segments": "read",
    "read_segment": "read",
    "read_members": "read",
    "read_membership": "read",
    "put_segment": "write",
    "delete_segment": "write",
    "read_summary": "read",
    "read_episodes": "read",
    "read_traits": "read",
    "read_trait_history": "read",
    "read_consents": "read",
    "read_consent_history": "read",
    "read_identity": "read",
    "read_suspected": "read",
    "merge_customers": "write",
    "split_customer": "write",
    "dismiss_suspicion": "write",
    "restore_identifier": "write",
    "read_touchpoints": "read",
    "read_touchpoint": "read",
    "read_touchpoint_interactions": "read",
    "read_touchpoint_stats": "read",
    "read_channels": "read",
    "read_transitions": "read",
    "read_paths": "read",
    "read_funnel": "read",
    "read_attribution": "read",
    "read_problems": "read",
    "read_contact_quality": "read",
    "read_rejected": "read",
    "read_rejected_item": "read",
    "read_schemas": "read",
    "read_schema": "read",
    "read_schema_versions": "read",
    "read_schema_version": "read",
    "read_schema_report": "read",
    "check_schema": "read",
    "put_schema": "admin",
    "delete_schema": "admin",
    "activate_schema": "admin",
    "create_party_interaction": "ingest",
    "read_party_interaction": "read",
    "list_party_interactions": "read",
    "patch_party_interaction": "write",
    "delete_party_interaction": "write",
    "create_hub": "read",
    "delete_hub": "read",
    "enrich_interaction": "write",
    "delete_interaction": "write",
    "describe_touchpoint": "write",
    "merge_touchpoints": "write",
    "unmerge_touchpoint": "write",
    "say_traits": "write",
    "say_consents": "write",
    "read_retention": "admin",
    "export_customer": "privacy",
    "erase_customer": "privacy",
    "read_erasures": "privacy",
    "read_erasure": "privacy",
    "read_audit_log": "privacy",
    "read_audit_head": "privacy",
    "read_keys": "admin",
    "create_key": "admin",
    "revoke_key": "admin",
}
OPEN = {"check_live", "check_ready", "read_metrics", "greet_cloudevents", "read_segment_settings"}
TMF = "/tmf-api/"
"""Where paths begin whose errors are not problem documents."""


def operations(app: FastAPI) -> dict[str, tuple[str, str]]:
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """What an error says, all of it but for the request's id."""
    if answer.request.url.path.startswith(TMF):
        error = answer.json()
        assert (answer.status_code, error["status"], error["code"]) == (status, str(status), code)
    else:
        check_problem(answer, status, code)
    return answer.text.replace(answer.headers["x-request-id"], "")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def new_key(client: httpx.AsyncClient, *scopes: str) -> Item:
    answer = await client.post("/v1/keys", json={"name": "-".join(scopes), "scopes": scopes})
    assert answer.status_code == 201, answer.text
    made: Item = answer.json()
    return made


def test_the_document_says_which_routes_need_a_key() -> None:
    app = create_app(settings_for("postgresql://unused"))
    document = app.openapi()
    assert operations(app).keys() == NEEDED.keys() | OPEN
    for methods in document["paths"].values():
        for operation in methods.values():
            assert ("security" in operation) == (operation["operationId"] in NEEDED)


async def test_every_route_wants_a_valid_key_of_the_right_scope_and_else_says_nothing(
    database_url: str, make: Make
) -> None:
    async with running(database_url) as (app, client):
        [receipt] = await store(client, make(touchpoint="shop"))
        await client.post("/v1/interactions", content=b"{}")
        assert (await client.put("/v1/segments/everyone", json={"filter": {}})).status_code == 201
        [rejected] = await items_at(client, "/v1/rejected")
        await store(client, make(customer={"crm_id": ["C-1", "C-2"]}))
        [suspected] = await items_at(client, "/v1/identity/suspected")
        await store(client, make(customer={"email": "beppe@example.com"}))
        erased = (await client.delete("/v1/customers/email:beppe@example.com")).json()
        assert (await client.put("/v1/schemas/fax/read", json={"schema": {}})).status_code == 201
        keys = {scope: (await new_key(client, scope))["key"] for scope in SCOPES}
        callback = {"callback": "https://8.8.8.8/"}
        hub = (await client.post("/tmf-api/partyInteraction/v4/hub", json=callback)).json()["id"]
        victim = (await new_key(client, "read"))["id"]
        there = {
            "{interaction_id}": receipt["interaction_id"],
            "{customer}": "email:anna@example.com",
            "{slug}": "shop",
            "{name}": "everyone",
            "{call}": "batch",
            "{channel}": "fax",
            "{kind}": "read",
            "{version}": "1",
            "{rejection_id}": rejected["rejection_id"],
            "{suspicion_id}": suspected["suspicion_id"],
            "{erasure_id}": erased["erasure_id"],
            "{key_id}": victim,
            "{party_interaction_id}": (await store(client, make()))[0]["interaction_id"],
            "{hub_id}": hub,
        }
        nowhere = dict.fromkeys(there, str(uuid4())) | {"{customer}": "not a customer", "{slug}": "NOT/a/slug"}
        del client.headers["Authorization"]
        for name, (method, path) in operations(app).items():
            if name in OPEN:
                assert (await client.request(method, path)).status_code == 200
                continue
            refusals: dict[str, set[str]] = {"401": set(), "403": set()}
            for places in (nowhere, there):
                url = path
                for place, value in places.items():
                    url = url.replace(place, value)
                for headers in ({}, bearer("wrong"), {"Authorization": f"Basic {KEY}"}, bearer("")):
                    answer = await client.request(method, url, content=b"{", headers=headers)
                    assert answer.headers["www-authenticate"].startswith("Bearer"), name
                    refusals["401"].add(refused(answer, 401, "unauthorized"))
                for scope, key in keys.items():
                    answer = await client.request(method, url, content=b"{", headers=bearer(key))
                    if scope in {NEEDED[name], "admin"}:
                        assert answer.status_code not in {401, 403}, (name, scope, answer.text)
                        assert answer.status_code < 500, (name, scope, answer.text)
                    else:
                        refusals["403"].add(told := refused(answer, 403, "forbidden"))
                        assert NEEDED[name] in told
            # The same words for what exists and what does not, but for what is wrong with the key itself.
            assert len(refusals["401"]) <= 2
            assert len(refusals["403"]) == 1


async def test_a_revoked_key_stops_working_at_once_here_and_says_so_in_the_list(client: httpx.AsyncClient) -> None:
    made = await new_key(client, "read")
    assert (await client.get("/v1/touchpoints", headers=bearer(made["key"]))).status_code == 200
    assert (await client.delete(f"/v1/keys/{made['id']}")).status_code == 204
    check_problem(await client.get("/v1/touchpoints", headers=bearer(made["key"])), 401, "unauthorized")
    [listed] = [key for key in await items_at(client, "/v1/keys") if key["id"] == made["id"]]
    assert listed["revoked_at"] is not None
    check_problem(await client.delete(f"/v1/keys/{made['id']}"), 404, "not_found")
    check_problem(await client.delete(f"/v1/keys/{uuid4()}"), 404, "not_found")


async def test_a_key_is_shown_once_and_kept_as_a_hash(client: httpx.AsyncClient) -> None:
    made = await new_key(client, "ingest", "read")
    assert made["scopes"] == ["ingest", "read"]
    assert made["key"].startswith("pcs_")
    listing = await client.get("/v1/keys")
    assert made["key"] not in listing.text
    assert KEY not in listing.text
    assert [key["name"] for key in listing.json()["items"]] == ["bootstrap", "ingest-read"]
    assert {name: value for name, value in made.items() if name != "key"} == listing.json()["items"][1]


async def test_a_key_that_cannot_be_made_is_pointed_at(client: httpx.AsyncClient) -> None:
    for body, wrong in (
        ({}, ["/name", "/scopes"]),
        ({"name": "", "scopes": ["read"]}, ["/name"]),
        ({"name": "x" * 129, "scopes": ["read"]}, ["/name"]),
        ({"name": "x", "scopes": []}, ["/scopes"]),
        ({"name": "x", "scopes": ["root"]}, ["/scopes/0"]),
        ({"name": "x", "scopes": "read"}, ["/scopes"]),
        ({"name": "x", "scopes": ["read"], "key": "mine"}, ["/key"]),
    ):
        assert pointers(check_problem(await client.post("/v1/keys", json=body), 422, "invalid_request")) == wrong
    assert len(await items_at(client, "/v1/keys")) == 1


async def test_the_bootstrap_key_is_made_once_and_a_revoked_one_is_not_made_again(database_url: str) -> None:
    for _ in range(2):
        async with running(database_url) as (_, client):
            [key] = await items_at(client, "/v1/keys")
            assert sorted(key["scopes"]) == sorted(SCOPES)
    async with running(database_url) as (_, client):
        await client.delete(f"/v1/keys/{key['id']}")
    async with running(database_url) as (_, client):
        check_problem(await client.get("/v1/keys"), 401, "unauthorized")


async def test_the_scheme_is_read_in_any_case(client: httpx.AsyncClient, make: Make) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        await store(client, make())
        headers = {"Authorization": f"{scheme}   {KEY} "}
        assert (await client.get(journey_of("email:anna@example.com"), headers=headers)).status_code == 200


async def test_a_key_of_any_characters_is_only_wrong(client: httpx.AsyncClient) -> None:
    for key in (b"\xff\xfe", "ключ".encode(), b"x" * 20_000, b"a b", b"'; --"):
        answer = await client.get("/v1/keys", headers={b"Authorization": b"Bearer " + key})
        check_problem(answer, 401, "unauthorized")
