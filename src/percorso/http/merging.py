"""Touchpoints that are one: merged by hand, and parted again."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.errors import InvalidRequest, Problem
from percorso.http import answers
from percorso.http.access import MayWrite
from percorso.http.callers import Caller
from percorso.http.documents.base import answers as documented
from percorso.http.documents.operations import OneTouchpoint
from percorso.http.parameters import Slug
from percorso.http.payloads import given, request_body
from percorso.http.recorder import entry
from percorso.http.services import Services, Use
from percorso.http.touchpoints import document_of
from percorso.storage import audit, merging
from percorso.storage.database import WriteSession, reading, writing
from percorso.storage.merging import Act, Changed

router = APIRouter(prefix="/v1/touchpoints", tags=["Touchpoints"])

_Reason = Annotated[str, Field(min_length=1, max_length=1000, description="Why; it is kept with the change.")]


class TouchpointMergeBody(BaseModel):
    """Which touchpoint it is, and why."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"into": "support-line", "reason": "One line under two names."}]},
    )

    into: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="The slug of the touchpoint that it counts as from now on."
    )
    reason: _Reason


class TouchpointUnmergeBody(BaseModel):
    """Why they are two after all."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "The hotline is for traders only."}]}
    )

    reason: _Reason


@router.post(
    "/{slug:name}/merge",
    summary="Merge a touchpoint into another",
    response_class=Response,
    responses=documented(
        OneTouchpoint,
        404,
        408,
        413,
        415,
        says="Merged, and committed: the touchpoint that it counts as.",
        conflict="It is merged into another already, or the other counts as it.",
    ),
    openapi_extra=request_body(TouchpointMergeBody),
)
async def merge_touchpoints(
    key: MayWrite, slug: Slug, said: Annotated[TouchpointMergeBody, Depends(given(TouchpointMergeBody))], use: Use
) -> Response:
    """Say that two slugs are one touchpoint: its history, and what happens there later, counts as the other's.

    What was merged into it counts as the other too. No interaction is changed: each keeps the slug that its sender
    gave, so that an unmerge undoes it exactly.
    """
    async with writing(use.engine) as session:
        try:
            changed = await merging.merge(session, slug, said.into, Act(key.name, said.reason))
        except ValueError as error:
            problems = [Problem("/into", str(error))]
            raise InvalidRequest("The touchpoint to merge into is not known.", problems=problems) from None
        if changed is not None:
            await _record(session, "touchpoint_merged", key, changed, said.reason, use)
    return await _now(use, slug)


@router.post(
    "/{slug:name}/unmerge",
    summary="Part a touchpoint from the one it was merged into",
    response_class=Response,
    responses=documented(
        OneTouchpoint,
        404,
        408,
        413,
        415,
        says="Parted, and committed: the touchpoint as it is now.",
        conflict="It was not merged into another.",
    ),
    openapi_extra=request_body(TouchpointUnmergeBody),
)
async def unmerge_touchpoint(
    key: MayWrite, slug: Slug, said: Annotated[TouchpointUnmergeBody, Depends(given(TouchpointUnmergeBody))], use: Use
) -> Response:
    """Undo a merge: a touchpoint counts as itself again, with all its history and with what was merged into it."""
    async with writing(use.engine) as session:
        changed = await merging.unmerge(session, slug, Act(key.name, said.reason))
        await _record(session, "touchpoint_unmerged", key, changed, said.reason, use)
    return await _now(use, slug)


async def _record(session: WriteSession, act: str, key: Caller, changed: Changed, reason: str, use: Services) -> None:
    ids = {"touchpoint": changed.touchpoint_id, "into": changed.into_id}
    hashed = audit.reason_hash(use.deployment.salt, reason)
    await audit.record(session, [entry(act, key, None, ids, reason=hashed)])


async def _now(use: Services, slug: str) -> Response:
    async with reading(use.engine) as session:
        return answers.json_response(await document_of(session, slug))
