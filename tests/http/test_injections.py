"""Every parameter of every route, given what is meant to be taken for SQL, a path, a template, or for nothing."""

import json
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from exchanges import healthy, ids_at, journey_of, store
from percorso.app import create_app
from support import Make, running, settings_for

DOCUMENT: Final = create_app(settings_for("postgresql://unused")).openapi()
HOSTILE: Final = (
    "' OR '1'='1",
    "'; DROP TABLE interactions; --",
    "1); DELETE FROM api_keys; --",
    "' UNION SELECT version(), 1 --",
    "$1",
    "%s%s%s%n",
    "{{7*7}}${7*7}",
    "\\'; SELECT pg_sleep(30); --",
    "email:' OR true --",
    "a\0b",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "a\r\nX-Injected: yes",
    "-1",
    "1e308",
    "9" * 400,
    "NaN",
    "x" * 20_000,
    "",
    " ",
    "\u202e\ufeff\U0001f4a9",
)
WAYS: Final = [
    (method.upper(), path, operation.get("parameters", []))
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
SECRET: Final = ("PostgreSQL", "asyncpg", "sqlalchemy", "syntax error", "Traceback", "pg_catalog", "root:")
"""What only an answer shows that took what it was given for something else, or tells of what is inside."""


def check_harmless(answer: httpx.Response, what: object) -> None:
    assert answer.status_code < 500, (what, answer.text[:500])
    assert "x-injected" not in answer.headers, what
    if answer.status_code >= 400:
        assert "json" in answer.headers["content-type"], what
        said = answer.text
        for given in HOSTILE:
            # What was sent may be repeated, and says nothing.
            said = said.replace(json.dumps(given)[1:-1], "").replace(given, "") if given.strip() else said
        assert not [word for word in SECRET if word in said], (what, said[:500])


def filled(path: str, parameters: list[dict[str, Any]], others: dict[str, str]) -> str:
    for parameter in parameters:
        if parameter["in"] == "path":
            name = parameter["name"]
            path = path.replace("{" + name + "}", quote(others.get(name, "x"), safe=""))
    return path


@pytest.mark.parametrize(("method", "path", "parameters"), WAYS, ids=[f"{method} {path}" for method, path, _ in WAYS])
async def test_no_parameter_is_taken_for_anything_but_a_value(
    client: httpx.AsyncClient, make: Make, method: str, path: str, parameters: list[dict[str, Any]]
) -> None:
    await store(client, make(id="still there", touchpoint="shop"))
    needed = {each["name"]: "x" for each in parameters if each.get("required") and each["in"] == "query"}
    if path.endswith("/stream"):
        # One that is well asked for has no end.
        needed["after"] = "x"
    body: dict[str, Any] = {"json": {}} if method in {"POST", "PUT", "PATCH"} else {}
    for parameter in parameters:
        if parameter["in"] not in {"path", "query"}:
            continue
        for value in HOSTILE:
            name = parameter["name"]
            if parameter["in"] == "path":
                if not value:
                    continue
                answer = await client.request(method, filled(path, parameters, {name: value}), params=needed, **body)
            else:
                params = needed | {name: value}
                answer = await client.request(method, filled(path, parameters, {}), params=params, **body)
            check_harmless(answer, (name, value[:60]))
            twice = [("limit", value), ("limit", value)]
        answer = await client.request(method, filled(path, parameters, {}), params=[*twice, (name, "a"), (name, "b")])
        check_harmless(answer, (name, "twice"))
    assert await ids_at(client, journey_of("email:anna@example.com")) == ["still there"]
    assert await healthy(client)


async def test_no_parameter_that_is_not_known_is_passed_over(client: httpx.AsyncClient) -> None:
    for method, path, parameters in WAYS:
        if method != "GET" or path.startswith(("/health", "/metrics", "/segment", "/tmf-api", "/v1/cloudevents")):
            continue
        answer = await client.get(filled(path, parameters, {}), params={"'; DROP TABLE interactions; --": "1"})
        assert answer.status_code == 422, (path, answer.text)
        assert answer.json()["errors"], path


@pytest.mark.parametrize(
    "token",
    [
        "' OR '1'='1",
        "x" * 60_000,
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiIsInNjb3BlIjoiYWRtaW4ifQ.",
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiJ9.AAAA",
        ".." * 1000,
        "e30.e30.e30",
        "\xff\xfe",
        "a b c",
        "null",
        "../../key",
        "pk_" + "0" * 40,
    ],
    ids=lambda token: token[:20],
)
@pytest.mark.parametrize("kind", ["Bearer", "bearer", "Basic", "Digest", "Negotiate", ""])
async def test_no_made_up_token_opens_anything(database_url: str, token: str, kind: str) -> None:
    async with running(database_url) as (_, client):
        headers = {"Authorization": f"{kind} {token}".encode("latin-1")}
        for path in ("/v1/keys", "/v1/customers/email:anna@example.com/journey", "/v1/interactions/none"):
            answer = await client.get(path, headers=headers)  # type: ignore[arg-type]
            assert answer.status_code == 401, answer.text
            assert len(answer.content) < 1000
        stored = await client.post("/v1/interactions", json={}, headers=headers)  # type: ignore[arg-type]
        assert stored.status_code == 401
