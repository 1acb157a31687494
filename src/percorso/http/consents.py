"""Whether a customer may be contacted: consents, each with its evidence, and what was said before."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.details import Moment
from percorso.http import answers
from percorso.http.access import MayRead, MayWrite
from percorso.http.documents import examples
from percorso.http.documents.base import answers as documented
from percorso.http.documents.customers import ConsentHistory, ConsentsDocument
from percorso.http.parameters import Cursor, Limit, TheCustomer, only_known
from percorso.http.payloads import given, request_body
from percorso.http.recorder import entry
from percorso.http.routing import DirectRoute
from percorso.http.services import Use
from percorso.ingest import say
from percorso.ingest.validate import require_in_time
from percorso.interaction import Channel, Kind, Source
from percorso.queries import consents, customers
from percorso.storage import audit
from percorso.storage.consents import ANY, Consent, LawfulBasis, Status
from percorso.storage.database import reading, writing

router = APIRouter(
    prefix="/v1/customers", tags=["Customers"], route_class=DirectRoute, dependencies=[Depends(only_known)]
)

_MOST_CONSENTS: Final = 100
_CAP: Final = 1024 * 1024

_AnyChannel = Literal[Channel, "any"]
_Purpose = Annotated[str | None, Query(max_length=64, description="Only what is said of this purpose.")]


class ConsentBody(BaseModel):
    """What is said of contact for one purpose."""

    model_config = ConfigDict(extra="forbid", strict=True)

    purpose: Kind = Field(description="What contact is for; what interactions say is about `marketing`.")
    channel: _AnyChannel | None = Field(None, description="By which channel. Absent, or `any`: by all.")
    status: Status = Field(description="Whether the customer agrees to it.")
    occurred_at: Moment | None = Field(None, description="Since when. Absent: when it is received.")
    lawful_basis: LawfulBasis | None = Field(
        None, description="What makes the processing lawful: GDPR, Article 6(1), points (a) to (f)."
    )
    evidence: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="What proves it: a form and its version, a recording, a letter.",
    )
    source: Source | None = Field(None, description="The system that knows it. Absent: the name of the key.")


class ConsentsBody(BaseModel):
    """What is said of contact; what is not named stays as it was."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [examples.SAID_CONSENTS]})

    consents: list[ConsentBody] = Field(min_length=1, max_length=_MOST_CONSENTS, description="One or more statements.")


@router.put(
    "/{customer:name}/consents",
    summary="Say what a customer consents to",
    response_class=Response,
    responses=documented(ConsentsDocument, 404, 408, 413, 415, says="What holds now."),
    openapi_extra=request_body(ConsentsBody),
)
async def say_consents(
    request: Request,
    key: MayWrite,
    customer: TheCustomer,
    said: Annotated[ConsentsBody, Depends(given(ConsentsBody, cap=_CAP))],
    use: Use,
) -> Response:
    """Say that a customer agrees to be contacted, or does not; what occurred last holds, in whatever order it comes.

    To say the same again changes nothing. What was said before stays readable under `consents/history`. It is kept
    under the identifier that the path names, and goes with it where customers are joined or taken apart.
    """
    now = datetime.now(UTC)
    require_in_time(
        {f"/consents/{index}/occurred_at": each.occurred_at for index, each in enumerate(said.consents)},
        now=now,
        max_future=timedelta(seconds=use.settings.max_future_seconds),
    )
    rows = [
        Consent(
            identity_id=customer,
            purpose=each.purpose,
            channel=each.channel or ANY,
            status=each.status,
            occurred_at=each.occurred_at or now,
            lawful_basis=each.lawful_basis,
            evidence=each.evidence,
            interaction_id=None,
            source=each.source or key.name,
            received_at=now,
            set_by=key.name,
        )
        for each in said.consents
    ]
    async with writing(use.engine) as session:
        await say.consents(session, customer, rows, at=now, generation=use.deployment.generation)
        await audit.record(session, [entry("said", key, customer, {"consents": len(rows)})])
    async with reading(use.engine) as reader:
        this = await customers.by_identity(reader, customer)
        current = await consents.current(reader, this.identity_ids)
    return _answer(request, this, current)


@router.get(
    "/{customer:name}/consents/history",
    summary="All that was ever said of what a customer consents to",
    response_class=Response,
    responses=documented(ConsentHistory, 404, says="A page of the history, newest first."),
)
async def read_consent_history(
    request: Request,
    key: MayRead,
    customer: TheCustomer,
    use: Use,
    purpose: _Purpose = None,
    channel: Annotated[
        _AnyChannel | None, Query(description="Only what is said of this very channel, or of `any`.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read every consent and denial with its evidence, the latest first: what was said when, and what proves it."""
    async with reading(use.engine) as session:
        this = await customers.by_identity(session, customer)
        page = await consents.page(
            session, this.identity_ids, purpose=purpose, channel=channel, limit=limit, after=cursor
        )
    use.recorder.read(request, key, this.customer_id)
    items = [consent_document(consent) for consent in page.items]
    return answers.page_response(request, items, page.next_cursor, customer_id=str(this.customer_id))


@router.get(
    "/{customer:name}/consents",
    summary="Whether a customer may be contacted",
    response_class=Response,
    responses=documented(ConsentsDocument, 404, says="What holds now."),
)
async def read_consents(
    request: Request,
    key: MayRead,
    customer: TheCustomer,
    use: Use,
    purpose: _Purpose = None,
    channel: Annotated[
        Channel | None, Query(description="Only what is said of this channel, or of all channels.")
    ] = None,
) -> Response:
    """Read what a customer consents to, by purpose and channel, each with its evidence, before making contact.

    With `purpose` and `channel`, `allowed` says whether contact is allowed, and `decided_by` what was said that decides
    it: of what is said of the channel and of all channels the later, at the same moment a denial. Where nothing is said
    it is not allowed.
    """
    async with reading(use.engine) as session:
        this = await customers.by_identity(session, customer)
        current = await consents.current(session, this.identity_ids)
    use.recorder.read(request, key, this.customer_id)
    return _answer(request, this, current, purpose=purpose, channel=channel)


def _answer(
    request: Request,
    customer: customers.Customer,
    current: list[Consent],
    *,
    purpose: str | None = None,
    channel: Channel | None = None,
) -> Response:
    items = [
        consent_document(each)
        for each in current
        if purpose in {None, each.purpose} and (channel is None or each.channel in {channel, ANY})
    ]
    decision = None if purpose is None or channel is None else consents.decide(current, purpose, channel)
    by = decision and decision.decided_by
    content = {
        "customer_id": str(customer.customer_id),
        "items": items,
        "next_cursor": None,
        "allowed": decision and decision.allowed,
        "reason": decision and decision.reason,
        "decided_by": by and consent_document(by),
    }
    return answers.tagged(request, answers.json_response(content))


def consent_document(consent: Consent) -> dict[str, Any]:
    """A consent as it stands in answers."""
    moments = {name: answers.moment(getattr(consent, name)) for name in ("occurred_at", "received_at")}
    interaction = None if consent.interaction_id is None else str(consent.interaction_id)
    content = consent._asdict() | moments | {"interaction_id": interaction}
    del content["identity_id"]
    return content
