"""Quarantine: what was refused, and why."""

import base64
from typing import Annotated, Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from percorso.http import answers
from percorso.http.access import MayRead
from percorso.http.documents.base import answers as documented
from percorso.http.documents.quarantine import Rejected, RejectedCounts, RejectedDocument, State
from percorso.http.parameters import Cursor, Limit, Ranged, RejectionId
from percorso.http.services import Analytics, Reads
from percorso.ingest.reasons import general
from percorso.interaction import Channel
from percorso.queries import rejected
from percorso.queries.rejected import Filters, Grouping

router = APIRouter(prefix="/v1/rejected", tags=["Quarantine"])

MOST_REASON: Final = 160
MOST_POINTER: Final = 1024
FORMAT_PATTERN: Final = "^[a-z0-9]{1,32}$"


def filters(
    range_: Ranged,
    source: Annotated[str | None, Query(max_length=256, description="Only what this source sent.")] = None,
    sender_id: Annotated[
        str | None, Query(alias="id", max_length=256, description="Only what has this id of its sender's.")
    ] = None,
    state: Annotated[State | None, Query(description="Only what waits, was replayed, or was dismissed.")] = None,
    format_: Annotated[
        str | None, Query(alias="format", pattern=FORMAT_PATTERN, description="Only what came in this format.")
    ] = None,
    channel: Annotated[Channel | None, Query(description="Only this channel, where it could be read.")] = None,
    reason: Annotated[
        str | None,
        Query(
            max_length=MOST_REASON,
            description="Only what was refused for this reason, as `counts` has it, or with this code.",
            examples=["required:/customer", "required"],
        ),
    ] = None,
    pointer: Annotated[
        str | None, Query(max_length=MOST_POINTER, description="Only what is wrong here; any index counts as `*`.")
    ] = None,
) -> Filters:
    """What quarantine is narrowed to."""
    return Filters(
        sender_id=sender_id,
        source=source,
        state=state,
        format=format_,
        channel=channel,
        reason=reason,
        pointer=None if pointer is None else general(pointer),
        since=range_.since,
        until=range_.until,
    )


Filtered = Annotated[Filters, Depends(filters)]


@router.get(
    "",
    summary="What was refused, newest first",
    response_class=Response,
    responses=documented(Rejected, says="A page of quarantine."),
)
async def read_rejected(
    request: Request, _: MayRead, session: Reads, narrowed: Filtered, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Read the items that were refused, as they were received, and what is wrong in each.

    `from` and `to` bound the time of receipt. All filters must fit. Those by `id`, `source`, `state` and time are found
    by an index; with any other, 100,000 items are looked through at most, and a page may be short, or even empty,
    though `next_cursor` leads on. An item is kept for `PERCORSO_QUARANTINE_DAYS` from its receipt, replayed or not.
    """
    page = await rejected.page(session, narrowed, limit=limit, after=cursor)
    return answers.page_response(request, [document(row) for row in page.items], page.next_cursor)


@router.get(
    "/counts",
    summary="How much was refused, by reason or otherwise",
    response_class=Response,
    responses=documented(RejectedCounts, says="How many items there are of each group, most first."),
)
async def count_rejected(
    _: MayRead,
    session: Analytics,
    narrowed: Filtered,
    by: Annotated[Grouping, Query(description="What is counted by; `hour` is that of receipt, in UTC.")] = "reason",
) -> Response:
    """Count what was refused. An item with several things wrong counts in the group of each `reason` and `pointer`.

    A reason is a code and a pointer, without any value: `required:/customer`. Of the newest 100,000 items that `id`,
    `source`, `state` or time lead to; where there are more, `counted_from` says since when. The 200 largest groups are
    named. Items that were refused by a release before reasons were kept have none.
    """
    found = await rejected.counts(session, narrowed, by=by)
    return answers.json_response(
        {
            "by": by,
            "items": found.items,
            "counted_from": None if found.counted_from is None else answers.moment(found.counted_from),
            "groups": [{by: row["said"], "items": row["items"]} for row in found.groups],
            "others": found.others,
        }
    )


@router.get(
    "/{rejection_id}",
    summary="One refused item",
    response_class=Response,
    responses=documented(RejectedDocument, 404, says="The item."),
)
async def read_rejected_item(request: Request, rejection_id: RejectionId, _: MayRead, session: Reads) -> Response:
    """Read one refused item."""
    row = await rejected.by_id(session, UUID(rejection_id.bytes))
    return answers.tagged(request, answers.json_response(document(row)))


def document(row: Record) -> dict[str, Any]:
    """A refused item, as it stands in answers."""
    try:
        payload, encoding = row["payload"].decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = base64.b64encode(row["payload"]).decode(), "base64"
    handled_at, interaction_id = row["handled_at"], row["interaction_id"]
    return {
        "rejection_id": str(row["rejection_id"]),
        "received_at": answers.moment(row["received_at"]),
        "source": row["source"],
        "id": row["sender_id"],
        "format": row["format"],
        "channel": row["channel"],
        "errors": row["errors"],
        "reasons": row["reasons"],
        "state": row["state"],
        "handled_at": None if handled_at is None else answers.moment(handled_at),
        "handled_by": row["handled_by"],
        "interaction_id": None if interaction_id is None else str(interaction_id),
        "replay_errors": row["replay_errors"],
        "size": row["size"],
        "truncated": row["size"] > len(row["payload"]),
        "payload": payload,
        "payload_encoding": encoding,
    }
