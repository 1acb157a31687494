"""The feed: what was stored and changed, in the order of commits."""

from functools import partial
from time import monotonic
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from percorso.http import answers, feed_items
from percorso.http.access import May, MayRead
from percorso.http.callers import Caller
from percorso.http.documents.base import answers as documented
from percorso.http.documents.feed import EVENTS_SENT, Feed
from percorso.http.feed_filter import FeedFilter, asked_for
from percorso.http.feed_stream import Page, Stream, until_over
from percorso.http.recorder import entry
from percorso.http.services import Services, Use
from percorso.ops import metrics
from percorso.queries import feed
from percorso.queries.feed import Position
from percorso.queries.feed_kinds import Wanted
from percorso.storage.database import reading

router = APIRouter(prefix="/v1/feed", tags=["Feed"])

NOW: Final = "now"
_LONGEST_WAIT: Final = 30
_STREAMED: Final = 50
"""Events read at once for a stream."""

After = Annotated[
    str | None,
    Query(
        max_length=512,
        description="`next_cursor` of the page before, or the `cursor` of an item; `now` for what is committed from "
        "now on. Absent: from the oldest that is kept.",
    ),
]
Asked = Annotated[tuple[FeedFilter, tuple[str, ...]], Depends(asked_for)]
_may_read: Final = May("read")


@router.get(
    "",
    summary="What was stored and changed, in the order of commits",
    response_class=Response,
    responses=documented(Feed, 410, says="Some of it; `next_cursor` is always given."),
)
async def read_feed(
    request: Request,
    key: MayRead,
    use: Use,
    asked: Asked,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Most items in a page.")] = 100,
    wait: Annotated[
        int, Query(ge=0, le=_LONGEST_WAIT, description="Seconds to wait where there is nothing new yet.")
    ] = 0,
) -> Response:
    """Read what was committed after a cursor; what is committed later comes later.

    No event is passed over, whoever commits at the same time, and every reader sees the same order.

    A page may have fewer items than `limit`, or none, and not be the last: `caught_up` says whether it is for now.
    What was deleted is told by its id alone, and where it was stored or changed, too, it is from then on. The feed goes
    back `PERCORSO_COMMIT_LOG_DAYS`: 410 says where it begins.
    """
    wanted = _wanted(use, asked)
    position = await _position(use, after)
    until = monotonic() + wait
    page = await _read(use, key, wanted, limit, "page", position)
    if wait and not page[0]:
        async with use.news.place():
            while not page[0] and (left := until - monotonic()) > 0:
                if page[2] and await until_over(request, use.news.beyond(page[1]), left):
                    break
                page = await _read(use, key, wanted, limit, "page", page[1])
    items, following, caught_up = page
    next_cursor = following.encoded()
    answer = answers.json_response({"items": items, "next_cursor": next_cursor, "caught_up": caught_up})
    answer.headers["Cache-Control"] = "no-store"
    return answers.linked(request, answer, next_cursor, by="after")


@router.get(
    "/stream",
    summary="The feed, as it grows",
    response_class=Response,
    responses=documented(None, 410, says="Server-sent events; `id` is a cursor, `data` an item of the feed.")
    | {200: {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": EVENTS_SENT}}}},
)
async def stream_feed(
    request: Request,
    key: MayRead,
    use: Use,
    asked: Asked,
    after: After = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=512, description="The last `id` that was received; it goes before `after`."),
    ] = None,
) -> Response:
    """Read the feed as server-sent events, which go on until the caller hangs up.

    A comment every 15 seconds shows that the stream lives; with it comes an `id` to go on from. A caller that takes
    nothing for `PERCORSO_FEED_STALL_SECONDS` is cut. A stream ends when the service stops, and within a minute once its
    key is no longer valid; a process has at most `PERCORSO_FEED_READERS`.
    """
    wanted = _wanted(use, asked)
    read = partial(_read, use, key, wanted, _STREAMED, "stream")
    begin = await read(await _position(use, last_event_id or after))
    return Stream(
        use.news,
        begin,
        read,
        partial(_may_read, request),
        stall_seconds=use.settings.feed_stall_seconds,
    )


def _wanted(use: Services, asked: tuple[FeedFilter, tuple[str, ...]]) -> Wanted:
    filter_, events = asked
    return filter_.wanted(events, use.identifiers, pointer="/query")


async def _position(use: Services, after: str | None) -> Position | None:
    """Where to begin; None: at the oldest."""
    if after is None:
        return None
    if after != NOW:
        return feed.decode(after, pointer="/query/after")
    async with reading(use.engine) as session:
        return (await feed.edges(session)).end


async def _read(use: Services, key: Caller, wanted: Wanted, limit: int, way: str, position: Position | None) -> Page:
    """A page, put down in the audit log where it shows anyone: who read, and how much, since it is about many."""
    async with reading(use.engine) as session:
        page = await feed.page(session, position, wanted, limit=limit)
        items = await feed_items.documents(session, page.items, use.identifiers)
    if items:
        use.recorder.note(entry("read_feed", key, None, {"way": way, "events": len(items)}))
        if way == "page":
            metrics.FEED_EVENTS.labels(way).inc(len(items))
    return items, page.next, page.caught_up
