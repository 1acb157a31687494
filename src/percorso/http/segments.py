"""Segments: filters of customers that have a name, and who is in them."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from asyncpg import Record
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.errors import NotFound
from percorso.http import answers
from percorso.http.access import MayRead, MayWrite
from percorso.http.documents.base import answers as documented
from percorso.http.documents.found import FILTER, FoundCustomers, Membership, SegmentDocument, Segments
from percorso.http.filtering import SEGMENT_PATTERN, SegmentFilter, stored
from percorso.http.finding import page_of
from percorso.http.parameters import Cursor, Limit, TheCustomer
from percorso.http.payloads import given, request_body
from percorso.http.services import Reads, Use
from percorso.queries import customers, followers, profiles, segments
from percorso.queries.profiles import FOLLOWER
from percorso.storage import segments as store
from percorso.storage.database import reading, writing

router = APIRouter(prefix="/v1/segments", tags=["Finding customers"])

Name = Annotated[
    str,
    Path(
        max_length=segments.LONGEST_NAME,
        pattern=SEGMENT_PATTERN,
        description="The segment's name.",
        examples=["silent-regulars"],
    ),
]


class SegmentBody(BaseModel):
    """What a segment is."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"description": "Silent", "filter": FILTER}]}
    )

    description: str | None = Field(None, max_length=256, description="What it is for.")
    filter: SegmentFilter = Field(description="Who is in it: the filters of a search, all of which must hold.")


@router.get(
    "",
    summary="The segments",
    response_class=Response,
    responses=documented(Segments, says="A page of segments, by name."),
)
async def read_segments(
    request: Request, _: MayRead, session: Reads, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Read the segments there are, by name."""
    after = "" if cursor is None else segments.position(cursor)
    page = await segments.page(session, limit=limit, after=after)
    return answers.page_response(request, [_document(row) for row in page.items], page.next_cursor)


@router.get(
    "/{name}",
    summary="A segment",
    response_class=Response,
    responses=documented(SegmentDocument, 404, says="The segment."),
)
async def read_segment(request: Request, name: Name, _: MayRead, session: Reads) -> Response:
    """Read what a segment is."""
    return answers.tagged(request, answers.json_response(_document(await segments.by_name(session, name))))


@router.put(
    "/{name}",
    summary="Say what a segment is",
    response_class=Response,
    responses=documented(SegmentDocument, 404, 408, 413, 415, says="Said.")
    | {201: {"model": SegmentDocument, "description": "Said, and new."}},
    openapi_extra=request_body(SegmentBody),
)
async def put_segment(
    name: Name, key: MayWrite, said: Annotated[SegmentBody, Depends(given(SegmentBody))], use: Use
) -> Response:
    """Give a filter of customers a name, in full: what was said of the segment before holds no more.

    Who is in it is found anew whenever it is asked: a span such as `last_contact_within` is counted back from then.
    """
    filter_ = said.filter.model_dump_json(exclude_defaults=True)
    async with writing(use.engine) as session:
        new = await store.put(session, name, description=said.description, filter_=filter_, by=key.name)
    async with reading(use.engine) as reader:
        document = _document(await segments.by_name(reader, name))
    return answers.json_response(document, status=HTTPStatus.CREATED if new else HTTPStatus.OK)


@router.delete(
    "/{name}",
    summary="Forget a segment",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Forgotten."),
)
async def delete_segment(name: Name, _: MayWrite, use: Use) -> Response:
    """Forget a segment; its members are customers as before."""
    async with writing(use.engine) as session:
        if not await store.delete(session, name):
            raise NotFound("No segment has this name.")
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/{name}/members",
    summary="The members of a segment",
    response_class=Response,
    responses=documented(FoundCustomers, 404, says="A page of its members."),
)
async def read_members(
    request: Request, name: Name, _: MayRead, session: Reads, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Read who is in a segment, as a search shows them.

    They come in an order in which contact moves no one, so that each comes once however long the pages are read: that
    of customer ids, or of the identifier that the segment asks for.
    """
    filters = stored((await segments.by_name(session, name))["filter"], datetime.now(UTC))
    page = await profiles.page(session, [filters], order="id", limit=limit, after=cursor)
    return await page_of(request, session, page)


@router.get(
    "/{name}/members/{customer:name}",
    summary="Whether a customer is in a segment",
    response_class=Response,
    responses=documented(Membership, 404, says="Whether the customer is in it."),
)
async def read_membership(
    request: Request, name: Name, key: MayRead, customer: TheCustomer, use: Use, session: Reads
) -> Response:
    """Read whether one customer is in a segment; one who has no profile yet is so by an identifier alone."""
    filters = stored((await segments.by_name(session, name))["filter"], datetime.now(UTC))
    this = await customers.by_identity(session, customer)
    use.recorder.read(request, key, this.customer_id)
    content = {
        "customer_id": this.customer_id,
        "member": await profiles.fits(session, filters, this.customer_id),
        "as_of": await followers.as_of(session, FOLLOWER),
    }
    return answers.tagged(request, answers.json_response(answers.figures(content)))


def _document(row: Record) -> dict[str, Any]:
    names = ("name", "description", "created_at", "updated_at", "updated_by")
    document: dict[str, Any] = answers.figures({name: row[name] for name in names})
    return document | {"filter": msgspec.Raw(row["filter"].encode())}
