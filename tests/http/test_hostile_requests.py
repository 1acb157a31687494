"""Requests that no client in its right mind makes, as bytes on a connection: floods, tricks, what is hidden in them."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import httpx
import pytest

from exchanges import Served, database_from, healthy, raw_connection, serving_at, store
from percorso.http.connections import MOST_HEAD_BYTES, MOST_HEADERS
from support import KEY, Make

GET: Final = b"GET /v1/touchpoints HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
LAST: Final = b"Connection: close\r\n\r\n"
CHUNKED: Final = GET.replace(b"GET /v1/touchpoints", b"POST /v1/interactions") + b"Transfer-Encoding: chunked\r\n"
EVENT: Final = b'{"source": "s", "channel": "phone", "customer": {"email": "smuggled@example.com"}}'


@pytest.fixture(scope="module")
def served(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for all of these: what one does to it, the next would notice."""
    with (
        database_from(server_url, template) as url,
        serving_at(url, tmp_path_factory.mktemp("served"), PERCORSO_LOG_LEVEL="debug") as served,
    ):
        yield served
        log = served.log.read_text()
        assert '"status": 5' not in log, log
        assert KEY not in log


async def said(served: Served, *sent: bytes) -> bytes:
    """All that is answered to these bytes, until the service closes the connection."""
    async with raw_connection(served) as (reader, writer):
        with suppress(ConnectionError):
            for part in sent:
                writer.write(part)
                await writer.drain()
        with suppress(ConnectionError):
            return await asyncio.wait_for(reader.read(), 20)
    return b""


def check_ended(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"connection: close" in head.lower()
    assert b"content-type: application/problem+json" in head
    document = json.loads(body)
    assert (document["status"], document["code"]) == (status, code)


async def test_a_request_with_as_many_headers_as_are_read_is_answered_and_one_with_more_is_not(served: Served) -> None:
    others = MOST_HEADERS - 3
    fits = GET + b"".join(b"X-%d: y\r\n" % number for number in range(others)) + LAST
    assert (await said(served, fits)).startswith(b"HTTP/1.1 200 ")
    check_ended(await said(served, GET + b"X-One-More: y\r\n" + fits[len(GET) :]), 431, "headers_too_large")


@pytest.mark.parametrize(
    "flood",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + LAST,
        b"X-Long: " + b"y" * 1_000_000 + b"\r\n" + LAST,
        b"Cookie: " + b"y" * MOST_HEAD_BYTES + b"\r\n" + LAST,
        b"Authorization: Bearer " + b"e" * 200_000 + b"\r\n" + LAST,
        b"X" * 1_000_000 + b": y\r\n" + LAST,
        b"X-Never-Ends: " + b"y" * 300_000,
        b"".join(b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in range(100)) + LAST,
    ],
    ids=["10,000", "1 MB", "64 KiB", "a huge token", "a name of 1 MB", "without end", "100 of 1 KB"],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_flood_of_headers_is_cut_off(served: Served, flood: bytes, *, at_once: bool) -> None:
    whole = GET + flood
    parts = [whole] if at_once else [whole[at : at + 10_000] for at in range(0, len(whole), 10_000)]
    answer = await said(served, *parts)
    # Who is still sending may find the connection closed before the answer is read.
    if answer:
        check_ended(answer, 431, "headers_too_large")
    else:
        assert len(whole) > MOST_HEAD_BYTES


async def test_floods_are_not_kept_in_memory(served: Served) -> None:
    async with served.client() as client:
        assert await healthy(client)
    before = served.rss_mib()
    floods = [GET + b"X-Never-Ends: " + b"y" * 4_000_000] * 20
    trailers = CHUNKED + b"\r\n0\r\n" + b"X-Trailer: y\r\n" * 300_000
    await asyncio.gather(*(said(served, flood) for flood in [*floods, *[trailers] * 10]))
    assert served.rss_mib() - before < 60


@pytest.mark.parametrize(
    "rest", [b"X-Trailer: y\r\n" * 50_000, b"X-Trailer: " + b"y" * 1_000_000], ids=["many", "long"]
)
async def test_a_flood_of_headers_after_the_body_is_cut_off(served: Served, rest: bytes) -> None:
    sent = CHUNKED + b"\r\n" + b"%x\r\n" % len(EVENT) + EVENT + b"\r\n0\r\n" + rest
    answer = await said(served, *[sent[at : at + 20_000] for at in range(0, len(sent), 20_000)])
    assert b"HTTP/1.1 2" not in answer


async def test_a_line_between_chunks_that_does_not_end_is_cut_off(served: Served) -> None:
    answer = await said(served, CHUNKED + b"\r\n1;", *[b"x" * 20_000] * 20)
    assert b"HTTP/1.1 2" not in answer


async def test_a_long_path_is_refused_and_one_that_fits_is_looked_up(served: Served) -> None:
    for length, status in ((MOST_HEAD_BYTES - 1000, 404), (MOST_HEAD_BYTES + 1000, 431), (1_000_000, 431)):
        answer = await said(served, GET.replace(b"/v1/touchpoints", b"/" + b"a" * length) + LAST)
        assert not answer or answer.startswith(b"HTTP/1.1 %d " % status), (length, answer[:200])


async def test_large_bodies_have_nothing_to_do_with_it(served: Served, make: Make) -> None:
    async with served.client() as client:
        lines = b"\n".join(json.dumps(make(text="x" * 1000)).encode() for _ in range(1000))
        headers = {"Content-Type": "application/x-ndjson"}
        for content in (lines, (lines[at : at + 7000] for at in range(0, len(lines), 7000))):
            sent = content if isinstance(content, bytes) else _each(content)
            answer = await client.post("/v1/interactions/batch", content=sent, headers=headers)
            assert answer.json()["received"] == 1000


async def _each(parts: Iterator[bytes]):  # type: ignore[no-untyped-def] # noqa: ANN202 - an async iterator of bytes
    for part in parts:
        yield part


SMUGGLED: Final = {
    "two lengths": b"Content-Length: 4\r\nContent-Length: 90\r\n",
    "two equal lengths": b"Content-Length: 4\r\nContent-Length: 4\r\n",
    "a list of lengths": b"Content-Length: 4, 4\r\n",
    "a length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "a length with a sign": b"Content-Length: +4\r\n",
    "a negative length": b"Content-Length: -4\r\n",
    "a hexadecimal length": b"Content-Length: 0x4\r\n",
    "a length beyond all": b"Content-Length: 99999999999999999999999\r\n",
    "a coding after chunks": b"Transfer-Encoding: chunked, identity\r\n",
    "a coding of another name": b"Transfer-Encoding: xchunked\r\n",
    "a space before the colon": b"Content-Length : 4\r\n",
    "a folded header": b"X: a\r\n Content-Length: 4\r\n",
    "a bare line feed": b"X: a\nContent-Length: 4\r\n",
    "a bare carriage return": b"X: a\rContent-Length: 4\r\n",
    "NUL in a value": b"X: a\0b\r\nContent-Length: 4\r\n",
    "NUL in a name": b"X\0: a\r\nContent-Length: 4\r\n",
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED)
async def test_no_second_request_is_smuggled_in_by_two_ways_to_read_a_length(served: Served, headers: bytes) -> None:
    inner = GET.replace(b"GET /v1/touchpoints", b"POST /v1/interactions") + b"Content-Length: %d\r\n\r\n" % len(EVENT)
    answer = await said(served, CHUNKED.partition(b"Transfer")[0] + headers + b"\r\n0\r\n\r\n" + inner + EVENT)
    # One answer, and nothing after it.
    check_ended(answer, 400, "malformed_request")
    async with served.client() as client:
        assert (await client.get("/v1/customers/email:smuggled@example.com")).status_code == 404


MALFORMED: Final = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown method": b"STEAL /v1/touchpoints HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method in small letters": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown version": b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no path": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the path": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a line feed in the path": b"GET /a\nb HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_request_is_refused_and_the_connection_ends(served: Served, request_: bytes) -> None:
    check_ended(await said(served, request_), 400, "malformed_request")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "PURGE", "LINK", "SOURCE"])
async def test_methods_that_no_route_has_are_refused(served: Served, method: str) -> None:
    target = b"x:80" if method == "CONNECT" else b"/v1/touchpoints"
    secret = b"X-Secret: shibboleth\r\n"
    answer = await said(served, method.encode() + b" " + target + b" HTTP/1.1\r\nHost: x\r\n" + secret + LAST)
    assert answer[9:12] in {b"400", b"404", b"405"}, answer
    assert b"shibboleth" not in answer


PATHS: Final = [
    b"/v1/../health/live",
    b"/v1/..%2fhealth/live",
    b"/v1/%2e%2e/health/live",
    b"/v1/%252e%252e/health/live",
    b"//v1/touchpoints",
    b"/v1//touchpoints",
    b"/v1\\touchpoints",
    b"/v1/..\\..\\etc\\passwd",
    b"/../../../../etc/passwd",
    b"/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    b"/docs/../../etc/passwd",
    b"/v1/touchpoints%00",
    b"/v1/touchpoints/%00",
    b"/v1/touchpoints/%c0%ae%c0%ae%c0%af",
    b"/v1/touchpoints/%ff%fe",
    b"/v1/touchpoints/%ed%a0%80",
    b"/v1/touchpoints/%zz",
    b"/v1/touchpoints/%",
    b"/v1/touchpoints;admin=true",
    b"/v1/touchpoints/.%0d%0aX-Injected:%20yes",
    b"/v1/touchpoints?cursor=%0d%0aX-Injected:%20yes&limit=1",
    b"/V1/TOUCHPOINTS",
    b"*",
    b"http://evil.example/v1/nothing",
    b"/v1/customers/email:a@example.com%2f..%2f..%2fkeys",
    b"/v1/customers/%00/journey",
    b"/v1/customers/email:%00/journey",
    b"/v1/customers/../keys",
]


@pytest.mark.parametrize("path", PATHS, ids=repr)
async def test_no_trick_in_a_path_leads_anywhere(served: Served, path: bytes) -> None:
    answer = await said(served, GET.replace(b"/v1/touchpoints", path) + LAST)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head[9:12] in {b"400", b"404", b"405", b"422"}, answer
    assert b"x-injected" not in head.lower().replace(b"%0d%0ax-injected", b"")
    assert b"root:" not in body


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "a b", "[::1", "", "'; DROP TABLE interactions"])
async def test_the_name_that_a_caller_uses_for_the_service_leads_nowhere(served: Served, host: str, make: Make) -> None:
    async with served.client() as client:
        await store(client, make(id=f"{host}-1"), make(id=f"{host}-2"))
    answer = await said(served, GET.replace(b"Host: x", f"Host: {host}".encode()) + LAST)
    assert answer[9:12] in {b"200", b"400"}
    path = b"/v1/customers/email:anna@example.com/journey?limit=1"
    page = await said(served, GET.replace(b"/v1/touchpoints", path).replace(b"Host: x", b"Host: evil.example") + LAST)
    assert b'rel="next"' in page
    assert b"evil.example" not in page


async def test_a_websocket_finds_nothing_to_speak_to(served: Served) -> None:
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with raw_connection(served) as (reader, writer):
        writer.write(GET + upgrade)
        assert b"101" not in await asyncio.wait_for(reader.readline(), 20)


async def test_a_bad_request_behind_one_that_is_worked_on_is_not_answered_in_its_place(
    served: Served, make: Make
) -> None:
    body = json.dumps(make(id="before-garbage")).encode()
    post = GET.replace(b"GET /v1/touchpoints", b"POST /v1/interactions") + b"Content-Length: %d\r\n\r\n" % len(body)
    answer = await said(served, post + body + b"GARBAGE\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 4")


async def test_the_service_is_well_after_all_that(served: Served, make: Make) -> None:
    async with served.client() as client:
        assert await healthy(client)
        await store(client, make(id="after all"))
        with pytest.raises(httpx.HTTPStatusError):
            (await client.get("/no/such/path")).raise_for_status()
