"""Who is whom, and people's say in it: identities with their evidence, merges, splits, and what is suspected."""

from datetime import UTC, datetime
from typing import Annotated, Any

from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.errors import Decided, InvalidRequest, Problem
from percorso.http import answers
from percorso.http.access import MayRead, MayWrite
from percorso.http.callers import Caller
from percorso.http.documents.base import answers as documented
from percorso.http.documents.identity import Customers, IdentityDocument, Suspected, SuspicionDocument
from percorso.http.parameters import (
    Cursor,
    Limit,
    QueryMoment,
    SuspicionId,
    TheCustomer,
    identity,
    only_known,
    position,
)
from percorso.http.payloads import given, request_body
from percorso.http.recorder import entry
from percorso.http.routing import DirectRoute
from percorso.http.services import Services, Use
from percorso.ingest import reconcile
from percorso.ingest.reconcile import Act
from percorso.queries import customers, suspicions
from percorso.queries import identity as identities
from percorso.queries.identity import Identifier, Link
from percorso.queries.suspicions import Suspicion, Why
from percorso.storage import audit
from percorso.storage import suspicions as register
from percorso.storage.database import reading, writing
from percorso.storage.linking import Guards

router = APIRouter(prefix="/v1", tags=["Identity"], route_class=DirectRoute, dependencies=[Depends(only_known)])

_Reason = Annotated[str, Field(min_length=1, max_length=1000, description="Why; it is kept with the change.")]
_Name = Annotated[str, Field(min_length=1, max_length=700)]
_REASON = "Two people with one phone number."


class MergeBody(BaseModel):
    """Whom to merge with, and why."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"into": "email:anna@example.com", "reason": "Said so on the phone."}]},
    )

    into: _Name = Field(description="The other customer: an id, or `kind:value`.")
    reason: _Reason


class SplitBody(BaseModel):
    """What to part from a customer, and why."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"identifiers": ["phone:+39066982"], "reason": _REASON}]},
    )

    identifiers: list[_Name] = Field(
        min_length=1,
        max_length=1000,
        description="The identifiers to part from the rest: `kind:value`, or identity ids.",
    )
    reason: _Reason


class DismissBody(BaseModel):
    """Why it was rightly stopped."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": _REASON}]})

    reason: _Reason


class RestoreBody(BaseModel):
    """Why it is one person's after all."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"reason": "One person with many accounts."}]},
    )

    reason: _Reason


@router.get(
    "/customers/{customer:name}/identity",
    summary="Who a customer is, and on what evidence",
    response_class=Response,
    responses=documented(IdentityDocument, 404, says="The identity."),
)
async def read_identity(
    request: Request,
    key: MayRead,
    customer: TheCustomer,
    use: Use,
    at: Annotated[QueryMoment | None, Query(description="As it was at this moment (RFC 3339).")] = None,
) -> Response:
    """Read every identifier of a customer and every link, with the interaction and source that is its evidence.

    What was decided about each stands beside it: by whom, when and why. With `at`, all of it as it was then.
    """
    async with reading(use.engine) as session:
        found = await identities.view(session, customer, at)
    use.recorder.read(request, key, found.customer_id)
    content = {
        "customer_id": str(found.customer_id),
        "at": None if at is None else answers.moment(at),
        "customer_id_then": str(found.then),
        "identifiers": [_identifier(each) for each in found.identifiers],
        "links": [_link(each) for each in found.links],
    }
    return answers.tagged(request, answers.json_response(content))


@router.post(
    "/customers/{customer:name}/merge",
    summary="Merge two customers into one",
    response_class=Response,
    responses=documented(
        Customers,
        404,
        408,
        413,
        415,
        says="Merged, and committed: the customer there is now.",
        conflict="No link can make them one: `detail` says why.",
    ),
    openapi_extra=request_body(MergeBody),
)
async def merge_customers(
    key: MayWrite, customer: TheCustomer, said: Annotated[MergeBody, Depends(given(MergeBody))], use: Use
) -> Response:
    """Say that two customers are one person, whatever guard rails would say. A split undoes it.

    The older of the two gives the id; the other keeps working. Two that are one already stay as they are.
    """
    into = _identity(use, said.into, "/into")
    async with writing(use.engine) as session:
        merged = await reconcile.merge(session, customer, into, _act(use, key, said.reason))
        ids = {"into": str(into), "customers": list(map(str, merged))}
        await audit.record(session, [entry("merged", key, customer, ids, reason=_hashed(use, said.reason))])
    return await _customers(use, merged)


@router.post(
    "/customers/{customer:name}/split",
    summary="Part identifiers from a customer",
    response_class=Response,
    responses=documented(Customers, 404, 408, 413, 415, says="Split, and committed: the customers there are now."),
    openapi_extra=request_body(SplitBody),
)
async def split_customer(
    key: MayWrite, customer: TheCustomer, said: Annotated[SplitBody, Depends(given(SplitBody))], use: Use
) -> Response:
    """Say that identifiers are of someone else than the rest of a customer. A merge undoes it.

    Every link between them and the rest is cut. What comes later with both does not make it again: it is listed at
    `/v1/identity/suspected`.
    """
    apart = [_identity(use, named, f"/identifiers/{index}") for index, named in enumerate(said.identifiers)]
    async with writing(use.engine) as session:
        parts = await reconcile.split(session, customer, apart, _act(use, key, said.reason))
        ids = {"apart": list(map(str, apart)), "customers": list(map(str, parts))}
        await audit.record(session, [entry("split", key, customer, ids, reason=_hashed(use, said.reason))])
    return await _customers(use, parts)


@router.get(
    "/identity/suspected",
    summary="What was not merged, for review, newest first",
    response_class=Response,
    responses=documented(Suspected, says="A page of suspicions."),
)
async def read_suspected(
    request: Request,
    _: MayRead,
    use: Use,
    why: Annotated[
        Why | None,
        Query(
            description="Only these: a link that was cut and came again (`split_before`), one that would give a "
            "customer too many identifiers (`too_many`), an identifier that would link too many customers (`shared`)."
        ),
    ] = None,
    decided: Annotated[
        bool | None, Query(description="Only what was decided (`true`), or was not yet (`false`).")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read what guard rails stopped, and links that were cut by hand and came again.

    A merge by hand decides what it was about; what was rightly stopped can be dismissed; a shared identifier can be
    restored.
    """
    after = position(cursor, list_=suspicions.LIST)
    async with reading(use.engine) as session:
        page = await suspicions.page(session, why=why, decided=decided, limit=limit, after=after)
    return answers.page_response(request, [_suspicion(each) for each in page.items], page.next_cursor)


@router.post(
    "/identity/suspected/{suspicion_id}/dismiss",
    summary="Dismiss a suspicion",
    response_class=Response,
    responses=documented(
        SuspicionDocument, 404, 408, 413, 415, says="Dismissed.", conflict="It was merged or restored."
    ),
    openapi_extra=request_body(DismissBody),
)
async def dismiss_suspicion(
    key: MayWrite, suspicion_id: SuspicionId, said: Annotated[DismissBody, Depends(given(DismissBody))], use: Use
) -> Response:
    """Say that what was stopped was rightly stopped. It stays stopped, and is not listed as undecided any more.

    What was dismissed before stays as it is.
    """
    this = UUID(suspicion_id.bytes)
    async with writing(use.engine) as session:
        if await register.dismiss(session, this, by=key.name, reason=said.reason, at=datetime.now(UTC)):
            ids = {"suspicion": str(this)}
            await audit.record(session, [entry("dismissed", key, None, ids, reason=_hashed(use, said.reason))])
    async with reading(use.engine) as reader:
        found = await suspicions.by_id(reader, this)
    if found.decision != "dismissed":
        raise Decided(f"It was {found.decision}: split the customer to undo that.")
    return answers.json_response(_suspicion(found))


@router.post(
    "/identity/suspected/{suspicion_id}/restore",
    summary="Let a shared identifier join customers again",
    response_class=Response,
    responses=documented(
        SuspicionDocument,
        404,
        408,
        413,
        415,
        says="Restored, and committed.",
        conflict="It is about a link, not about a shared identifier.",
    ),
    openapi_extra=request_body(RestoreBody),
)
async def restore_identifier(
    key: MayWrite, suspicion_id: SuspicionId, said: Annotated[RestoreBody, Depends(given(RestoreBody))], use: Use
) -> Response:
    """Say that an email or phone is one person's, though it links many: all that it links becomes one customer.

    The guard rail that demoted it leaves it alone from then on; a limit on identifiers of a kind still stops each later
    link that would exceed it. What was restored before stays as it is.
    """
    this = UUID(suspicion_id.bytes)
    async with writing(use.engine) as session:
        restored = await reconcile.restore(session, this, _act(use, key, said.reason))
        if restored is not None:
            ids = {"suspicion": str(this)}
            await audit.record(session, [entry("restored", key, restored, ids, reason=_hashed(use, said.reason))])
    async with reading(use.engine) as reader:
        found = await suspicions.by_id(reader, this)
    return answers.json_response(_suspicion(found))


def _identity(use: Services, named: str, pointer: str) -> UUID:
    try:
        return identity(use.identifiers, named)
    except ValueError as error:
        problems = [Problem(pointer, str(error))]
    raise InvalidRequest("An identifier is not given as it must be.", problems=problems)


def _hashed(use: Services, reason: str) -> bytes:
    return audit.reason_hash(use.deployment.salt, reason)


def _act(use: Services, key: Caller, reason: str) -> Act:
    return Act(key.name, reason, use.deployment.generation, Guards.of(use.settings))


async def _customers(use: Services, customer_ids: list[UUID]) -> Response:
    async with reading(use.engine) as session:
        found = [await customers.by_identity(session, customer_id) for customer_id in customer_ids]
    items = [{"customer_id": str(each.customer_id), "identifiers": answers.identifiers(each)} for each in found]
    return answers.json_response({"customers": items})


def _plain(found: object, *names: str) -> dict[str, Any]:
    """These attributes, as they stand in an answer."""
    plain: dict[str, Any] = answers.figures({name: getattr(found, name) for name in names})
    return plain


def _identifier(found: Identifier) -> dict[str, Any]:
    plain = _plain(found, "identity_id", "kind", "value", "strong", "first_seen_at")
    return plain | {"changes": answers.figures(found.changes)}


def _link(found: Link) -> dict[str, Any]:
    return {
        "identities": [_plain(end, "identity_id", "kind", "value", "customer_id") for end in found.ends],
        **_plain(found, "state", "linked_at", "by", "interaction_id", "source"),
        "changes": answers.figures(found.changes),
    }


def _suspicion(found: Suspicion) -> dict[str, Any]:
    suspects = [_plain(each, "identity_id", "kind", "value", "strong", "customer_id") for each in found.suspects]
    return {
        **_plain(found, "suspicion_id", "why"),
        "identities": suspects,
        **_plain(found, "detail", "times", "first_at", "last_at", "interaction_id", "source"),
        **_plain(found, "decided_at", "decided_by", "decision", "reason"),
    }
