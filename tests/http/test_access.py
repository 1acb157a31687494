"""Who may call what: every route, without a key, with a bad one, and with each scope."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from test_statements import statements_read

from exchanges import Item, check_problem, items_at, journey_of, pointers, store
from issuing import Issuer, issuing
from percorso.app import create_app
from percorso.http.access import SCOPES
from support import KEY, Make, running, settings_for
from writing import Database

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
    "read_watches": "read",
    "read_watch": "read",
    "read_firings": "read",
    "try_watch": "read",
    "put_watch": "write",
    "delete_watch": "write",
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
    "count_rejected": "read",
    "replay_rejected": "write",
    "dismiss_rejected": "write",
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
    "read_feed": "read",
    "stream_feed": "read",
    "create_subscription": "read",
    "read_subscriptions": "read",
    "read_subscription": "read",
    "change_subscription": "read",
    "delete_subscription": "read",
    "rotate_secret": "read",
    "check_subscription": "read",
    "read_dead_letters": "read",
    "replay_subscription": "read",
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
    "change_key": "admin",
    "rotate_key": "admin",
    "revoke_key": "admin",
}
OPEN = {"check_live", "check_ready", "read_metrics", "greet_cloudevents", "read_segment_settings"}
KEYED = {
    "create_hub",
    "delete_hub",
    "create_subscription",
    "read_subscriptions",
    "read_subscription",
    "change_subscription",
    "delete_subscription",
    "rotate_secret",
    "check_subscription",
    "read_dead_letters",
    "replay_subscription",
}
"""What lasts, and so needs a key that can be revoked."""
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


async def credentials(client: httpx.AsyncClient, issuer: Issuer, database: Database) -> dict[str, dict[str, str]]:
    """Headers by what they show of their sender: one of each kind of key, and of token."""
    known = {f"a key that may {scope}": bearer((await new_key(client, scope))["key"]) for scope in SCOPES}
    known |= {f"a token that may {scope}": bearer(issuer.token(scope)) for scope in SCOPES}
    revoked, expired, rotated = [await new_key(client, "admin") for _ in range(3)]
    assert (await client.delete(f"/v1/keys/{revoked['id']}")).status_code == 204
    await database.execute("UPDATE api_keys SET expires_at = now() WHERE key_id = $1", UUID(expired["id"]))
    again = await client.post(f"/v1/keys/{rotated['id']}/rotate", json={"overlap": "0s"})
    assert again.status_code == 200, again.text
    ago = datetime.now(UTC) - timedelta(hours=1)
    return known | {
        "nothing": {},
        "a key that never was": bearer("wrong"),
        "no key": bearer(""),
        "another scheme": {"Authorization": f"Basic {KEY}"},
        "a key that was revoked": bearer(revoked["key"]),
        "a key that has expired": bearer(expired["key"]),
        "a secret that was rotated away": bearer(rotated["key"]),
        "a token that has expired": bearer(issuer.token("admin", exp=ago)),
        "a token for others": bearer(issuer.token("admin", aud="others")),
        "a token without scopes": bearer(issuer.token()),
        "a token of a customer": bearer(issuer.token("customer admin read", sub="nobody-here@example.com")),
    }


def may(shown: str, name: str) -> int:
    """What a route answers to such a sender: 200 stands for whatever is neither 401 nor 403."""
    if shown.rpartition(" ")[2] in {NEEDED[name], "admin"}:
        return 403 if name in KEYED and "token" in shown else 200
    return 403 if " may " in shown or shown in {"a token without scopes", "a token of a customer"} else 401


async def test_every_route_wants_a_key_or_a_token_of_the_right_scope_and_else_says_nothing(
    database_url: str, database: Database, make: Make
) -> None:
    async with (
        issuing() as issuer,
        running(
            database_url, audit_reads=0, allow_private_callbacks=True, jwt_customer_kind="email", **issuer.settings
        ) as (app, client),
    ):
        [receipt] = await store(client, make(touchpoint="shop"))
        await client.post("/v1/interactions", content=b"{}")
        assert (await client.put("/v1/segments/everyone", json={"filter": {}})).status_code == 201
        watch: Item = {"rule": {"when": [{"match": {}}]}}
        assert (await client.put("/v1/watches/everyone", json=watch)).status_code == 201
        [rejected] = await items_at(client, "/v1/rejected")
        await store(client, make(customer={"crm_id": ["C-1", "C-2"]}))
        [suspected] = await items_at(client, "/v1/identity/suspected")
        await store(client, make(customer={"email": "beppe@example.com"}))
        erased = (await client.delete("/v1/customers/email:beppe@example.com")).json()
        assert (await client.put("/v1/schemas/fax/read", json={"schema": {}})).status_code == 201
        callback = {"callback": "https://8.8.8.8/"}
        hub = (await client.post("/tmf-api/partyInteraction/v4/hub", json=callback)).json()["id"]
        subscription = (await client.post("/v1/subscriptions", json={"url": "http://127.0.0.1:1/"})).json()["id"]
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
            "{subscription_id}": subscription,
        }
        nowhere = dict.fromkeys(there, str(uuid4())) | {"{customer}": "not a customer", "{slug}": "NOT/a/slug"}
        every = await credentials(client, issuer, database)
        del client.headers["Authorization"]
        for name, (method, path) in operations(app).items():
            if name in OPEN:
                assert (await client.request(method, path)).status_code == 200
                continue
            for shown, headers in every.items():
                expected = may(shown, name)
                told = set()
                for places in (nowhere, there):
                    # A stream that is well asked for has no end.
                    url = path + ("?after=x" if name == "stream_feed" else "")
                    for place, value in places.items():
                        url = url.replace(place, value)
                    async with statements_read(app) as seen:
                        answer = await client.request(method, url, content=b"{", headers=headers)
                    if expected == 200:
                        assert answer.status_code not in {401, 403}, (name, shown, answer.text)
                        assert answer.status_code < 500, (name, shown, answer.text)
                        continue
                    code = "unauthorized" if expected == 401 else "forbidden"
                    told.add(refused(answer, expected, code))
                    assert ("www-authenticate" in answer.headers) == (expected == 401)
                    asked = [query for query, _ in seen if "api_keys" not in query]
                    assert not asked, (name, shown)
                # The same words, and no look-up but for the key itself, for what exists and for what does not.
                assert expected == 200 or len(told) == 1, (name, shown, told)
                if shown.startswith("a key that may") and expected == 403:
                    assert NEEDED[name] in told.pop()


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


async def test_a_key_that_is_no_text_or_too_long_is_only_wrong(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    for key in ("\\ud800", "eyJ\\ud800.x.y", "x" * 100_000, "é" * 600):
        body = b'{"userId": "u", "messageId": "m", "writeKey": "%b"}' % key.encode()
        answer = await client.post("/segment/v1/page", content=body)
        assert answer.status_code in {400, 401, 413}, answer.text
    for key in ("%ED%A0%80", "a" * 5000, "eyJ.%F0%9F.x"):
        answer = await client.post(f"/v1/cloudevents?access_token={key}", content=b"{}")
        check_problem(answer, 401, "unauthorized")
