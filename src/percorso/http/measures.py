"""What is measured of one customer: the summary, and the episodes of the journey."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from percorso import measures
from percorso.http import answers
from percorso.http.access import MayRead
from percorso.http.documents.base import answers as documented
from percorso.http.documents.measured import CustomerSummary, Episodes
from percorso.http.own import MayReadOwn
from percorso.http.parameters import Cursor, Limit, Order, Ranged, TheCustomer, only_known, position
from percorso.http.routing import DirectRoute
from percorso.http.services import Use
from percorso.queries import contacts, episodes
from percorso.storage.database import reading

router = APIRouter(
    prefix="/v1/customers", tags=["Customers"], route_class=DirectRoute, dependencies=[Depends(only_known)]
)

_GAP: Final = re.compile(r"[1-9][0-9]{0,3}[dh]")


def _gap(given: Any) -> Any:
    if not isinstance(given, str) or not _GAP.fullmatch(given):
        raise PydanticCustomError("gap", "must be a number of days or hours from 1 to 9999, such as 30d or 12h")
    return given


Gap = Annotated[
    str,
    BeforeValidator(_gap),
    WithJsonSchema({"type": "string", "pattern": f"^{_GAP.pattern}$", "examples": ["30d", "12h"]}),
    Query(description="How long contact must pause for an episode to end: days (`30d`) or hours (`12h`)."),
]


@router.get(
    "/{customer:name}/summary",
    summary="What there is to know of a customer",
    response_class=Response,
    responses=documented(CustomerSummary, 404, says="The summary."),
)
async def read_summary(request: Request, key: MayReadOwn, customer: TheCustomer, within: Ranged, use: Use) -> Response:
    """Sum up all contact with this customer, and how the relationship stands.

    That is: how much contact, by what means and when; who waits for an answer; whether matters were settled, or the
    customer had to come back; complaints; how they feel and what they answered when asked; how they buy.

    With `from` and `to` it is of that time alone, as of its end. It is as of the minute, so that the ETag of an
    unchanged customer stays the same for that long.
    """
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    as_of = now if within.until is None else min(now, within.until)
    async with use.measuring:
        async with reading(use.engine) as session:
            history = await contacts.of_customer(session, customer, since=within.since, until=within.until)
        summary = await asyncio.to_thread(measures.summarise, history.contacts, now=as_of, zone=history.zone)
    use.recorder.read(request, key, history.customer_id)
    content = {"customer_id": history.customer_id, "truncated_before": history.truncated_before}
    return answers.tagged(request, answers.json_response(answers.figures(content) | answers.figures(summary)))


@router.get(
    "/{customer:name}/episodes",
    summary="A customer's episodes, newest first",
    response_class=Response,
    responses=documented(Episodes, 404, says="A page of episodes."),
)
async def read_episodes(
    request: Request,
    key: MayRead,
    customer: TheCustomer,
    use: Use,
    gap: Gap = "30d",
    order: Annotated[Order, Query(description="Newest first (`desc`) or oldest first (`asc`).")] = "desc",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read the journey in episodes: it is cut where contact pauses, and where a case closes.

    The episodes together are the whole journey. To read what happened in one, ask for the journey `from` its
    `began_at`. Follow `next_cursor` with the same `gap` and `order`.
    """
    after = position(cursor, list_=episodes.list_name(gap, order))
    async with use.measuring:
        async with reading(use.engine) as session:
            history = await contacts.of_customer(session, customer)
        page = await asyncio.to_thread(
            episodes.page, history.contacts, gap=gap, order=order, limit=limit, after=after, now=datetime.now(UTC)
        )
    use.recorder.read(request, key, history.customer_id)
    return answers.page_response(
        request,
        map(answers.figures, page.items),
        page.next_cursor,
        **answers.figures({"customer_id": history.customer_id, "truncated_before": history.truncated_before}),
    )
