"""What tests of the feed share: reading it by pages, and as a stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from exchanges import Item
from support import KEY

FEED = "/v1/feed"


async def page(client: httpx.AsyncClient, after: str | None = None, **params: Any) -> Item:
    """One page of the feed."""
    answer = await client.get(FEED, params=params | ({} if after is None else {"after": after}))
    assert answer.status_code == 200, answer.text
    found: Item = answer.json()
    assert f"after={found['next_cursor']}" in answer.headers["link"]
    return found


async def read(client: httpx.AsyncClient, after: str | None = None, **params: Any) -> list[Item]:
    """All that the feed has after a cursor."""
    items: list[Item] = []
    while True:
        found = await page(client, after, **params)
        items += found["items"]
        after = found["next_cursor"]
        if found["caught_up"]:
            return items


def told(items: Sequence[Item]) -> list[tuple[str, str]]:
    """The types of events, each with the sender's id of its interaction, or what else it is about."""
    return [(item["event"], item["interaction"].get("id", "-") if "interaction" in item else "") for item in items]


@dataclass
class Streamed:
    """A stream of the feed that is being read: what came, by lines."""

    status: int = 0
    text: str = ""
    ended: bool = False
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the reader takes what comes."""
    pieces: int = 0

    @property
    def items(self) -> list[Item]:
        """The events that came."""
        return [
            json.loads("\n".join(line[6:] for line in block.split("\n") if line.startswith("data: ")))
            for block in self.text.split("\n\n")
            if "\ndata: " in block
        ]

    @property
    def last_id(self) -> str:
        """The last id that came, with an event or without."""
        return [line for line in self.text.split("\n") if line.startswith("id: ")][-1][4:]


@asynccontextmanager
async def streaming(
    app: FastAPI, path: str = f"{FEED}/stream", *, headers: dict[str, str] | None = None, key: str = KEY
) -> AsyncIterator[Streamed]:
    """Read a stream of the feed within the block, as a server would have it read."""
    stream = Streamed()
    stream.go_on.set()
    given = {"authorization": f"Bearer {key}"} | (headers or {})
    where, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": where,
        "raw_path": where.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await stream.hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await stream.go_on.wait()
        if message["type"] == "http.response.start":
            stream.status = message["status"]
        else:
            stream.pieces += 1
            stream.text += message["body"].decode()
            stream.ended = not message.get("more_body", False)

    task = asyncio.create_task(app(scope, receive, send))
    try:
        yield stream
    finally:
        stream.hung_up.set()
        stream.go_on.set()
        await asyncio.wait_for(task, 10)
