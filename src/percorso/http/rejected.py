"""Quarantine: what was refused, and why."""

import base64
from typing import Annotated, Any

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from percorso.http import answers
from percorso.http.access import MayRead
from percorso.http.documents.base import answers as documented
from percorso.http.documents.interactions import Rejected, RejectedDocument
from percorso.http.parameters import Cursor, Limit, RejectionId, Since, Until, position
from percorso.http.services import Reads
from percorso.queries import rejected

router = APIRouter(prefix="/v1/rejected", tags=["Quarantine"])


@router.get(
    "",
    summary="What was refused, newest first",
    response_class=Response,
    responses=documented(Rejected, says="A page of quarantine."),
)
async def read_rejected(
    request: Request,
    _: MayRead,
    session: Reads,
    source: Annotated[str | None, Query(max_length=256, description="Only what this source sent.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read the items that were refused, as they were received, and what is wrong in each.

    `from` and `to` bound the time of receipt.
    """
    after = position(cursor, list_="rejected")
    page = await rejected.page(session, source=source, since=since, until=until, limit=limit, after=after)
    return answers.page_response(request, [document(row) for row in page.items], page.next_cursor)


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
    return {
        "rejection_id": str(row["rejection_id"]),
        "received_at": answers.moment(row["received_at"]),
        "source": row["source"],
        "id": row["sender_id"],
        "format": row["format"],
        "errors": row["errors"],
        "size": row["size"],
        "truncated": row["size"] > len(row["payload"]),
        "payload": payload,
        "payload_encoding": encoding,
    }
