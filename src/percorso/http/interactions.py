"""One interaction: in, and back by its id or its sender's."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from percorso import ids
from percorso.errors import Conflict, Erased, Forbidden, RejectedInteraction, Unavailable
from percorso.http import answers, bodies
from percorso.http.access import MayIngest, MayRead, MayWrite
from percorso.http.documents.base import answers as documented
from percorso.http.documents.interactions import Interactions, Receipt, Revisions, StoredInteraction
from percorso.http.parameters import InteractionId
from percorso.http.routing import DirectRoute
from percorso.http.services import Reads, Services, Use
from percorso.ingest import enrich
from percorso.ingest.verdict import Verdict
from percorso.queries import customers, interactions
from percorso.queries.interactions import Found
from percorso.storage.database import ReadSession, reading, writing

router = APIRouter(prefix="/v1/interactions", tags=["Interactions"])

_BODY = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Interaction"}}}}
_PATCH = {
    "required": True,
    "content": {"application/merge-patch+json": {"schema": {"$ref": "#/components/schemas/Enrichment"}}},
}


async def store_interaction(request: Request, key: MayIngest, use: Use) -> Response:
    """Store one interaction. It is answered after the commit; to send it again, with the same `id`, is safe."""
    body = await bodies.read(request, cap=use.settings.max_batch_bytes)
    [verdict] = await use.pipeline.take([body], allowed=key.allowed)
    return answered(verdict)


def answered(verdict: Verdict) -> Response:
    """The answer to one interaction: its receipt; or raises what says why it is not stored."""
    if verdict.erased:
        raise Erased(
            "The interaction names someone who was erased. Nothing of it is kept, and it need not be sent again.",
            problems=verdict.problems,
        )
    if verdict.forbidden:
        raise Forbidden("The key may not send this: see `errors`. Nothing of it is kept.", problems=verdict.problems)
    if verdict.status == "rejected":
        raise RejectedInteraction(
            "The interaction cannot be stored as it is: see `errors`. It is kept in quarantine.",
            problems=verdict.problems,
            rejection_id=str(verdict.rejection_id),
        )
    if verdict.status == "retry":
        raise Unavailable("It cannot be stored at this moment.", retry_after=1)
    if verdict.status == "conflict":
        raise Conflict(
            "Another interaction with this source and id is stored; PATCH that one to enrich it.",
            interaction_id=str(verdict.interaction_id),
        )
    return _receipt(verdict)


def add_storing(router: APIRouter) -> None:
    """Add the route that stores one interaction, the hottest of all, to the application's own router."""
    router.add_api_route(
        "/v1/interactions",
        store_interaction,
        methods=["POST"],
        route_class_override=DirectRoute,
        summary="Store an interaction",
        status_code=HTTPStatus.CREATED,
        response_class=Response,
        responses=documented(Receipt, 409, 408, 413, 415, status=201, says="Stored, and committed.")
        | {200: {"model": Receipt, "description": "Stored before, with the same content."}},
        openapi_extra={"requestBody": _BODY},
        tags=["Interactions"],
    )


def _receipt(verdict: Verdict) -> Response:
    content = {
        "status": verdict.status,
        "interaction_id": str(verdict.interaction_id),
        "customer_id": str(verdict.customer_id),
        "received_at": None if verdict.received_at is None else answers.moment(verdict.received_at),
    }
    if verdict.status == "duplicate":
        return answers.json_response(content)
    location = {"Location": f"/v1/interactions/{verdict.interaction_id}"}
    return answers.json_response(content, status=HTTPStatus.CREATED, headers=location)


@router.get(
    "",
    summary="Find an interaction by its sender's id",
    response_class=Response,
    responses=documented(Interactions, says="The interaction, or none."),
)
async def find_interaction(
    request: Request,
    key: MayRead,
    use: Use,
    session: Reads,
    source: Annotated[str, Query(max_length=128, description="The system that sent it.")],
    sender_id: Annotated[str, Query(alias="id", max_length=256, description="That system's id of it.")],
) -> Response:
    """Find what a source sent under an id of its own."""
    found = await interactions.by_key(session, UUID(ids.dedup_key(use.deployment.salt, source, sender_id)))
    if found is None:
        return answers.json_response({"items": [], "next_cursor": None})
    use.recorder.read(request, key, found.identity_id)
    return answers.json_response({"items": [await _document(session, found, use)], "next_cursor": None})


@router.get(
    "/{interaction_id}",
    summary="One interaction",
    response_class=Response,
    responses=documented(StoredInteraction, 404, says="The interaction."),
)
async def read_interaction(
    request: Request, interaction_id: InteractionId, key: MayRead, use: Use, session: Reads
) -> Response:
    """Read one interaction, as it was given and enriched since."""
    found = await interactions.by_id(session, UUID(interaction_id.bytes))
    use.recorder.read(request, key, found.identity_id)
    return answers.tagged(request, answers.json_response(await _document(session, found, use)))


@router.get(
    "/{interaction_id}/revisions",
    summary="What an interaction said before it was enriched",
    response_class=Response,
    responses=documented(Revisions, 404, says="Every revision, oldest first."),
)
async def read_interaction_revisions(
    request: Request, interaction_id: InteractionId, key: MayRead, use: Use, session: Reads
) -> Response:
    """Read all that an interaction said, oldest first; the last is what it says now."""
    now = await interactions.by_id(session, UUID(interaction_id.bytes))
    use.recorder.read(request, key, now.identity_id)
    items = [
        {
            "revision": revision.revision,
            "replaced_at": None if revision.replaced_at is None else answers.moment(revision.replaced_at),
            "replaced_by": revision.replaced_by,
            "interaction": answers.document(revision.document, use.identifiers),
        }
        for revision in await interactions.revisions(session, now)
    ]
    return answers.json_response({"items": items, "next_cursor": None})


@router.patch(
    "/{interaction_id}",
    summary="Enrich an interaction",
    response_class=Response,
    responses=documented(StoredInteraction, 404, 408, 413, 415, says="The interaction, enriched."),
    openapi_extra={"requestBody": _PATCH},
)
async def enrich_interaction(request: Request, interaction_id: InteractionId, key: MayWrite, use: Use) -> Response:
    """Add to an interaction what became known later, as a JSON merge patch (RFC 7396).

    Only status, outcome, resolution, sentiment, feedback, topics, text, attachments and attributes can be changed;
    `null` removes. What it said before stays readable under `/revisions`. An outcome that gives or takes away consent
    does so: taken away from now on, given from when the interaction occurred.
    """
    body = await bodies.read(request, cap=use.settings.max_batch_bytes)
    this = UUID(interaction_id.bytes)
    async with writing(use.engine) as session:
        await enrich.enrich(
            session,
            this,
            body,
            by=key.name,
            generation=use.deployment.generation,
            max_bytes=use.settings.max_event_bytes,
        )
    async with reading(use.engine) as reader:
        return answers.json_response(await _document(reader, await interactions.by_id(reader, this), use))


@router.delete(
    "/{interaction_id}",
    summary="Delete an interaction",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Deleted."),
)
async def delete_interaction(interaction_id: InteractionId, _: MayWrite, use: Use) -> Response:
    """Delete an interaction with its revisions. Sent again, it is a duplicate: it does not come back.

    A consent that it gave or took away stays: what the customer said was said.
    """
    async with writing(use.engine) as session:
        await enrich.delete(session, UUID(interaction_id.bytes), generation=use.deployment.generation)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _document(session: ReadSession, found: Found, use: Services) -> msgspec.Raw:
    customer = await customers.customer_ids(session, [found.identity_id])
    return answers.interaction(found, customer.get(found.identity_id), use.identifiers)
