"""A subscriber that tests listen with."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from exchanges import Item


@dataclass
class Listener:
    """A subscriber: what it was sent, and the statuses that it answers, one after the other; then `usual`."""

    url: str = ""
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    usual: int = 204
    refuses: str = ""
    """Whatever has this in its body is answered with 422."""
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[Item]:
        """The bodies that came."""
        return [json.loads(body) for _, body in self.taken]

    @property
    def ids(self) -> list[str]:
        """The senders' ids of the interactions that were told, in order."""
        return [each["data"]["interaction"]["id"] for each in self.events]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one call."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        self.taken.append((headers, body))
        self.told.set()
        status = self.answers.pop(0) if self.answers else self.usual
        if self.refuses and self.refuses.encode() in body:
            status = 422
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A subscriber that listens within the block."""
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/listener?a=1"
    async with server:
        yield listener
