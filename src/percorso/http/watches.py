"""Watches: rules over what one customer goes through, what they fired, and what they would have fired."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from asyncpg import Record
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from percorso.errors import NotFound
from percorso.http import answers
from percorso.http.access import MayRead, MayWrite
from percorso.http.documents.base import answers as documented
from percorso.http.documents.watches import RULE, OneWatch, Watches, WatchFirings, WatchTrial
from percorso.http.filtering import SEGMENT_PATTERN
from percorso.http.parameters import Cursor, Limit, QueryMoment, Ranged
from percorso.http.payloads import given, request_body
from percorso.http.recorder import entry
from percorso.http.services import Analysing, Reads, Use
from percorso.http.watch_rules import WatchRule
from percorso.queries import refreshing, watch_trials, watching
from percorso.queries.watching import Firing
from percorso.storage import audit, followers
from percorso.storage import watching as store
from percorso.storage.database import reading, writing

router = APIRouter(prefix="/v1/watches", tags=["Watches"])

_USUAL: Final = timedelta(days=30)
_LONGEST: Final = timedelta(days=3653)
_YEARS: Final = (1900, 2200)
_MOST_CUSTOMERS: Final = 1_000_000

Name = Annotated[
    str,
    Path(
        max_length=watching.LONGEST_NAME,
        pattern=SEGMENT_PATTERN,
        description="The watch's name.",
        examples=["complaint-unanswered"],
    ),
]


class WatchBody(BaseModel):
    """What a watch is."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"description": "Nobody answered a complaint for four hours", "rule": RULE}]},
    )

    description: str | None = Field(None, max_length=256, description="What it is for.")
    enabled: bool = Field(True, description="`false` pauses it: what occurs meanwhile does not fire.")
    rule: WatchRule = Field(description="What is watched for.")


class WatchTest(BaseModel):
    """A rule, and the history that it is tried on."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"rule": RULE, "from": "2026-10-21T00:00:00Z", "limit": 10_000}]},
    )

    rule: WatchRule = Field(description="What is looked for.")
    since: QueryMoment | None = Field(
        None,
        alias="from",
        description="The last interaction occurred at this moment or later. Without it: 30 days before `to`.",
    )
    to: QueryMoment | None = Field(
        None,
        validate_default=True,
        description="It occurred before this moment; at most 10 years after `from`. Without it: now.",
    )
    limit: int = Field(10_000, ge=1, le=_MOST_CUSTOMERS, description="Most customers that are looked through.")

    @field_validator("since", "to")
    @classmethod
    def _near(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and not _YEARS[0] <= moment.year < _YEARS[1]:
            raise PydanticCustomError(
                "range", "must be in the years {first} to {last}", {"first": _YEARS[0], "last": _YEARS[1] - 1}
            )
        return moment

    @field_validator("to")
    @classmethod
    def _later(cls, until: datetime | None, info: ValidationInfo) -> datetime | None:
        since = info.data.get("since")
        if since is not None and not timedelta() < (until or datetime.now(UTC)) - since <= _LONGEST:
            raise PydanticCustomError(
                "range", "must be later than `from` (now is, where it is not given), by at most 10 years"
            )
        return until


@router.get(
    "",
    summary="The watches",
    response_class=Response,
    responses=documented(Watches, says="A page of watches, by name."),
)
async def read_watches(
    request: Request, _: MayRead, session: Reads, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Read the watches there are, by name."""
    after = "" if cursor is None else watching.position(cursor)
    page = await watching.page(session, limit=limit, after=after)
    return answers.page_response(request, [_document(row) for row in page.items], page.next_cursor)


@router.get(
    "/{name}",
    summary="A watch",
    response_class=Response,
    responses=documented(OneWatch, 404, says="The watch, with the rules that it had."),
)
async def read_watch(request: Request, name: Name, _: MayRead, session: Reads) -> Response:
    """Read what a watch is, and every rule that it had."""
    row = await watching.by_name(session, name)
    return answers.tagged(request, answers.json_response(await _whole(session, row)))


@router.put(
    "/{name}",
    summary="Say what is watched for",
    response_class=Response,
    responses=documented(
        OneWatch, 404, 408, 413, 415, says="Said.", conflict=f"There are {store.MOST} watches, the most there may be."
    )
    | {201: {"model": OneWatch, "description": "Said, and new."}},
    openapi_extra=request_body(WatchBody),
)
async def put_watch(
    name: Name, key: MayWrite, said: Annotated[WatchBody, Depends(given(WatchBody))], use: Use
) -> Response:
    """Say what a watch is, in full; the same said again changes nothing.

    It fires once for each match of its rule whose last interaction occurs from now on; interactions before count
    towards one. What came true is told in the feed as `watch.fired`. What becomes untrue later, as when an answer is
    stored late, has fired all the same. A changed rule is a new version, which begins anew: what an earlier one waited
    for does not fire.
    """
    async with writing(use.engine) as session:
        # Whatever is committed from now on is looked at, be it before the worker first runs.
        await followers.start(session, watching.FOLLOWER, use.deployment.generation)
        put = await store.put(
            session,
            name,
            description=said.description,
            rule=said.rule.stored(),
            enabled=said.enabled,
            by=key.name,
        )
        if put.did != "unchanged":
            details = {"watch_id": str(put.watch_id), "version": put.version, "did": put.did}
            await audit.record(session, [entry("watch", key, None, details)])
    async with reading(use.engine) as reader:
        document = await _whole(reader, await watching.by_name(reader, name))
    return answers.json_response(document, status=HTTPStatus.CREATED if put.did == "made" else HTTPStatus.OK)


@router.delete(
    "/{name}",
    summary="Watch for something no more",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Forgotten."),
)
async def delete_watch(name: Name, key: MayWrite, use: Use) -> Response:
    """Forget a watch, with the rules that it had. One of the same name that is made later is another."""
    async with writing(use.engine) as session:
        watch_id = await store.delete(session, name)
        if watch_id is None:
            raise NotFound("No watch has this name.")
        await audit.record(session, [entry("watch", key, None, {"watch_id": str(watch_id), "did": "deleted"})])
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/{name}/firings",
    summary="What a watch fired, newest first",
    response_class=Response,
    responses=documented(WatchFirings, 404, says="A page of what it fired."),
)
async def read_firings(
    request: Request, name: Name, _: MayRead, session: Reads, range_: Ranged, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Read what a watch fired, by all versions of its rule; `from` and `to` are about when it came true (`at`)."""
    row = await watching.by_name(session, name)
    page = await watching.firings(
        session, row["watch_id"], since=range_.since, until=range_.until, limit=limit, after=cursor
    )
    return answers.page_response(request, map(firing, page.items), page.next_cursor)


@router.post(
    "/test",
    summary="What a rule would have fired",
    response_class=Response,
    responses=documented(WatchTrial, 408, 413, 415, says="What it would have fired."),
    openapi_extra=request_body(WatchTest),
)
async def try_watch(
    _: MayRead, asked: Annotated[WatchTest, Depends(given(WatchTest))], analysing: Analysing
) -> Response:
    """Try a rule on what is stored, without storing anything.

    Customers are looked through in the order of their ids, which are hashes, up to `limit` and for as long as an
    analytics call may take; so a part of them is a fair sample. Of a customer the latest 2,000 interactions count. A
    watch fires the same as time goes by, but for what is stored late, changed or deleted after it fired.
    """
    session = analysing.session
    now = await refreshing.clock(session)
    until = asked.to or now
    since = asked.since or until - _USUAL
    trial = await watch_trials.run(
        session,
        analysing.run,
        watch_trials.Asked(asked.rule.rule(), since, until, now),
        most=asked.limit,
        deadline=analysing.deadline,
    )
    return answers.json_response(answers.figures({"from": since, "to": until, "as_of": now}) | answers.figures(trial))


def firing(of: Firing) -> dict[str, Any]:
    """A firing, as it stands in answers and in the feed."""
    document: dict[str, Any] = answers.figures(
        {
            "firing_id": of.firing_id,
            "watch": of.name,
            "version": of.version,
            "customer_id": of.customer_id,
            "interactions": list(of.interaction_ids),
            "at": of.at,
            "fired_at": of.fired_at,
        }
    )
    return document


async def _whole(session: Reads, row: Record) -> dict[str, Any]:
    versions = [
        answers.figures({name: each[name] for name in ("version", "made_at", "made_by")})
        | {"rule": msgspec.Raw(each["rule"].encode())}
        for each in await watching.versions(session, row["watch_id"])
    ]
    return _document(row) | {"versions": versions}


def _document(row: Record) -> dict[str, Any]:
    names = ("name", "description", "enabled", "version", "since", "created_at", "updated_at", "updated_by")
    document: dict[str, Any] = answers.figures({name: row[name] for name in names})
    return document | {"rule": msgspec.Raw(row["rule"].encode())}
