"""Touchpoints, and what happened at each."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from asyncpg import Record
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.http import answers
from percorso.http.access import MayRead, MayWrite
from percorso.http.documents.base import answers as documented
from percorso.http.documents.interactions import Interactions
from percorso.http.documents.operations import OneTouchpoint, TouchpointDocument
from percorso.http.parameters import Cursor, Details, Filtered, NewSlug, Slug, narrowed
from percorso.http.payloads import given, request_body
from percorso.http.services import Reads, Use
from percorso.http.tables import Columns
from percorso.interaction import Channel, Function, Stage
from percorso.queries import customers, touchpoints
from percorso.storage import touchpoints as registry
from percorso.storage.database import ReadSession, reading, writing

router = APIRouter(prefix="/v1/touchpoints", tags=["Touchpoints"])

COLUMNS: Final[Columns] = {
    "slug": "text",
    "channel": "text",
    "name": "text",
    "function": "text",
    "stage": "text",
    "owner": "text",
    "location": "text",
    "discovered": "flag",
    "merged_into": "text",
    "merged": "texts",
    "created_at": "moment",
    "updated_at": "moment",
}
"""What is said of a touchpoint in a table."""
_Text = Annotated[str | None, Field(max_length=256)]


class TouchpointBody(BaseModel):
    """What is said of a touchpoint; what is left out is not said."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"name": "Support line", "channel": "phone", "stage": "service"}]},
    )

    channel: Channel | None = Field(None, description="The channel it belongs to.")
    name: _Text = Field(None, description="What people call it.")
    function: Function | None = Field(None, description="The function it serves.")
    stage: Stage | None = Field(None, description="The stage of the journey it belongs to.")
    owner: _Text = Field(None, description="Who looks after it.")
    location: _Text = Field(None, description="Where it is.")


@router.get(
    "/{slug:name}/interactions",
    summary="What happened at a touchpoint, newest first",
    response_class=Response,
    responses=documented(Interactions, 404, says="A page of interactions."),
)
async def read_touchpoint_interactions(
    request: Request,
    slug: Slug,
    _: MayRead,
    filters: Filtered,
    use: Use,
    session: Reads,
    cursor: Cursor = None,
    details: Details = True,  # noqa: FBT002 - FastAPI passes it by name
) -> Response:
    """Read the interactions at one touchpoint, with the same filters as a journey.

    Those of all that were merged into it are among them; each names its touchpoint as its sender did.
    """
    touchpoint_ids = await touchpoints.ids_of(session, slug)
    wanted = narrowed(filters, cursor, list_=f"touchpoint-{filters.order}")
    page = await touchpoints.interactions(session, touchpoint_ids, wanted)
    customer_ids = await customers.customer_ids(session, [found.identity_id for found in page.items])
    items = [
        answers.interaction(found, customer_ids.get(found.identity_id), use.identifiers, details=details)
        for found in page.items
    ]
    return answers.page_response(request, items, page.next_cursor)


@router.get(
    "/{slug:name}",
    summary="A touchpoint",
    response_class=Response,
    responses=documented(OneTouchpoint, 404, says="The touchpoint."),
)
async def read_touchpoint(request: Request, slug: Slug, _: MayRead, session: Reads) -> Response:
    """Read what is known of a touchpoint. A slug that was merged answers with the touchpoint that it counts as."""
    return answers.tagged(request, answers.json_response(await document_of(session, slug)))


@router.put(
    "/{slug:name}",
    summary="Describe a touchpoint",
    response_class=Response,
    responses=documented(TouchpointDocument, 408, 413, 415, says="Described.")
    | {201: {"model": TouchpointDocument, "description": "Described, and new."}},
    openapi_extra=request_body(TouchpointBody),
)
async def describe_touchpoint(
    slug: NewSlug, _: MayWrite, said: Annotated[TouchpointBody, Depends(given(TouchpointBody))], use: Use
) -> Response:
    """Say what a touchpoint is, in full: what is left out is no longer said. Unknown slugs are registered.

    One that was merged is described itself: that shows once it is unmerged.
    """
    async with writing(use.engine) as session:
        new = await registry.put(session, slug, registry.Touchpoint(**said.model_dump()))
    async with reading(use.engine) as reader:
        document = item(await touchpoints.by_slug(reader, slug))
    return answers.json_response(document, status=HTTPStatus.CREATED if new else HTTPStatus.OK)


async def document_of(session: ReadSession, slug: str) -> dict[str, Any]:
    """The touchpoint that a slug counts as, with the slug that was asked for and what was merged or parted."""
    row = await touchpoints.counted_as(session, slug)
    changes = await touchpoints.changes(session, row["touchpoint_id"])
    return item(row) | {"asked_for": slug, "changes": [answers.figures(each._asdict()) for each in changes]}


def item(row: Record) -> dict[str, Any]:
    """A touchpoint as it stands in answers."""
    document: dict[str, Any] = answers.figures({name: row[name] for name in COLUMNS})
    return document
