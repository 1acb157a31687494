"""Customers, and their journeys."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from percorso.http import answers
from percorso.http.access import MayRead
from percorso.http.consents import consent_document
from percorso.http.documents.base import answers as documented
from percorso.http.documents.customers import CustomerDocument
from percorso.http.documents.interactions import Journey
from percorso.http.parameters import Cursor, Details, Filtered, TheCustomer, narrowed, only_known
from percorso.http.routing import DirectRoute
from percorso.http.services import Use
from percorso.http.traits import traits_by_name
from percorso.queries import consents, customers, journey, traits
from percorso.storage.database import reading

router = APIRouter(
    prefix="/v1/customers", tags=["Customers"], route_class=DirectRoute, dependencies=[Depends(only_known)]
)


@router.get(
    "/{customer:name}/journey",
    summary="A customer's journey, newest first",
    response_class=Response,
    responses=documented(Journey, 404, says="A page of the journey."),
)
async def read_journey(
    request: Request,
    key: MayRead,
    customer: TheCustomer,
    filters: Filtered,
    use: Use,
    cursor: Cursor = None,
    details: Details = True,  # noqa: FBT002 - FastAPI passes it by name
) -> Response:
    """Read the interactions of every identity of this customer, merged in time order.

    Pages stay right while interactions arrive: follow `next_cursor`, with the same filters.
    """
    wanted = narrowed(filters, cursor, list_=f"journey-{filters.order}")
    async with reading(use.engine) as session:
        page = await journey.page(session, customer, wanted)
    use.recorder.read(request, key, page.customer_id)
    items = [answers.interaction(found, page.customer_id, use.identifiers, details=details) for found in page.items]
    return answers.page_response(request, items, page.next_cursor, customer_id=str(page.customer_id))


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
