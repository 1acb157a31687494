"""What operators see: health, metrics, logs, and a service that stops."""

import asyncio
import json
import logging
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from exchanges import NDJSON, Served, check_problem, healthy, ids_at, journey_of, raw_connection, serving_at, store
from percorso.http.services import Services
from support import KEY, Make, ndjson, running

ANNA = journey_of("email:anna@example.com")
LINES = int(os.environ.get("PERCORSO_STREAM_LINES", "14000"))
"""How long the longest stream is."""
PERSONAL = re.compile("anna|06982|C-17|rossi|secret words", re.IGNORECASE)


async def test_a_service_is_live_and_ready_and_asks_for_no_key(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    assert (await client.get("/health/live")).json() == {"status": "ok", "checks": {}}
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "checks": {"writer": "ok", "database": "ok", "schema": "ok"}}


async def test_a_service_whose_writer_has_stopped_is_not_ready_and_takes_nothing(database_url: str, make: Make) -> None:
    async with running(database_url) as (app, client):
        services: Services = app.state.services
        await services.writer.stop()
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.headers["retry-after"]
        assert ready.json()["checks"]["writer"] != "ok"
        for path in ("/v1/interactions", "/v1/interactions/batch"):
            answer = await client.post(path, json=make() if path.endswith("s") else [make()])
            check_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
        assert (await client.get("/health/live")).status_code == 200


async def test_a_service_whose_schema_is_stale_is_not_ready_and_one_whose_schema_is_of_a_later_release_is(
    client: httpx.AsyncClient, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute("UPDATE alembic_version SET version_num = 'older'")
    ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert "older" in ready.json()["checks"]["schema"]
    # While a release is rolled out, those before it serve on its schema.
    await database.execute("UPDATE alembic_version SET version_num = '29991231_2359'")
    assert (await client.get("/health/ready")).status_code == 200
    await database.execute("UPDATE alembic_version SET version_num = '20261122_1100'")
    assert (await client.get("/health/ready")).status_code == 503
    await database.execute("DROP TABLE alembic_version")
    assert (await client.get("/health/ready")).status_code == 503


async def test_metrics_count_by_route_and_verdict_and_name_no_one(client: httpx.AsyncClient, make: Make) -> None:
    def value(text: str, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} ([\d.e+]+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    names = [
        'percorso_http_requests_total{method="POST",route="/v1/interactions",status="201"}',
        'percorso_http_requests_total{method="GET",route="/v1/customers/{customer:name}/journey",status="200"}',
        'percorso_http_requests_total{method="none",route="none",status="404"}',
        'percorso_http_requests_total{method="none",route="/v1/interactions",status="405"}',
        'percorso_interactions_total{status="stored"}',
        'percorso_interactions_total{status="rejected"}',
        'percorso_interactions_total{status="duplicate"}',
        "percorso_commit_rows_count",
    ]
    before = (await client.get("/metrics")).text
    event = make(customer={"email": "anna@example.com", "phone": "+39066982"})
    await store(client, event)
    await client.post("/v1/interactions", json=event)
    await client.post("/v1/interactions", json=make(channel="anna"))
    assert (await client.get(ANNA)).status_code == 200
    await client.get("/anna@example.com")
    await client.request("ANNA", "/v1/interactions")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    rises = [value(answer.text, name) - value(before, name) for name in names]
    assert rises[:7] == [1.0] * 7
    assert rises[7] >= 1
    assert "percorso_writer_up 1.0" in answer.text
    # The figures themselves may hold any digits.
    assert not PERSONAL.search(re.sub(r" \S+$", "", answer.text, flags=re.MULTILINE))
    assert not PERSONAL.search((await client.get("/health/ready")).text)


async def test_log_lines_carry_the_request_and_nothing_personal(
    client: httpx.AsyncClient, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "percorso.access")
    with capture_logs() as logs:
        headers = {"X-Request-Id": "trace-7"}
        await client.post("/v1/interactions", json=make(text="secret words"), headers=headers)
        await client.post("/v1/interactions", json=make(channel="anna", customer={"phone": "066982"}), headers=headers)
        await client.get(ANNA, headers=headers)
        await client.get("/v1/customers/phone:06982", headers=headers)
        await client.get("/v1/interactions", params={"source": "rossi", "id": "C-17"}, headers=headers)
        await client.get("/anna@example.com", headers=headers)
    requests = [line for line in logs if line["event"] == "request"]
    assert [line["status"] for line in requests] == [201, 422, 200, 422, 200, 404]
    assert {line["request_id"] for line in requests} == {"trace-7"}
    assert requests[2]["route"] == "/v1/customers/{customer:name}/journey"
    assert not PERSONAL.search(str(logs))


async def trickle(served: Served, make: Make, name: str) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
    """Begin a batch of lines that does not end: over a thousand arrive, which make two chunks."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/interactions/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    writer.write(f"{head}Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for part in range(3):
        body = ndjson(*(make(id=f"{name}-{part}-{number}") for number in range(600)))
        writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
    await writer.drain()
    return reader, writer


async def committed(client: httpx.AsyncClient, at_least: int) -> int:
    """Wait until so many interactions of the customer are committed; how many there are."""
    total = 0
    for _ in range(100):
        answer = await client.get("/v1/customers/email:anna@example.com")
        total = answer.json()["interactions"]["total"] if answer.status_code == 200 else 0
        if total >= at_least:
            break
        await asyncio.sleep(0.1)
    return total


async def test_a_served_process_survives_hang_ups_and_stops_without_losing_what_it_acknowledged(
    database_url: str, tmp_path: Path, make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    with serving_at(database_url, tmp_path, PERCORSO_DRAIN_SECONDS="1") as served:
        async with served.client() as client:
            _, writer = await trickle(served, make, "hung-up")
            stored = await committed(client, 1000)
            assert stored >= 1000
            writer.transport.abort()
            async with raw_connection(served) as (_, half):
                head = f"POST /v1/interactions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
                half.write(f"{head}Content-Length: 1000\r\n\r\n".encode() + json.dumps(make(id="half")).encode())
                await half.drain()
            answer = await client.post("/v1/interactions/batch", content=ndjson(make(), make()), headers=NDJSON)
            assert answer.json()["stored"] == 2
            assert await committed(client, stored) >= stored
            assert await healthy(client)
            metrics = (await client.get("/metrics")).text
            assert 'route="/v1/interactions/batch",status="499"} 1.0' in metrics
            assert 'route="/v1/interactions",status="499"} 1.0' in metrics
            assert await ids_at(client, "/v1/interactions", source="test", id="half") == []
            assert not re.search(r'http_requests_total{[^}]*status="5', metrics)

            # A body that never ends does not keep the process from stopping.
            reader, writer = await trickle(served, make, "stopped")
            assert await committed(client, stored + 1000) >= stored + 1000
            begun = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(served.process.wait, 15)
            assert time.monotonic() - begun < 8
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
        log = served.log.read_text()
    assert await database.fetchval("SELECT count(*) FROM interactions") >= stored + 1000
    assert "Traceback" not in log
    assert not PERSONAL.search(log)
    assert all("event" in json.loads(line) for line in log.splitlines())


async def test_a_long_stream_of_lines_is_taken_in_bounded_memory(database_url: str, tmp_path: Path) -> None:
    count, most_mib = LINES, 30
    line = b'{"source": "s", "id": "%d", "channel": "web", "customer": {"email": "anna@example.com"}, "text": "%b"}\n'
    text = b"x" * 4000

    async def lines(first: int, following: int) -> AsyncIterator[bytes]:
        for start in range(first, following, 100):
            yield b"".join(line % (number, text) for number in range(start, start + 100))

    with serving_at(database_url, tmp_path) as served:
        async with served.client() as client:
            path = "/v1/interactions/batch?results=all"
            await client.post(path, content=lines(0, 2000), headers=NDJSON)
            before = highest = served.rss_mib()
            sending = asyncio.create_task(client.post(path, content=lines(2000, 2000 + count), headers=NDJSON))
            while not sending.done():
                highest = max(highest, served.rss_mib())
                await asyncio.sleep(0.02)
            receipt = (await sending).json()
            assert (receipt["received"], receipt["stored"]) == (count, count)
            assert [each["index"] for each in receipt["results"]] == list(range(count))
            assert count * len(line % (0, text)) > 1.5 * most_mib * 1024 * 1024
            assert highest - before < most_mib, f"grew from {before:.0f} to {highest:.0f} MiB"
