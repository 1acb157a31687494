"""A service's front that refuses now and then: what a client sends through it must still arrive once."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal

Act = Literal["pass", "busy", "away", "lost"]
"""Pass a request on; answer 429, or 503; pass it on, and answer 503 all the same."""

_STATUS: Final = {"busy": HTTPStatus.TOO_MANY_REQUESTS, "away": HTTPStatus.SERVICE_UNAVAILABLE}
_BODY: Final = b'{"code": "unavailable", "message": "Try again."}'


@dataclass
class Front:
    """Where it listens, what it is still to do with the requests that come, and what it did."""

    plan: deque[Act]
    url: str = ""
    done: list[Act] = field(default_factory=list)


@asynccontextmanager
async def front(to: str, plan: Iterable[Act]) -> AsyncIterator[Front]:
    """A front of the service at this URL: it does what is planned, one act a request, and then passes all on."""
    host, _, port = to.removeprefix("http://").partition(":")
    this = Front(deque(plan))

    async def passed_on(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            request = await _request(reader)
            act = this.plan.popleft() if this.plan else "pass"
            this.done.append(act)
            answer = await passed_on(request) if act in {"pass", "lost"} else b""
            if act != "pass":
                status = _STATUS.get(act, HTTPStatus.SERVICE_UNAVAILABLE)
                head = f"HTTP/1.1 {status.value} {status.phrase}\r\nRetry-After: 1\r\nContent-Length: {len(_BODY)}\r\n"
                answer = f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode() + _BODY
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 23)
    this.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield this
    finally:
        server.close()
        await server.wait_closed()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """A whole request, as one that is the last of its connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
    sizes = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
    assert sizes, "a client sent no Content-Length"
    return b"\r\n".join([*lines, b"Connection: close", b"", b""]) + await reader.readexactly(sizes[0])
