"""What one caller may cost the others: requests at once, requests that do not arrive, reads that are not answered."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from exchanges import check_problem, journey_of, raw_connection, serving_at, store
from support import KEY, Make, running
from writing import Way, queued, stopped, until

HEAD = f"POST /v1/interactions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"


def shed() -> float:
    return REGISTRY.get_sample_value("percorso_http_shed_total", {"group": "reads"}) or 0


async def test_beyond_its_bound_a_service_refuses_at_once_and_says_when_to_come_again(
    database_url: str, make: Make
) -> None:
    before = shed()
    async with running(database_url, max_concurrent_requests=3) as (_, client):
        await store(client, make())
        with capture_logs() as logs:
            async with stopped(database_url):
                taken = [asyncio.create_task(client.post("/v1/interactions", json=make())) for _ in range(3)]
                # Whoever comes while three are waiting for the database is refused; the three are not disturbed.
                await until(lambda: queued() == 3)
                for _ in range(2):
                    answer = await client.get(journey_of("email:anna@example.com"))
                    check_problem(answer, 503, "unavailable")
                    assert answer.headers["retry-after"] == "1"
                assert (await client.get("/health/live")).status_code == 200
                assert (await client.get("/metrics")).status_code == 200
            assert [answer.status_code for answer in await asyncio.gather(*taken)] == [201] * 3
        assert (await client.get(journey_of("email:anna@example.com"))).status_code == 200
    assert shed() - before == 2
    # One line for many refusals.
    assert [line["event"] for line in logs].count("more requests arrive than can be worked on") <= 1


async def test_a_request_whose_body_is_on_its_way_takes_no_ones_place(
    database_url: str, tmp_path: Path, make: Make
) -> None:
    with serving_at(database_url, tmp_path, PERCORSO_MAX_CONCURRENT_REQUESTS="2") as served:
        async with AsyncExitStack() as stack:
            async with served.client() as client:
                # So that the key is known: while it is looked for, a request has its place.
                await store(client, make())
            slow = [await stack.enter_async_context(raw_connection(served)) for _ in range(10)]
            body = json.dumps(make()).encode()
            for _, writer in slow:
                writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
                await writer.drain()
            async with served.client() as client:
                for _ in range(5):
                    await store(client, make())
            slow[0][1].write(body[-1:])
            assert (await slow[0][0].readline()).startswith(b"HTTP/1.1 201 ")


async def test_a_request_that_trickles_in_is_given_up_and_one_that_flows_is_not(
    database_url: str, tmp_path: Path, make: Make
) -> None:
    body = json.dumps(make(text="x" * 30_000)).encode()
    with serving_at(database_url, tmp_path, PERCORSO_RECEIVE_TIMEOUT_SECONDS="2") as served:
        async with AsyncExitStack() as stack:
            in_body, in_head, flowing = [await stack.enter_async_context(raw_connection(served)) for _ in range(3)]
            in_body[1].write(f"{HEAD}Content-Length: 1000\r\n\r\n".encode() + b"{")
            in_head[1].write(b"POST /v1/interactions HTTP/1.1\r\nHost: ")
            flowing[1].write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode())
            answers = [asyncio.create_task(reader.read()) for reader, _ in (in_body, in_head)]
            # At 6 KiB a second this takes longer than the others are given, and is faster than they are.
            for at in range(0, len(body), 1500):
                flowing[1].write(body[at : at + 1500])
                await flowing[1].drain()
                await asyncio.sleep(0.25)
            assert (await flowing[0].readline()).startswith(b"HTTP/1.1 201 ")
            slow, headless = await asyncio.wait_for(asyncio.gather(*answers), 10)
        head, _, document = slow.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in head
        assert json.loads(document)["code"] == "request_timeout"
        assert headless == b""
        async with served.client() as client:
            assert 'route="/v1/interactions",status="499"} 1.0' in (await client.get("/metrics")).text


async def test_a_connection_that_waits_for_its_answer_is_not_taken_for_a_slow_one(
    database_url: str, tmp_path: Path, make: Make
) -> None:
    with serving_at(database_url, tmp_path, PERCORSO_RECEIVE_TIMEOUT_SECONDS="1") as served:
        async with served.client() as client:
            await store(client, make())
            async with stopped(database_url):
                waiting = asyncio.create_task(client.post("/v1/interactions", json=make()))
                done, _ = await asyncio.wait([waiting], timeout=2.5)
                assert not done
            assert (await waiting).status_code == 201


async def test_reads_come_back_after_the_way_to_the_database_was_lost_without_a_word(
    database_url: str, make: Make
) -> None:
    limits = {"statement_timeout_seconds": 1, "connect_timeout_seconds": 1, "commit_timeout_seconds": 1, "pool_size": 2}
    path = journey_of("email:anna@example.com")
    async with Way(database_url) as way, running(way.url, **limits) as (_, client):
        await store(client, make())
        assert (await client.get(path)).status_code == 200
        way.loud.clear()
        caught = await asyncio.wait_for(asyncio.gather(*(client.get(path) for _ in range(4))), 15)
        for answer in caught:
            check_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
        way.loud.set()
        way.end()
        await until(lambda: _answers(client, path))
        await until(lambda: _answers(client, "/health/ready"))


async def _answers(client: httpx.AsyncClient, path: str) -> bool:
    answer = await client.get(path)
    assert answer.status_code in {200, 503}, answer.text
    return answer.status_code == 200


async def test_a_key_is_asked_for_once_however_many_wait_for_the_answer(database_url: str, make: Make) -> None:
    async with running(database_url, key_cache_seconds=1, pool_size=2) as (app, client):
        keys = app.state.services.keys
        asked = 0
        ask = keys._asked  # noqa: SLF001 - how often the database is asked shows nowhere else

        async def counted(key_hash: bytes) -> object:
            nonlocal asked
            asked += 1
            return await ask(key_hash)

        keys._asked = counted  # noqa: SLF001
        answers = await asyncio.gather(*(client.post("/v1/interactions", json=make()) for _ in range(100)))
        assert {answer.status_code for answer in answers} == {201}
        assert asked == 1
        # Half its time later it is asked anew, and no one waits for that.
        keys._remembered = {key: (until - 0.6, known) for key, (until, known) in keys._remembered.items()}  # noqa: SLF001
        answers = await asyncio.gather(*(client.post("/v1/interactions", json=make()) for _ in range(100)))
        assert {answer.status_code for answer in answers} == {201}
        await until(lambda: not keys._asking)  # noqa: SLF001
        assert asked == 2
        wrong = httpx.Headers({"Authorization": "Bearer wrong"})
        refused = await asyncio.gather(*(client.get("/v1/touchpoints", headers=wrong) for _ in range(20)))
        assert {answer.status_code for answer in refused} == {401}
        assert asked == 3


async def test_the_document_of_a_refusal_names_the_request(database_url: str, make: Make) -> None:
    async with running(database_url, max_concurrent_requests=1) as (_, client):
        await store(client, make())
        async with stopped(database_url):
            taken = asyncio.create_task(client.post("/v1/interactions", json=make()))
            await until(lambda: queued() == 1)
            answer = await client.get("/v1/touchpoints", headers={"X-Request-Id": "trace-9"})
            path = "/tmf-api/partyInteraction/v4/partyInteraction"
            theirs = await client.get(path, headers={"X-Request-Id": "trace-9"})
        assert re.search("trace-9$", answer.json()["instance"])
        assert re.search("trace-9$", theirs.json()["referenceError"])
        assert (theirs.status_code, theirs.json()["status"], theirs.headers["retry-after"]) == (503, "503", "1")
        assert (await taken).status_code == 201
