"""Customers, and their journeys."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from percorso.formats.cloudevents import BATCH
from percorso.http import answers, cloudevents
from percorso.http.access import MayRead
from percorso.http.consents import consent_document
from percorso.http.documents.base import answers as documented
from percorso.http.documents.cloudevents import PAGE
from percorso.http.documents.customers import CustomerDocument
from percorso.http.documents.interactions import Journey
from percorso.http.negotiation import chosen
from percorso.http.own import MayReadOwn
from percorso.http.parameters import Cursor, Details, Filtered, TheCustomer, narrowed, only_known
from percorso.http.routing import DirectRoute
from percorso.http.services import Use
from percorso.http.traits import traits_by_name
from percorso.queries import consents, customers, journey, traits
from percorso.storage.database import reading

_JSON: Final = "application/json"

router = APIRouter(
    prefix="/v1/customers", tags=["Customers"], route_class=DirectRoute, dependencies=[Depends(only_known)]
)


def _as_events(responses: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """These responses, of which the good one may be a batch of events too."""
    responses[HTTPStatus.OK]["content"] = PAGE
    return responses


def _form(request: Request) -> str:
    """The media type that a journey is wanted in. Events are given to those only who name them."""
    accepted = request.headers.getlist("accept")
    return chosen(accepted, (_JSON, BATCH)) if any("cloudevents" in each.lower() for each in accepted) else _JSON


@router.get(
    "/{customer:name}/journey",
    summary="A customer's journey, newest first",
    response_class=Response,
    responses=_as_events(documented(Journey, 404, 406, says="A page of the journey.")),
)
async def read_journey(
    request: Request,
    key: MayReadOwn,
    customer: TheCustomer,
    filters: Filtered,
    use: Use,
    cursor: Cursor = None,
    details: Details = True,  # noqa: FBT002 - FastAPI passes it by name
) -> Response:
    """Read the interactions of every identity of this customer, merged in time order.

    Pages stay right while interactions arrive: follow `next_cursor`, with the same filters. Accepting
    `application/cloudevents-batch+json`, it is read as CloudEvents, and the `Link` header leads to the next page: what
    came in as an event comes out as that event.
    """
    form = _form(request)
    wanted = narrowed(filters, cursor, list_=f"journey-{filters.order}")
    async with reading(use.engine) as session:
        page = await journey.page(session, customer, wanted)
    use.recorder.read(request, key, page.customer_id)
    if form == BATCH:
        body = cloudevents.page(page.items, use.identifiers, details=details)
        answer = answers.linked(request, Response(body, media_type=BATCH), page.next_cursor)
        answer = answers.tagged(request, answer)
    else:
        items = [answers.interaction(found, page.customer_id, use.identifiers, details=details) for found in page.items]
        answer = answers.page_response(request, items, page.next_cursor, customer_id=str(page.customer_id))
    answer.headers["Vary"] = "Accept"
    return answer


@router.get(
    "/{customer:name}",
    summary="A customer",
    response_class=Response,
    responses=documented(CustomerDocument, 404, says="The customer."),
)
async def read_customer(request: Request, key: MayRead, customer: TheCustomer, use: Use) -> Response:
    """Read who a customer is: identifiers, the first and the last contact, how many there were, traits and consents.

    Ids that a customer had before it was joined with another keep working; `customer_id` is the present one.
    """
    async with reading(use.engine) as session:
        this = await customers.by_identity(session, customer)
        contact = await customers.contact(session, this)
        said = await traits.current(session, this.identity_ids)
        agreed = await consents.current(session, this.identity_ids)
    use.recorder.read(request, key, this.customer_id)
    content = {
        "customer_id": str(this.customer_id),
        "identifiers": answers.identifiers(this),
        "first_contact_at": None if contact.first_at is None else answers.moment(contact.first_at),
        "last_contact_at": None if contact.last_at is None else answers.moment(contact.last_at),
        "interactions": {"total": contact.interactions, "by_channel": contact.by_channel},
        "traits": traits_by_name(said),
        "consents": [consent_document(consent) for consent in agreed],
    }
    return answers.tagged(request, answers.json_response(content))
