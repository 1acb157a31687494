"""Schemas: what interactions of a channel and kind must look like, beyond what all must."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from asyncpg import Record
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.errors import InvalidRequest, NotFound, Problem
from percorso.http import answers
from percorso.http.access import MayAdminister, MayRead
from percorso.http.callers import Caller
from percorso.http.documents.base import answers as documented
from percorso.http.documents.event_schemas import (
    SCHEMA,
    Mode,
    SchemaCheck,
    SchemaDocument,
    SchemaList,
    SchemaPut,
    SchemaReport,
    SchemaVersionDocument,
    SchemaVersions,
)
from percorso.http.parameters import Cursor, Limit
from percorso.http.payloads import given, request_body
from percorso.http.recorder import entry
from percorso.http.services import Analysing, Reads, Services, Use
from percorso.ingest.json_schema import JsonSchema, compiled
from percorso.ingest.schema_check import Check
from percorso.interaction import Channel
from percorso.queries import event_schemas, latest
from percorso.queries.latest import Wanted
from percorso.storage import audit
from percorso.storage import event_schemas as store
from percorso.storage.database import WriteSession, reading, writing

router = APIRouter(prefix="/v1/schemas", tags=["Schemas"])

_CAP: Final = 256 * 1024
"""Bytes of a body: a schema of the largest size may be written with a lot of white space."""
_NUMBER: Final = 2**31 - 1

TheChannel = Annotated[Channel, Path(description="The channel.", examples=["phone"])]
TheKind = Annotated[
    str,
    Path(
        max_length=64,
        pattern=r"^(\*|[a-z0-9][a-z0-9_.-]*)$",
        description="The kind; `*` is every kind of the channel that has no schema of its own, and none.",
        examples=["support_call"],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match", max_length=64, description="The ETag that was read: 412 where the schema was changed since."
    ),
]


class SchemaBody(BaseModel):
    """What interactions of a channel and kind must look like."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"mode": "report", "schema": SCHEMA}]}
    )

    schema_: dict[str, Any] = Field(
        alias="schema",
        description="JSON Schema 2020-12, of at most 64 KiB. It refers to nothing outside of itself and does not "
        "contain itself; patterns have no look-around and no back-references; `format` is asserted.",
    )
    mode: Mode = Field("report", description="`enforce` refuses what does not fit; `report` stores and counts it.")


class CheckBody(BaseModel):
    """A schema to try on what is stored."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"schema": SCHEMA, "last": 1000}]}
    )

    schema_: dict[str, Any] | None = Field(None, alias="schema", description="Left out: the schema in force.")
    last: int = Field(1000, ge=1, le=10_000, description="How many of the latest interactions to check.")


class ActivateBody(BaseModel):
    """A version to put in force again."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"version": 1, "mode": "report"}]}
    )

    version: int = Field(ge=1, le=_NUMBER, description="One of its versions.")
    mode: Mode = Field("report", description="`enforce` refuses what does not fit; `report` stores and counts it.")


@router.get(
    "",
    summary="The schemas in force",
    response_class=Response,
    responses=documented(SchemaList, says="A page of schemas, by channel and kind."),
)
async def read_schemas(
    request: Request, _: MayRead, session: Reads, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Read which schemas are in force."""
    page = await event_schemas.page(session, limit=limit, after=cursor)
    return answers.page_response(request, [_listed(row) for row in page.items], page.next_cursor)


@router.get(
    "/{channel}/{kind}",
    summary="The schema of a channel and kind",
    response_class=Response,
    responses=documented(SchemaDocument, 404, says="The schema in force."),
)
async def read_schema(request: Request, channel: TheChannel, kind: TheKind, _: MayRead, session: Reads) -> Response:
    """Read the schema that is in force. Its ETag names its version and mode, and may be sent as `If-Match`."""
    row = await event_schemas.in_force(session, channel, kind)
    return answers.tagged(request, answers.json_response(_with_text(row)), tag=store.tag(row["version"], row["mode"]))


@router.put(
    "/{channel}/{kind}",
    summary="Say what interactions of a channel and kind must look like",
    response_class=Response,
    responses=documented(SchemaPut, 404, 408, 412, 413, 415, says="In force.")
    | {201: {"model": SchemaPut, "description": "In force, where there was none."}},
    openapi_extra=request_body(SchemaBody),
)
async def put_schema(
    channel: TheChannel,
    kind: TheKind,
    key: MayAdminister,
    said: Annotated[SchemaBody, Depends(given(SchemaBody, cap=_CAP))],
    use: Use,
    if_match: IfMatch = None,
) -> Response:
    """Put a schema in force: what is sent from then on is checked by it, whatever the format it comes in.

    One that says something else than the one in force is a new version; else nothing changes but the mode. Try it on
    what is stored first (`…/check`), and report before you enforce. An interaction that was stored before and is sent
    again is checked as any other. What is refused stands in quarantine, and names the version.
    """
    _compiled(said.schema_)
    expected = _tag(if_match)
    async with writing(use.engine) as session:
        put = await store.put(session, channel, kind, said.schema_, mode=said.mode, by=key.name, expected=expected)
        if put.changed:
            await _record(session, "schema_put", key, channel, kind, put.version, mode=said.mode)
    return await _changed(use, channel, kind, status=HTTPStatus.CREATED if put.new else HTTPStatus.OK)


@router.delete(
    "/{channel}/{kind}",
    summary="Check by no schema",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, 412, status=204, says="Nothing is checked any more."),
)
async def delete_schema(
    channel: TheChannel, kind: TheKind, key: MayAdminister, use: Use, if_match: IfMatch = None
) -> Response:
    """Take a schema out of force. Its versions stay: rejections name them, and each can be put in force again.

    Other processes may check by it for `PERCORSO_SCHEMA_CACHE_SECONDS` more.
    """
    async with writing(use.engine) as session:
        version = await store.delete(session, channel, kind, expected=_tag(if_match))
        if version is None:
            raise NotFound("No schema is in force for this channel and kind.")
        await _record(session, "schema_deleted", key, channel, kind, version)
    await use.schemas.forget()
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/{channel}/{kind}/versions",
    summary="Every version of a schema, newest first",
    response_class=Response,
    responses=documented(SchemaVersions, 404, says="A page of versions."),
)
async def read_schema_versions(
    request: Request,
    channel: TheChannel,
    kind: TheKind,
    _: MayRead,
    session: Reads,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read which versions there ever were, in force or not, without their text."""
    before = None if cursor is None else event_schemas.version_before(cursor)
    page = await event_schemas.versions(session, channel, kind, limit=limit, before=before)
    items = [answers.figures(dict(row)) for row in page.items]
    return answers.page_response(request, items, page.next_cursor)


@router.get(
    "/{channel}/{kind}/versions/{version}",
    summary="One version of a schema",
    response_class=Response,
    responses=documented(SchemaVersionDocument, 404, says="The version."),
)
async def read_schema_version(
    request: Request,
    channel: TheChannel,
    kind: TheKind,
    version: Annotated[int, Path(ge=1, le=_NUMBER, description="The number of the version.")],
    _: MayRead,
    session: Reads,
) -> Response:
    """Read one version, such as the one that a rejection names. It never changes."""
    row = await event_schemas.version(session, channel, kind, version)
    return answers.tagged(request, answers.json_response(_with_text(row)))


@router.post(
    "/{channel}/{kind}/activate",
    summary="Put a version in force again",
    response_class=Response,
    responses=documented(SchemaPut, 404, 408, 412, 413, 415, says="In force."),
    openapi_extra=request_body(ActivateBody),
)
async def activate_schema(
    channel: TheChannel,
    kind: TheKind,
    key: MayAdminister,
    said: Annotated[ActivateBody, Depends(given(ActivateBody))],
    use: Use,
    if_match: IfMatch = None,
) -> Response:
    """Put an earlier version in force, such as to take back a change."""
    expected = _tag(if_match)
    async with writing(use.engine) as session:
        if not await store.activate(
            session, channel, kind, said.version, mode=said.mode, by=key.name, expected=expected
        ):
            raise NotFound("The schema of this channel and kind has no such version.")
        await _record(session, "schema_put", key, channel, kind, said.version, mode=said.mode)
    return await _changed(use, channel, kind)


@router.get(
    "/{channel}/{kind}/report",
    summary="What came of checking by a schema",
    response_class=Response,
    responses=documented(SchemaReport, 404, says="What was counted."),
)
async def read_schema_report(
    request: Request,
    channel: TheChannel,
    kind: TheKind,
    _: MayRead,
    session: Reads,
    version: Annotated[int | None, Query(ge=1, le=_NUMBER, description="Left out: the version in force.")] = None,
) -> Response:
    """Read how many interactions fitted a version as they came in, and where in the schema the others failed.

    Counts are written every few seconds, and hold nothing of what was sent.
    """
    if version is None:
        version = (await event_schemas.in_force(session, channel, kind))["version"]
    else:
        await event_schemas.version(session, channel, kind, version)
    tally = await event_schemas.tally(session, channel, kind, version)
    counts: dict[str, Any] = (
        {"checked": 0, "reported": 0, "refused": 0, "since": None, "last_at": None} if tally is None else dict(tally)
    )
    faults = [dict(row) for row in await event_schemas.faults(session, channel, kind, version)]
    content = {
        "channel": channel,
        "kind": kind,
        "version": version,
        "passed": counts["checked"] - counts["reported"] - counts["refused"],
        **counts,
        "faults": faults,
    }
    return answers.tagged(request, answers.json_response(answers.figures(content)))


@router.post(
    "/{channel}/{kind}/check",
    summary="Try a schema on what is stored",
    response_class=Response,
    responses=documented(SchemaCheck, 404, 408, 413, 415, says="What it makes of them."),
    openapi_extra=request_body(CheckBody),
)
async def check_schema(
    channel: TheChannel,
    kind: TheKind,
    _: MayRead,
    said: Annotated[CheckBody, Depends(given(CheckBody, cap=_CAP))],
    analysing: Analysing,
) -> Response:
    """Check the latest interactions of a channel and kind by a schema, without putting it in force.

    They are looked for from the newest back in time, as far as the time of an analytics call allows. What percorso
    added where the sender gave none (`id`, `occurred_at`) and what was enriched since is in them as if it was sent.
    """
    schema, version = await _to_check(analysing.session, channel, kind, said)
    own_kinds = await event_schemas.kinds(analysing.session, channel) if kind == store.ANY_KIND else ()
    wanted = Wanted(channel, None if kind == store.ANY_KIND else kind, own_kinds)
    check, since = Check(), datetime.now(UTC)
    oldest = await latest.oldest_month(analysing.session)
    async for chunk in latest.interactions(analysing.session, wanted, count=said.last, deadline=analysing.deadline):
        since = chunk.since
        await analysing.run(
            check.look, schema, [(row["id"], row["document"]) for row in chunk.items], analysing.deadline
        )
    content = {
        "channel": channel,
        "kind": kind,
        "version": version,
        "asked": said.last,
        "checked": check.checked,
        "passed": check.checked - check.failed,
        "failed": check.failed,
        "since": since,
        "complete": check.seen == said.last or since <= oldest,
        "faults": [
            {
                "place": place,
                "detail": found.detail,
                "interactions": found.interactions,
                "examples": list(found.examples),
            }
            for place, found in check.worst()
        ],
    }
    return answers.json_response(answers.figures(content))


async def _to_check(session: Reads, channel: str, kind: str, said: CheckBody) -> tuple[JsonSchema, int | None]:
    """The schema to check by, and its version where it is the one in force."""
    if said.schema_ is not None:
        return _compiled(said.schema_), None
    row = await event_schemas.in_force(session, channel, kind)
    return compiled(msgspec.json.decode(row["schema"])), row["version"]


def _compiled(document: dict[str, Any]) -> JsonSchema:
    """The schema in a body; what is to be mended is pointed at in the body."""
    try:
        return compiled(document)
    except InvalidRequest as error:
        problems = [Problem(f"/schema{problem.pointer}", problem.detail) for problem in error.problems]
        raise InvalidRequest(error.detail, problems=problems) from None


async def _record(
    session: WriteSession, act: str, key: Caller, channel: str, kind: str, version: int, *, mode: str | None = None
) -> None:
    details = {"channel": channel, "kind": kind, "version": version}
    await audit.record(session, [entry(act, key, None, details if mode is None else {**details, "mode": mode})])


async def _changed(use: Services, channel: str, kind: str, *, status: int = HTTPStatus.OK) -> Response:
    """The schema now in force, which holds in this process already."""
    holds = datetime.now(UTC) + timedelta(seconds=use.settings.schema_cache_seconds)
    await use.schemas.forget()
    async with reading(use.engine) as session:
        row = await event_schemas.in_force(session, channel, kind)
    document = _with_text(row) | {"holds_everywhere_at": answers.moment(holds)}
    tag = store.tag(row["version"], row["mode"])
    return answers.json_response(document, status=status, headers={"ETag": f'"{tag}"'})


def _tag(if_match: str | None) -> str | None:
    return None if if_match is None else if_match.strip().removeprefix("W/").strip('"')


def _listed(row: Record) -> dict[str, Any]:
    document: dict[str, Any] = answers.figures({name: row[name] for name, _ in row.items() if name != "schema"})
    return document


def _with_text(row: Record) -> dict[str, Any]:
    return _listed(row) | {"schema": msgspec.Raw(row["schema"].encode())}
