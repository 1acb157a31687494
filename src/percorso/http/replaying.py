"""Quarantine dealt with: items are stored after all, as they were received or mended, or dismissed."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

import msgspec
from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from percorso.errors import InvalidRequest, Problem
from percorso.http import answers
from percorso.http.access import MayWrite
from percorso.http.documents.base import answers as documented
from percorso.http.documents.quarantine import DismissReceipt, ReplayReceipt
from percorso.http.parameters import QueryMoment
from percorso.http.payloads import given, request_body
from percorso.http.recorder import entry
from percorso.http.rejected import FORMAT_PATTERN, MOST_POINTER, MOST_REASON
from percorso.http.services import Services, Use
from percorso.ingest import replay
from percorso.ingest.reasons import general
from percorso.ingest.replay import By, Replayer, Result
from percorso.interaction import Channel
from percorso.queries import rejected
from percorso.queries.cursor import Page
from percorso.queries.rejected import Filters
from percorso.storage import audit
from percorso.storage import rejected as store
from percorso.storage.database import reading, writing

router = APIRouter(prefix="/v1/rejected", tags=["Quarantine"])

_CAP: Final = 256 * 1024
_MOST: Final = 1_000
_MOST_DRY: Final = replay.MOST
_STATUSES: Final = ("stored", "duplicate", "conflict", "rejected", "retry", "unknown")


class RejectedFilter(BaseModel):
    """What waits in quarantine, narrowed to what fits all of these; to none, all that waits."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Annotated[str, Field(max_length=256)] | None = Field(None, description="What this source sent.")
    id: Annotated[str, Field(max_length=256)] | None = Field(None, description="What has this id of its sender's.")
    format: Annotated[str, Field(pattern=FORMAT_PATTERN)] | None = Field(None, description="What came in this format.")
    channel: Channel | None = Field(None, description="What is of this channel, where it could be read.")
    reason: Annotated[str, Field(max_length=MOST_REASON)] | None = Field(
        None, description="What was refused for this reason, or with this code.", examples=["required:/customer"]
    )
    pointer: Annotated[str, Field(max_length=MOST_POINTER)] | None = Field(None, description="What is wrong here.")
    since: QueryMoment | None = Field(None, alias="from", description="What was received at this moment or later.")
    until: QueryMoment | None = Field(None, alias="to", description="What was received before this moment.")

    def found(self) -> Filters:
        """As it is looked for."""
        return Filters(
            sender_id=self.id,
            source=self.source,
            state="waiting",
            format=self.format,
            channel=self.channel,
            reason=self.reason,
            pointer=None if self.pointer is None else general(self.pointer),
            since=self.since,
            until=self.until,
        )


class ChoiceBody(BaseModel):
    """Which items: those with these ids, or those that wait and fit a filter, newest first, so many at a time."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"filter": {"reason": "unknown:/legacy"}}]}
    )

    ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=_MOST)] | None = Field(
        None, description="The `rejection_id`s."
    )
    filter: RejectedFilter | None = Field(None, description="What they must be like.")
    limit: Annotated[int, Field(ge=1, le=_MOST)] = Field(100, description="How many of those that fit the filter.")
    cursor: Annotated[str, Field(max_length=512)] | None = Field(
        None, description="`next_cursor` of the answer before: those after it."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.ids is None) is (self.filter is None):
            raise PydanticCustomError("choice", "must have either `ids` or `filter`")
        if self.filter is None and (self.cursor is not None or "limit" in self.model_fields_set):
            raise PydanticCustomError("choice", "must have a `filter` where it has a `limit` or a `cursor`")
        return self


class ReplayBody(ChoiceBody):
    """Which items, how they are mended, and whether this is only to see what would come of it."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "filter": {"source": "crm", "reason": "unknown:/legacy"},
                    "patch": {"legacy": None},
                    "dry_run": True,
                }
            ]
        },
    )

    patch: dict[str, Any] | None = Field(
        None, description="A JSON merge patch (RFC 7396) of what was received, in the format it came in."
    )
    dry_run: bool = Field(False, description=f"Store nothing, and show what would be: {_MOST_DRY} items at most.")

    @model_validator(mode="after")
    def _few(self) -> Self:
        if self.dry_run and max(len(self.ids or ()), self.limit) > _MOST_DRY:
            raise PydanticCustomError("choice", f"must be of at most {_MOST_DRY} items, if it is a dry run")
        return self


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The items, and what more there is to choose from."""

    ids: Sequence[UUID]
    next_cursor: str | None
    remaining: int | None


@router.post(
    "/replay",
    summary="Store what was refused after all",
    response_class=Response,
    responses=documented(ReplayReceipt, 408, 413, 415, says="What came of each; what is stored is committed."),
    openapi_extra=request_body(ReplayBody),
)
async def replay_rejected(
    key: MayWrite, said: Annotated[ReplayBody, Depends(given(ReplayBody, cap=_CAP))], use: Use
) -> Response:
    """Replay items of quarantine, as they were received or with a patch, whatever format they came in.

    An item keeps its source and id, so that it is never stored twice: one that was stored meanwhile is a `duplicate`.
    One without an id gets one made of its `rejection_id`, and one without a time that of its receipt. A patch may give
    another source or id; what was once begun to be stored under one keeps it.

    By `ids`, dismissed ones too. By `filter`, those that wait; what is rejected again goes on waiting, with what is
    wrong now as `replay_errors`, and `next_cursor` leads past it. `dry_run` stores nothing and shows of each what would
    be stored, what the patch changes, and what is still wrong. Of what was too large not all was kept: it cannot be
    replayed. Each item is put down in the audit log.
    """
    chosen = await _chosen(said, use)
    most = use.settings.max_event_bytes
    replayer = Replayer(use.engine, use.pipeline, use.identifiers, use.deployment, most)
    counts = dict.fromkeys(_STATUSES, 0)
    results: list[dict[str, Any]] = []
    for begin in range(0, len(chosen.ids), replay.MOST):
        ids = chosen.ids[begin : begin + replay.MOST]
        async with reading(use.engine) as session:
            found = await rejected.to_replay(session, ids)
        items = [found[each] for each in ids if each in found]
        if said.dry_run:
            came = await replay.rehearse(replayer, items, said.patch)
        else:
            came = await replay.replay(replayer, items, said.patch, By(key.name, key.key_id))
        results += [_result(each, dry_run=said.dry_run) for each in came]
        results += [{"rejection_id": str(each), "status": "unknown"} for each in ids if each not in found]
    for result in results:
        counts[result["status"]] += 1
    return answers.json_response({"dry_run": said.dry_run, **counts, **_more(chosen), "results": results})


@router.post(
    "/dismiss",
    summary="Say that nothing is to be done about what was refused",
    response_class=Response,
    responses=documented(DismissReceipt, 408, 413, 415, says="Dismissed."),
    openapi_extra=request_body(ChoiceBody),
)
async def dismiss_rejected(
    key: MayWrite, said: Annotated[ChoiceBody, Depends(given(ChoiceBody, cap=_CAP))], use: Use
) -> Response:
    """Dismiss items that wait: no replay by a filter finds them any more, and `state=waiting` neither.

    They are kept as long as all others, and can still be replayed by their ids. Each is put down in the audit log.
    """
    chosen = await _chosen(said, use)
    now = datetime.now(UTC)
    async with writing(use.engine) as session:
        done = await store.dismiss(session, chosen.ids, at=now, by=key.name)
        if done:
            await audit.record(session, [entry("dismissed", key, None, {"rejection_id": str(each)}) for each in done])
    return answers.json_response({"dismissed": len(done), **_more(chosen)})


async def _chosen(said: ChoiceBody, use: Services) -> _Chosen:
    """The items that a body chooses, each once."""
    if said.filter is None:
        return _Chosen([UUID(each.bytes) for each in dict.fromkeys(said.ids or ())], None, 0)
    filters = said.filter.found()
    if filters.since and filters.until and filters.since >= filters.until:
        problems = [Problem("/filter/to", "must be later than `from`")]
        raise InvalidRequest("The range is empty.", problems=problems)
    async with reading(use.engine) as session:
        try:
            page: Page[UUID] = await rejected.find(session, filters, limit=said.limit, after=said.cursor)
        except InvalidRequest as error:
            problems = [Problem("/cursor", each.detail) for each in error.problems]
            raise InvalidRequest(error.detail, problems=problems) from None
        remaining = 0 if page.next_cursor is None else await rejected.remaining(session, filters, page.next_cursor)
    return _Chosen(page.items, page.next_cursor, remaining)


def _more(chosen: _Chosen) -> dict[str, Any]:
    return {"remaining": chosen.remaining, "next_cursor": chosen.next_cursor}


def _result(found: Result, *, dry_run: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"rejection_id": str(found.rejection_id), "status": found.status}
    if found.interaction_id is not None:
        result["interaction_id"] = str(found.interaction_id)
    if found.problems:
        result["errors"] = [problem.as_json() for problem in found.problems]
    if dry_run:
        result["changes"] = found.changes
        if found.document is not None:
            result["interaction"] = msgspec.Raw(found.document.strip())
    return result
