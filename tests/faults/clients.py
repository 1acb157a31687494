"""A client that speaks HTTP/1.1 by itself, so that a test decides on every connection and every byte."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from support import KEY

_LONGEST_ANSWER: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One kept connection to the service on this port of the loopback; made by the first request.

    Whatever it fails with is an OSError. It is made anew by the request after that.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, at once."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def open(self) -> asyncio.StreamWriter:
        """The connection's way out, to write whatever it may be."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=_LONGEST_ANSWER)
        return self._streams[1]

    async def ask(self, method: str, path: str, body: bytes | Iterable[bytes] = b"", **headers: str) -> Answer:
        """Send a request and wait for its answer. A body in pieces goes chunked, each piece a chunk.

        Headers are given as `content_type="application/json"`.
        """
        try:
            way = await self.open()
            way.write(head(method, path, len(body) if isinstance(body, bytes) else None, **headers))
            for piece in (body,) if isinstance(body, bytes) else chunks(body):
                way.write(piece)
                await way.drain()
            answer = await self.answer()
        except asyncio.IncompleteReadError as error:
            self.close()
            raise ConnectionResetError("the connection ended before the answer did") from error
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    async def answer(self) -> Answer:
        """Read the answer to what was written; asyncio.IncompleteReadError where the connection ends before."""
        assert self._streams is not None
        reader = self._streams[0]
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            pieces = []
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                pieces.append(await reader.readexactly(size))
                await reader.readexactly(2)
            await reader.readuntil(b"\r\n")
            body = b"".join(pieces)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)


def head(method: str, path: str, size: int | None, **headers: str) -> bytes:
    """A request's first part; its body has `size` bytes, or is chunked where that is None."""
    length = {"transfer_encoding": "chunked"} if size is None else {"content_length": str(size)} if size else {}
    named = {"host": "percorso.test", "authorization": f"Bearer {KEY}"} | length | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


def chunks(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """A chunked body of these pieces, none of which may be empty."""
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
