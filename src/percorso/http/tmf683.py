"""TMF683 Party Interaction, version 4: interactions as resources, stored, read, listed, changed and deleted."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from percorso.errors import (
    Conflict,
    Erased,
    Forbidden,
    InvalidRequest,
    MalformedBody,
    NotFound,
    Problem,
    RejectedInteraction,
    TooMuch,
    Unavailable,
    UnknownInteraction,
)
from percorso.formats import tmf683, tmf683_asked
from percorso.http import answers, bodies
from percorso.http.access import MayIngest, MayRead, MayWrite
from percorso.http.documents.tmf683 import PartyInteraction, PartyInteractions, body, documented
from percorso.http.parameters import takes_any
from percorso.http.services import Analysing, Reads, Services, Use
from percorso.ingest import enrich, foreign
from percorso.ingest.verdict import Verdict
from percorso.queries import interactions, party_interactions
from percorso.queries.interactions import Found
from percorso.storage.database import reading, writing

router = APIRouter(prefix=tmf683.ROOT, tags=["TMF683 Party Interaction"])

_FORMAT: Final = "tmf683"

Fields = Annotated[
    str | None, Query(max_length=2000, description="First-level members to give, divided by commas. Absent: all.")
]
ResourceId = Annotated[str, Path(max_length=256, description="The resource's id: percorso's own of the interaction.")]


@router.post(
    "/partyInteraction",
    summary="Store a party interaction",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=documented(PartyInteraction, 408, 409, 413, 415, status=201, says="Stored, and committed.")
    | {200: {"model": PartyInteraction, "description": "Stored before, under the same external identifier."}},
    openapi_extra=body(PartyInteraction),
)
async def create_party_interaction(request: Request, key: MayIngest, use: Use) -> Response:
    """Store a resource as an interaction; what was sent comes back as it was, with what the server adds.

    Its source is the name of the key. Its sender's id is the first `externalIdentifier`, or `id`: sent again under the
    same one it is a duplicate (200). Where it has neither, two equal ones are two resources.
    """
    raw = await bodies.read(request, cap=use.settings.max_batch_bytes)
    given, problems = foreign.resource(raw, use.settings.max_event_bytes)
    if not problems:
        try:
            mapped = tmf683.interaction(given, raw, source=key.name)
        except tmf683.CannotMap as error:
            problems = list(error.problems)
    if problems:
        [verdict] = await use.pipeline.refuse(
            [(raw, problems)],
            format=_FORMAT,
            senders=[tmf683.sender(given, source=key.name)],
            allowed=key.allowed,
        )
        _require_stored(verdict, problems)
    [verdict] = await use.pipeline.take([mapped], received=[raw], format=_FORMAT, allowed=key.allowed)
    interaction_id = _require_stored(verdict, tmf683.at_resource(verdict.problems))
    try:
        async with reading(use.engine) as session:
            resource = _resource(await interactions.by_id(session, interaction_id), use)
    except UnknownInteraction:
        raise Conflict("What this external identifier stands for was deleted; it does not come back.") from None
    if verdict.status == "duplicate":
        return answers.json_response(resource)
    return answers.json_response(resource, status=HTTPStatus.CREATED, headers={"Location": resource["href"]})


@router.get(
    "/partyInteraction/{party_interaction_id}",
    summary="One party interaction",
    response_class=Response,
    responses=documented(PartyInteraction, 404, says="The resource."),
)
async def read_party_interaction(
    request: Request,
    party_interaction_id: ResourceId,
    key: MayRead,
    use: Use,
    session: Reads,
    fields: Fields = None,
) -> Response:
    """Read an interaction as a resource, whatever format it came in."""
    found = await interactions.by_id(session, _id(party_interaction_id))
    use.recorder.read(request, key, found.identity_id)
    shown = tmf683_asked.selected(_resource(found, use), fields)
    return answers.tagged(request, answers.json_response(shown))


@router.get(
    "/partyInteraction",
    summary="Party interactions, newest first",
    response_class=Response,
    responses=documented(PartyInteractions, says="All that fit.")
    | {206: {"model": PartyInteractions, "description": "Some of those that fit: a page."}},
)
@takes_any
async def list_party_interactions(
    request: Request,
    _: MayRead,
    use: Use,
    analysing: Analysing,
    fields: Fields = None,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1, description="How many to pass over.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500, description="Most resources in a page.")] = 50,
) -> Response:
    """List interactions of all formats. Any other parameter is a filter: the member of this name must be equal.

    `relatedParty.role=customer` looks into members and through lists; all filters must fit. `id`, and `channel.id`,
    which is that of the first channel, are found by an index. Any other is compared with each interaction in turn, and
    given up, with 503, after `PERCORSO_ANALYTICS_TIMEOUT`.
    """
    filters = tmf683_asked.filters(request.query_params.multi_items())
    try:
        found, total = await _listed(analysing.session, use, filters, offset, limit)
    except TooMuch as error:
        raise TooMuch(
            f"No answer was found within {use.settings.analytics_timeout} s, or others were before it: narrow the list "
            "by `id` or `channel.id`, which are found by an index, or repeat this later.",
            retry_after=error.retry_after,
        ) from None
    shown = [tmf683_asked.selected(_resource(each, use), fields) for each in found]
    partial = len(shown) < total
    headers = {"X-Total-Count": str(total), "X-Result-Count": str(len(shown))}
    if partial and (links := _links(request, offset, limit, total)):
        headers["Link"] = links
    return answers.json_response(
        shown, status=HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK, headers=headers
    )


@router.patch(
    "/partyInteraction/{party_interaction_id}",
    summary="Change a party interaction",
    response_class=Response,
    responses=documented(PartyInteraction, 404, 408, 413, 415, says="The resource, changed."),
    openapi_extra=body(PartyInteraction, media_type="application/merge-patch+json"),
)
async def patch_party_interaction(
    request: Request, party_interaction_id: ResourceId, key: MayWrite, use: Use
) -> Response:
    """Change a resource by a JSON merge patch (RFC 7396); what it said before stays readable as a revision.

    `id`, `href` and `creationDate` stay, as do the mandatory members, the id of the first channel and the customer.
    """
    raw = await bodies.read(request, cap=use.settings.max_batch_bytes)
    this = _id(party_interaction_id)
    patch, problems = foreign.resource(raw, use.settings.max_event_bytes)
    if problems:
        refusal = InvalidRequest if len(raw) > use.settings.max_event_bytes else MalformedBody
        raise refusal("The body cannot be read:", problems=problems)
    now = answers.moment(datetime.now(UTC))
    async with reading(use.engine) as reader:
        received_at = (await interactions.by_id(reader, this)).received_at

    def made(document: dict[str, Any]) -> bytes:
        shown = _shown(document, this, received_at, use)
        return json.dumps(tmf683.enrichment(document, shown, patch, now=now), ensure_ascii=False).encode()

    try:
        async with writing(use.engine) as session:
            await enrich.enrich_as(
                session,
                this,
                made,
                by=key.name,
                generation=use.deployment.generation,
                max_bytes=use.settings.max_event_bytes,
            )
    except tmf683.CannotMap as error:
        raise InvalidRequest("It cannot be changed so:", problems=error.problems) from None
    except InvalidRequest as error:
        raise InvalidRequest("It cannot be changed so:", problems=tmf683.at_resource(error.problems)) from None
    async with reading(use.engine) as reader:
        return answers.json_response(_resource(await interactions.by_id(reader, this), use))


@router.delete(
    "/partyInteraction/{party_interaction_id}",
    summary="Delete a party interaction",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Deleted."),
)
async def delete_party_interaction(party_interaction_id: ResourceId, _: MayWrite, use: Use) -> Response:
    """Delete an interaction with its revisions. Sent again under its external identifier, it does not come back."""
    async with writing(use.engine) as session:
        await enrich.delete(session, _id(party_interaction_id), generation=use.deployment.generation)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _require_stored(verdict: Verdict, problems: Sequence[Problem]) -> UUID:
    """The interaction that is stored; raises what says why it is not."""
    if verdict.forbidden:
        raise Forbidden(
            "The key may not send this. Nothing of it is kept:", problems=tmf683.at_resource(verdict.problems)
        )
    if verdict.erased:
        raise Erased("It names someone who was erased; nothing of it is kept.", problems=problems)
    if verdict.status == "rejected":
        raise RejectedInteraction("It cannot be stored as it is. It is kept in quarantine:", problems=problems)
    if verdict.status == "retry" or verdict.interaction_id is None:
        raise Unavailable("It cannot be stored at this moment.", retry_after=1)
    if verdict.status == "conflict":
        raise Conflict(
            f"Another one with this external identifier is stored as {verdict.interaction_id}; PATCH that one."
        )
    return verdict.interaction_id


async def _listed(
    session: Any, use: Services, filters: list[tmf683_asked.Filter], offset: int, limit: int
) -> tuple[Any, int]:
    """The interactions at these places of the list of those that fit, and how many fit."""

    def fits(found: Found) -> bool:
        shown = _resource(found, use)
        return all(each.fits(shown) for each in filters)

    for each in filters:
        if each.path == ["id"]:
            try:
                found = await interactions.by_id(session, _id(each.value))
            except NotFound:
                return [], 0
            fitting = [found] if fits(found) else []
            return fitting[offset : offset + limit], len(fitting)
    channels = [each.value for each in filters if each.path == ["channel", "id"]]
    if len(set(channels)) > 1:
        return [], 0
    place = tmf683.touchpoint(channels[0]) if channels else None
    if len(channels) == len(filters):
        return await party_interactions.page(session, touchpoint=place, offset=offset, limit=limit)
    if offset + limit > party_interactions.MOST_SEARCHED:
        most = party_interactions.MOST_SEARCHED
        detail = f"may be at most {most} with `limit`, where others than id and channel.id filter"
        raise InvalidRequest("The page is too far into the list.", problems=[Problem("/query/offset", detail)])
    return await party_interactions.searched(session, fits, touchpoint=place, offset=offset, limit=limit)


def _links(request: Request, offset: int, limit: int, total: int) -> str:
    """The pages before and after this one, the first and the last."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name not in {"offset", "limit"}]
    last = (total - 1) // limit * limit if total else 0
    places = {"first": 0, "prev": max(offset - limit, 0), "next": offset + limit, "last": last}
    if offset == 0:
        del places["prev"]
    if offset + limit >= total:
        del places["next"]
    return ", ".join(
        f'<{request.url.path}?{urlencode([*query, ("offset", place), ("limit", limit)])}>; rel="{name}"'
        for name, place in places.items()
    )


def _id(given: str) -> UUID:
    """The interaction's id; NotFound where it can be none."""
    try:
        return UUID(uuid.UUID(given).bytes)
    except ValueError:
        raise NotFound("No party interaction has this id.") from None


def _resource(found: Found, use: Services) -> dict[str, Any]:
    return _shown(json.loads(found.document), found.interaction_id, found.received_at, use)


def _shown(document: dict[str, Any], interaction_id: UUID, received_at: datetime, use: Services) -> dict[str, Any]:
    return tmf683.resource(
        document,
        interaction_id=str(interaction_id),
        received_at=answers.moment(received_at),
        base=(use.settings.public_url or "").rstrip("/"),
    )
