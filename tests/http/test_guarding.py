"""What browsers are told with every answer, and which sites' pages may ask through them."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any, cast

import httpx
import pytest
from pydantic import ValidationError

from exchanges import journey_of, store
from support import Make, running, settings_for

DESK = "https://desk.example.com"
ASKS = {"Origin": DESK, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def check_guarded(answer: httpx.Response) -> None:
    for name, value in EVERYWHERE.items():
        assert answer.headers.get_list(name) == [value], (name, answer.request.url)
    assert len(answer.headers.get_list("cache-control")) == 1, answer.request.url
    assert re.search("no-store|no-cache", answer.headers["cache-control"])


async def test_every_answer_says_not_to_guess_its_type_nor_to_keep_it(client: httpx.AsyncClient, make: Make) -> None:
    [receipt] = await store(client, make())
    answers = [
        await client.post("/v1/interactions", json=make()),
        await client.post("/v1/interactions", content=b"{"),
        await client.post("/v1/interactions/batch", json=[make()]),
        await client.get(f"/v1/interactions/{receipt['interaction_id']}"),
        await client.get(journey_of("email:anna@example.com")),
        await client.get(journey_of("email:nobody@example.com")),
        await client.get("/v1/customers/email:anna@example.com/export"),
        await client.get("/v1/keys"),
        await client.get("/v1/touchpoints", headers={"Authorization": "Bearer wrong"}),
        await client.get("/no/such/path"),
        await client.put("/v1/interactions"),
        await client.get("/health/ready"),
        await client.get("/metrics"),
        await client.get("/openapi.json"),
        await client.get("/tmf-api/partyInteraction/v4/partyInteraction/none"),
        await client.get("/segment/v1/projects/some-key/settings"),
        await client.post("/segment/v1/track", json={}),
    ]
    assert {answer.status_code for answer in answers} >= {200, 201, 400, 401, 404, 405, 422}
    for answer in answers:
        check_guarded(answer)
        assert "strict-transport-security" not in answer.headers
        assert "server" not in answer.headers


async def test_what_may_be_asked_for_again_by_its_tag_is_kept_by_no_one_else(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, make())
    answer = await client.get(journey_of("email:anna@example.com"))
    assert answer.headers["cache-control"] == "private, no-cache"
    again = await client.get(journey_of("email:anna@example.com"), headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    check_guarded(again)


async def test_a_refusal_before_anything_is_looked_at_is_guarded_too(database_url: str) -> None:
    async with running(database_url, cors_origins=[DESK]) as (app, client):
        cast("Any", app).budgets._most = 0  # noqa: SLF001 - as if that many requests were worked on
        answer = await client.get("/v1/touchpoints", headers={"Origin": DESK})
        assert answer.status_code == 503
        check_guarded(answer)
        assert answer.headers["access-control-allow-origin"] == DESK


async def test_a_service_reached_by_https_says_to_use_nothing_else(database_url: str) -> None:
    async with running(database_url, public_url="https://percorso.example.com") as (_, client):
        answer = await client.get("/health/live")
        assert re.fullmatch(r"max-age=\d{8,}", answer.headers["strict-transport-security"])


async def test_the_page_of_the_routes_runs_its_own_script_and_no_other(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    [policy] = answer.headers.get_list("content-security-policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert scripts
    for script in scripts:
        assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in rules["script-src"]
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & set(rules["script-src"])
    loaded = re.findall(r'(?:src|href)="(https?://[^/"]+)', answer.text)
    assert loaded
    assert set(loaded) <= set(rules["script-src"]) & set(rules["style-src"])
    assert rules["frame-ancestors"] == ["'none'"]
    [document] = re.findall(r"url: '([^']+)'", answer.text)
    assert (await client.get(httpx.URL("/docs").join(document))).json()["openapi"].startswith("3.1")


async def test_no_page_may_ask_unless_its_site_is_named(database_url: str) -> None:
    async with running(database_url) as (_, client):
        for answer in (await client.options("/v1/touchpoints", headers=ASKS), await client.get("/v1/touchpoints")):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert (await client.options("/v1/touchpoints", headers=ASKS)).status_code == 405


async def test_pages_of_the_named_sites_may_ask_with_a_key_and_those_of_others_may_not(
    database_url: str, make: Make
) -> None:
    async with running(database_url, cors_origins=[DESK, "http://localhost:5173"]) as (_, client):
        await store(client, make())
        journey = journey_of("email:anna@example.com")
        for path in (journey, "/v1/interactions", "/no/such/path"):
            asked = await client.options(path, headers=ASKS)
            assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, DESK)
            assert {"GET", "POST", "PATCH", "PUT", "DELETE"} <= set(
                asked.headers["access-control-allow-methods"].split(", ")
            )
            assert "Authorization" in asked.headers["access-control-allow-headers"]
            assert asked.headers["vary"] == "Origin"
        for origin in (DESK, "http://localhost:5173"):
            answer = await client.get(journey, headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert {"ETag", "Link", "X-Request-Id"} <= set(answer.headers["access-control-expose-headers"].split(", "))
            assert "access-control-allow-credentials" not in answer.headers
        for origin in ("https://evil.example", DESK + ".evil.example", "null", DESK.upper(), "http" + DESK[5:], ""):
            for answer in (
                await client.options(journey, headers=ASKS | {"Origin": origin}),
                await client.get(journey, headers={"Origin": origin}),
            ):
                assert "access-control-allow-origin" not in answer.headers, origin
                assert "Origin" in answer.headers["vary"].split(", ")
        refused = await client.get(journey, headers={"Origin": DESK, "Authorization": "Bearer wrong"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, DESK)


async def test_with_an_asterisk_pages_of_any_site_may_ask(database_url: str) -> None:
    async with running(database_url, cors_origins=["*"]) as (_, client):
        assert (await client.options("/v1/touchpoints", headers=ASKS)).headers["access-control-allow-origin"] == "*"
        answer = await client.get("/v1/touchpoints", headers={"Origin": "https://any.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Origin" not in answer.headers.get("vary", "")


async def test_who_asks_what_a_webhook_may_send_is_not_taken_for_a_browser(database_url: str) -> None:
    async with running(database_url, cors_origins=["*"]) as (_, client):
        answer = await client.options("/v1/cloudevents", headers={"WebHook-Request-Origin": "sender.example.com"})
        assert answer.headers["webhook-allowed-origin"] == "sender.example.com"


@pytest.mark.parametrize("origin", ["desk.example.com", "https://desk.example.com/", "https://a b", "ftp://x", ""])
def test_what_is_no_origin_is_refused_at_start(origin: str) -> None:
    with pytest.raises(ValidationError, match="cors_origins"):
        settings_for("postgresql://unused", cors_origins=[origin])
