"""Errors as a caller meets them: always a problem document, whoever raises it, and never anything personal."""

import asyncio

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from exchanges import Item, check_problem, healthy, journey_of, pointers, store
from percorso.http import batches
from percorso.queries import touchpoints
from support import Make, running
from writing import until

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "errors"}


async def test_a_problem_has_every_member(client: httpx.AsyncClient) -> None:
    document = check_problem(await client.get(journey_of("email:nobody@example.com")), 404, "unknown_customer")
    assert document.keys() == MEMBERS
    assert document["errors"] == []


async def test_an_unknown_path_is_not_found_with_or_without_a_key(client: httpx.AsyncClient) -> None:
    for path in (
        "/",
        "/v1",
        "/v2/interactions",
        "/v1/interactions/",
        "/v1/interactions/a/b",
        "/v1%2Finteractions",
        "/docs/x",
    ):
        check_problem(await client.get(path), 404, "not_found")
        check_problem(await client.get(path, headers={"Authorization": ""}), 404, "not_found")


async def test_a_wrong_method_is_told_which_are_right(client: httpx.AsyncClient) -> None:
    for method, path, allowed in (
        ("PUT", "/v1/interactions", "GET, POST"),
        ("GET", "/v1/interactions/batch", None),
        ("POST", "/v1/interactions/0b8f2a5e-6c1d-4f0e-9a77-2f64d1f0c3aa", "GET, PATCH, DELETE"),
        ("PATCH", "/v1/touchpoints/a", "GET, PUT"),
        ("BREW", "/health/live", "GET"),
    ):
        answer = await client.request(method, path)
        if allowed is None:  # `batch` could be the id of an interaction
            assert answer.status_code == 422
            continue
        check_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


async def test_a_parameter_a_route_does_not_know_is_refused_by_every_route(client: httpx.AsyncClient) -> None:
    for path in (
        "/v1/interactions?source=a&id=b",
        "/v1/touchpoints?",
        "/v1/touchpoints/a?",
        "/v1/touchpoints/a/interactions?",
        "/v1/customers/email:anna@example.com?",
        journey_of("email:anna@example.com") + "?",
        "/v1/rejected?",
        "/v1/keys?",
        "/health/live?",
        "/health/ready?",
        "/metrics?",
    ):
        document = check_problem(await client.get(f"{path}&limmit=3"), 422, "invalid_request")
        assert pointers(document) == ["/query/limmit"]
    document = check_problem(await client.post("/v1/interactions?dry_run=true", content=b"{}"), 422, "invalid_request")
    assert pointers(document) == ["/query/dry_run"]


async def test_the_request_id_is_the_callers_or_made(client: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/nowhere", "/v1/keys"):
        assert (await client.get(path, headers={"X-Request-Id": "trace-1.a_b"})).headers[
            "x-request-id"
        ] == "trace-1.a_b"
        for unfit in ("", "a b", "x" * 65, "anna@example.com", "a\tb"):
            made = (await client.get(path, headers={"X-Request-Id": unfit})).headers["x-request-id"]
            assert made != unfit
            assert len(made) == 16


async def test_what_no_one_foresaw_is_a_problem_too_that_names_nothing_and_is_logged_without_its_words(
    database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> Item:
        raise ValueError("anna@example.com is not a number") from KeyError("anna@example.com")

    async with running(database_url) as (_, client):
        await store(client, make())
        monkeypatch.setattr(touchpoints, "counted_as", broken)
        with capture_logs() as logs:
            answer = await client.get("/v1/touchpoints/phone", headers={"X-Request-Id": "trace-1"})
        document = check_problem(answer, 500, "internal_error")
        assert document.keys() == MEMBERS
        assert "anna" not in answer.text
        assert "anna" not in str(logs)
        [failure] = [line for line in logs if line["log_level"] == "error"]
        assert failure["request_id"] == answer.headers["x-request-id"] == "trace-1"
        assert failure["error"] == ["builtins.ValueError", "builtins.KeyError"]
        assert failure["where"][-1].endswith(" in broken")
        counted = (await client.get("/metrics")).text
        assert 'route="/v1/touchpoints/{slug:name}",status="500"} 1.0' in counted


async def test_a_failure_of_a_chunk_leaves_no_task_behind(
    database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        await asyncio.sleep(0)
        raise ValueError

    async with running(database_url) as (_, client):
        monkeypatch.setattr(batches, "_take", broken)
        before = len(asyncio.all_tasks())
        check_problem(
            await client.post("/v1/interactions/batch", json=[make() for _ in range(2000)]), 500, "internal_error"
        )
        await until(lambda: len(asyncio.all_tasks()) <= before)
        monkeypatch.undo()
        await store(client, make())


async def test_lost_connections_are_answered_as_unavailable_and_soon_made_anew(
    client: httpx.AsyncClient, make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    [receipt] = await store(client, make())
    path = f"/v1/interactions/{receipt['interaction_id']}"
    for method, url, content in (
        ("GET", path, None),
        ("PATCH", path, b'{"text": "t"}'),
        ("PUT", "/v1/touchpoints/a", b"{}"),
        ("POST", "/v1/keys", b'{"name": "n", "scopes": ["read"]}'),
    ):
        await asyncio.gather(*(client.get(path) for _ in range(5)))  # several connections in the pool
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        statuses = []
        for _ in range(12):
            answer = await client.request(method, url, content=content)
            statuses.append(answer.status_code)
            if answer.status_code >= 500:
                check_problem(answer, 503, "unavailable")
                assert int(answer.headers["retry-after"]) > 0
        assert statuses[-1] < 300, (method, statuses)
        assert statuses.count(503) <= 6, (method, statuses)
    assert (await client.post("/v1/interactions", json=make())).status_code == 201
    assert await healthy(client)
