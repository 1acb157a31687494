"""The feed as a stream: nothing is missing at a reconnection, nobody is kept who does not read, a stop ends it."""

import asyncio
from pathlib import Path

import httpx
import pytest

from exchanges import check_problem, serving_at, store, store_all
from feeding import FEED, page, read, streaming
from percorso.http import feed_stream
from percorso.http.services import Services
from support import Make, running
from writing import until

STREAM = f"{FEED}/stream"


async def test_a_stream_gives_what_was_and_what_comes_and_can_be_taken_up_again(database_url: str, make: Make) -> None:
    async with running(database_url) as (app, client):
        await store_all(client, [make(text="two\nlines") for _ in range(120)])
        async with streaming(app) as stream:
            await until(lambda: len(stream.items) == 120)
            await store(client, make(id="new"))
            await until(lambda: len(stream.items) == 121)
            assert stream.status == 200
        whole = await read(client)
        assert stream.items == whole
        for headers, path in (
            ({"last-event-id": whole[50]["cursor"]}, STREAM),
            ({"last-event-id": whole[50]["cursor"]}, f"{STREAM}?after={whole[7]['cursor']}"),
            ({}, f"{STREAM}?after={whole[50]['cursor']}"),
        ):
            async with streaming(app, path, headers=headers) as again:
                await until(lambda: len(again.items) == 70)
            assert again.items == whole[51:]
            assert again.last_id == whole[-1]["cursor"]
        async with streaming(app, f"{STREAM}?after=now&event=interaction.changed&channel=phone") as narrow:
            await until(lambda: narrow.status == 200)
            await store(client, make())
            await client.patch(f"/v1/interactions/{whole[0]['interaction']['interaction_id']}", json={"text": "x"})
            await until(lambda: len(narrow.items) == 1)
            assert narrow.items[0]["interaction"]["text"] == "x"


async def test_a_heartbeat_brings_an_id_to_go_on_from(
    database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_stream.Stream.__init__, "__kwdefaults__", {"heartbeat_seconds": 0.05, "check_seconds": 60})
    async with running(database_url) as (app, client):
        await store(client, make())
        async with streaming(app, f"{STREAM}?channel=email") as stream:
            await until(lambda: stream.text.count(": still here\n") >= 2)
        await store(client, make(id="later"))
        assert [item["interaction"]["id"] for item in await read(client, stream.last_id)] == ["later"]
        assert stream.items == []


async def test_a_stream_ends_with_its_key(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        feed_stream.Stream.__init__, "__kwdefaults__", {"heartbeat_seconds": 0.05, "check_seconds": 0.05}
    )
    async with running(database_url) as (app, client):
        key = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]})).json()
        async with streaming(app, key=key["key"]) as stream:
            await until(lambda: stream.text.count(": still here\n") >= 3)
            assert not stream.ended
            await client.delete(f"/v1/keys/{key['id']}")
            await until(lambda: stream.ended)
        async with streaming(app, key=key["key"]) as refused:
            await until(lambda: refused.ended)
            assert refused.status == 401


async def test_a_slow_reader_is_waited_for_with_one_page_and_one_that_takes_nothing_is_let_go(
    database_url: str, make: Make
) -> None:
    async with running(database_url, feed_stall_seconds=1) as (app, client):
        services: Services = app.state.services
        await store_all(client, [make() for _ in range(400)])
        async with streaming(app) as stream:
            stream.go_on.clear()
            await asyncio.sleep(0.3)
            stream.go_on.set()
            await until(lambda: len(stream.items) == 400)
            assert stream.pieces >= 9
            stream.go_on.clear()
            await store(client, make())
            await until(lambda: services.news._held == 0)  # noqa: SLF001 - what is held can be seen nowhere else here
        assert not stream.ended


async def test_streams_have_their_own_bound_and_take_no_place_among_requests(database_url: str, make: Make) -> None:
    async with running(database_url, feed_readers=2, max_concurrent_requests=1) as (app, client):
        async with streaming(app) as one:
            await until(lambda: one.status == 200)
            async with streaming(app) as other:
                await until(lambda: other.status == 200)
                await store(client, make())
                await until(lambda: len(one.items) == len(other.items) == 1)
                async with streaming(app) as third:
                    await until(lambda: third.ended)
                    assert third.status == 503
        assert (await client.get(FEED)).status_code == 200
        async with streaming(app) as again:
            await until(lambda: len(again.items) == 1)


async def test_those_who_wait_hold_no_connection(database_url: str, make: Make) -> None:
    async with running(database_url, pool_size=1) as (app, client), streaming(app) as one, streaming(app) as other:
        waiting = asyncio.create_task(page(client, "now", wait=30))
        await until(lambda: one.status == other.status == 200)
        await asyncio.sleep(0.2)
        await store(client, make())
        await until(lambda: len(one.items) == len(other.items) == 1)
        assert len((await waiting)["items"]) == 1


async def test_a_stop_ends_streams_and_those_who_wait_at_once(database_url: str, tmp_path: Path, make: Make) -> None:
    with serving_at(database_url, tmp_path) as served:
        async with served.client() as client, client.stream("GET", STREAM) as stream:
            assert stream.status_code == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            pieces = stream.aiter_text()
            assert "retry" in await anext(pieces)
            waiting = asyncio.create_task(client.get(FEED, params={"after": "now", "wait": 30}))
            await store(client, make(id="a"))
            text = await anext(pieces)
            assert '"a"' in text
            assert len((await waiting).json()["items"]) == 1
            waiting = asyncio.create_task(client.get(FEED, params={"after": "now", "wait": 30}))
            await asyncio.sleep(1)
            served.process.terminate()
            async with asyncio.timeout(10):
                rest = [piece async for piece in pieces]
                assert (await waiting).json()["items"] == []
            assert "data:" not in "".join(rest)
            assert await asyncio.to_thread(served.process.wait, 15) == 0
        assert '"level": "error"' not in served.log.read_text()


async def test_a_reader_that_takes_nothing_is_cut_off_its_connection(
    database_url: str, tmp_path: Path, make: Make
) -> None:
    with serving_at(database_url, tmp_path, PERCORSO_FEED_STALL_SECONDS="1") as served:
        async with served.client() as client:
            for _ in range(40):
                await store_all(client, [make(text="x" * 30_000) for _ in range(20)])
            reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]), limit=1024)
            key = client.headers["authorization"]
            writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"

            async def readers() -> bool:
                return "percorso_feed_readers 0.0" in (await client.get("/metrics")).text

            await until(readers, 30)
            writer.transport.abort()
        text = served.log.read_text()
        assert "took nothing" in text
        assert "ASGI" not in text


async def test_head_of_a_cursor_that_is_gone_is_told_before_a_stream_begins(client: httpx.AsyncClient) -> None:
    check_problem(await client.get(STREAM, params={"after": "x"}), 422, "invalid_request")
    check_problem(await client.get(STREAM, headers={"Last-Event-ID": "x"}), 422, "invalid_request")
