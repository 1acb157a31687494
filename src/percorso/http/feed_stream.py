"""The feed by server-sent events: an answer that has no end of its own.

Each event has its cursor as its `id`. The next page is read once the last was taken, so a slow reader costs no memory,
and no connection of the database is held while there is nothing new. A stream waits for its caller to hang up all the
while, as a request whose body is on its way: it takes no place among the requests that are worked on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from percorso.errors import CursorGone, PercorsoError, Unavailable
from percorso.http import problems
from percorso.http.connections import CONNECTION, Connection
from percorso.http.news import News
from percorso.ops import metrics
from percorso.queries.feed import Position
from percorso.storage.database import is_away

_log = structlog.get_logger("percorso.feed")

HEARTBEAT_SECONDS: Final = 15.0
_CHECK_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 2.0
_END_SECONDS: Final = 2.0
"""How long a stream that is to end may take to."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_FIRST: Final = b"retry: 2000\n\n"

Page = tuple[list[dict[str, Any]], Position, bool]
"""Events as JSON has them, where the feed goes on, and whether these were all."""


class Stream(Response):
    """Sends what `read` gives from a position on, for as long as `check` does not raise.

    It ends where the caller hangs up, where the server stops, and where the caller's key is no longer valid; it is cut
    where the caller takes nothing for `stall_seconds`.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        news: News,
        begin: Page,
        read: Callable[[Position], Awaitable[Page]],
        check: Callable[[], Awaitable[object]],
        *,
        stall_seconds: float,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        check_seconds: float = _CHECK_SECONDS,
    ) -> None:
        super().__init__(status_code=HTTPStatus.OK, headers=_HEADERS)
        del self.headers["content-length"]
        self._news = news
        self._begin = begin
        self._read = read
        self._check = check
        self._stall = stall_seconds
        self._heartbeat = heartbeat_seconds
        self._check_every = check_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        connection: Connection | None = scope.get(CONNECTION)
        try:
            async with self._news.place():
                over = asyncio.create_task(_over(receive, connection))
                sending = asyncio.create_task(self._send(send, over))
                try:
                    await asyncio.wait({over, sending}, return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.wait({sending}, timeout=_END_SECONDS)
                    await _finish(sending, connection)
                finally:
                    for task in (over, sending):
                        task.cancel()
                    await asyncio.wait({over, sending})
        except Unavailable as error:
            await problems.response(error, Request(scope))(scope, receive, send)

    async def _send(self, send: Send, over: "asyncio.Task[None]") -> None:
        async def put(body: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(self._stall):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await put(_FIRST)
        check_at = monotonic() + self._check_every
        page: Page | None = self._begin
        while page is not None and not over.done():
            items, position, caught_up = page
            if items:
                metrics.FEED_EVENTS.labels("stream").inc(len(items))
                await put(b"".join(map(_event, items)))
            if monotonic() >= check_at:
                if not await self._still_may():
                    break
                check_at = monotonic() + self._check_every
            if caught_up and not await self._more(position, over):
                await put(b": still here\nid: %b\n\n" % position.encoded().encode())
            page = await self._next(position, over)
        await put(b"", more=False)

    async def _next(self, position: Position, over: "asyncio.Task[None]") -> Page | None:
        """The page after this; None where there is none any more."""
        try:
            return await self._read(position)
        except CursorGone:
            return None  # whoever comes again with it is told
        except Exception as error:
            if not isinstance(error, Unavailable) and not is_away(error):
                raise
            await asyncio.wait({over}, timeout=_AGAIN_SECONDS)
            return [], position, False

    async def _more(self, position: Position, over: "asyncio.Task[None]") -> bool:
        """Wait until there is more than up to here; False where a heartbeat is due."""
        beyond = asyncio.create_task(self._news.beyond(position))
        done, _ = await asyncio.wait({beyond, over}, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
        beyond.cancel()
        await asyncio.wait({beyond})
        return bool(done)

    async def _still_may(self) -> bool:
        """Whether the caller's key is still valid; a database that is away does not say that it is not."""
        try:
            await self._check()
        except PercorsoError:
            return False
        except Exception as error:
            if not is_away(error):
                raise
        return True


async def _finish(sending: "asyncio.Task[None]", connection: Connection | None) -> None:
    """Cut a caller that did not take what was sent; raise what else went wrong."""
    if not sending.done() or isinstance(sending.exception(), TimeoutError):
        _log.info("a reader of the feed took nothing and is let go")
        if connection is not None:
            await connection.cut()
    else:
        sending.result()


async def _over(receive: Receive, connection: Connection | None) -> None:
    """Wait until the caller hangs up, or the server stops."""

    async def hung_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    waiting: set[asyncio.Task[Any]] = {asyncio.create_task(hung_up())}
    if connection is not None:
        waiting.add(asyncio.create_task(connection.ending().wait()))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def until_over(request: Request, wait: Coroutine[Any, Any, None], seconds: float) -> bool:
    """Wait for this, so long at most; whether the caller waits no longer, or the server serves no longer."""
    over = asyncio.create_task(_over(request.receive, request.scope.get(CONNECTION)))
    waiting = asyncio.create_task(wait)
    try:
        done, _ = await asyncio.wait({over, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return over in done
    finally:
        for task in (over, waiting):
            task.cancel()
        await asyncio.wait({over, waiting})


def _event(item: dict[str, Any]) -> bytes:
    data = msgspec.json.encode(item)
    # Documents are passed on as they were sent, and may have line breaks between their members.
    lines = b"\ndata: ".join(data.splitlines()) if b"\n" in data or b"\r" in data else data
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (item["cursor"].encode(), item["event"].encode(), lines)
