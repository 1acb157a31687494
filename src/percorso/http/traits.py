"""What is said of a customer: traits, each with its source and time, and what was said before."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from percorso.details import Moment
from percorso.http import answers
from percorso.http.access import MayRead, MayWrite
from percorso.http.documents import examples
from percorso.http.documents.base import answers as documented
from percorso.http.documents.customers import TraitHistory, TraitsDocument
from percorso.http.parameters import Cursor, Limit, TheCustomer, only_known
from percorso.http.payloads import given, request_body
from percorso.http.recorder import entry
from percorso.http.routing import DirectRoute
from percorso.http.services import Use
from percorso.ingest import say
from percorso.ingest.validate import require_in_time
from percorso.interaction import Kind, Source
from percorso.queries import customers, traits
from percorso.storage import audit
from percorso.storage.database import ReadSession, reading, writing
from percorso.storage.traits import Trait, spelled

router = APIRouter(
    prefix="/v1/customers", tags=["Customers"], route_class=DirectRoute, dependencies=[Depends(only_known)]
)

_MOST_TRAITS: Final = 100
_CAP: Final = 1024 * 1024


def _spelled(value: Any) -> str | None:
    """As it is stored; with a word of its own where it is too long."""
    try:
        return spelled(value)
    except ValueError as error:
        raise PydanticCustomError("json_too_long", "{why}", {"why": str(error)}) from None


class TraitsBody(BaseModel):
    """What is said of a customer, by name; what is not named stays as it was."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [examples.SAID_TRAITS]})

    traits: dict[Kind, Annotated[Any, AfterValidator(_spelled)]] = Field(
        min_length=1,
        max_length=_MOST_TRAITS,
        description="Any JSON of at most 8 KiB under each name; null: there is no such trait from then on.",
    )
    occurred_at: Moment | None = Field(None, description="Since when it is so. Absent: when it is received.")
    source: Source | None = Field(None, description="The system that knows it. Absent: the name of the key.")


@router.put(
    "/{customer:name}/traits",
    summary="Say traits of a customer",
    response_class=Response,
    responses=documented(TraitsDocument, 404, 408, 413, 415, says="What holds now."),
    openapi_extra=request_body(TraitsBody),
)
async def say_traits(
    request: Request,
    key: MayWrite,
    customer: TheCustomer,
    said: Annotated[TraitsBody, Depends(given(TraitsBody, cap=_CAP))],
    use: Use,
) -> Response:
    """Say what is so of a customer, and since when; of each trait what occurred last holds, in whatever order it comes.

    To say the same again changes nothing. What was said before stays readable under `traits/history`. It is kept under
    the identifier that the path names, and goes with it where customers are joined or taken apart.
    """
    now = datetime.now(UTC)
    max_future = timedelta(seconds=use.settings.max_future_seconds)
    require_in_time({"/occurred_at": said.occurred_at}, now=now, max_future=max_future)
    occurred_at, source = said.occurred_at or now, said.source or key.name
    rows = [Trait(customer, name, value, occurred_at, source, now, key.name) for name, value in said.traits.items()]
    async with writing(use.engine) as session:
        await say.traits(session, customer, rows, at=now, generation=use.deployment.generation)
        await audit.record(session, [entry("said", key, customer, {"traits": len(rows)})])
    async with reading(use.engine) as reader:
        return await _current(request, reader, customer)


@router.get(
    "/{customer:name}/traits/history",
    summary="All that was ever said of a customer's traits",
    response_class=Response,
    responses=documented(TraitHistory, 404, says="A page of the history, newest first."),
)
async def read_trait_history(
    request: Request,
    key: MayRead,
    customer: TheCustomer,
    use: Use,
    name: Annotated[str | None, Query(max_length=64, description="Only this trait.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read every value a trait had, by any source, the latest first; a value that is null took the trait away."""
    async with reading(use.engine) as session:
        this = await customers.by_identity(session, customer)
        page = await traits.page(session, this.identity_ids, name=name, limit=limit, after=cursor)
    use.recorder.read(request, key, this.customer_id)
    items = [{"name": trait.name} | _document(trait) for trait in page.items]
    return answers.page_response(request, items, page.next_cursor, customer_id=str(this.customer_id))


@router.get(
    "/{customer:name}/traits",
    summary="A customer's traits",
    response_class=Response,
    responses=documented(TraitsDocument, 404, says="What holds now."),
)
async def read_traits(request: Request, key: MayRead, customer: TheCustomer, use: Use) -> Response:
    """Read what is said of a customer: of each trait what occurred last, said of any of the customer's identifiers."""
    async with reading(use.engine) as session:
        current = await _current(request, session, customer)
    use.recorder.read(request, key, customer)
    return current


async def _current(request: Request, session: ReadSession, customer: UUID) -> Response:
    this = await customers.by_identity(session, customer)
    content = {
        "customer_id": str(this.customer_id),
        "traits": traits_by_name(await traits.current(session, this.identity_ids)),
    }
    return answers.tagged(request, answers.json_response(content))


def traits_by_name(current: Sequence[Trait]) -> dict[str, dict[str, Any]]:
    """Traits as they stand in answers."""
    return {trait.name: _document(trait) for trait in current}


def _document(trait: Trait) -> dict[str, Any]:
    return {
        "value": None if trait.value is None else msgspec.Raw(trait.value.encode()),
        "occurred_at": answers.moment(trait.occurred_at),
        "source": trait.source,
        "received_at": answers.moment(trait.received_at),
        "set_by": trait.set_by,
    }
