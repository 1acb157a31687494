"""The audit log: who read or did what to whom."""

import json
from typing import Annotated, Any, Final

from asyncpg import Record
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from percorso.http import answers
from percorso.http.access import MayPrivacy
from percorso.http.documents.base import answers as documented
from percorso.http.documents.privacy import AuditHead, AuditLog
from percorso.http.parameters import Cursor, Limit, QueryMoment, identity_named, time_range
from percorso.http.services import Reads, Use
from percorso.queries import audit

router = APIRouter(prefix="/v1/audit", tags=["Privacy"])

_PLAIN: Final = ("seq", "at", "act", "actor", "key_id", "subject")


@router.get(
    "",
    summary="Who read or did what to whom, newest first",
    response_class=Response,
    responses=documented(AuditLog, says="A page of the audit log."),
)
async def read_audit_log(
    request: Request,
    _: MayPrivacy,
    use: Use,
    session: Reads,
    subject: Annotated[
        str | None,
        Query(max_length=700, description="Only about this customer: an id, or an identifier as `kind:value`."),
    ] = None,
    act: Annotated[str | None, Query(max_length=64, description="Only this act, such as `read`.")] = None,
    actor: Annotated[str | None, Query(max_length=128, description="Only by keys of this name.")] = None,
    since: Annotated[QueryMoment | None, Query(alias="from", description="Only from this moment on.")] = None,
    until: Annotated[QueryMoment | None, Query(alias="to", description="Only before this moment.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read who read which customer, and every privacy act. A read of a customer stands here at most a second later.

    A customer that was erased is still found by an identifier: the log knows its salted hash alone.
    """
    await time_range(since, until)
    subjects = None
    if subject is not None:
        subjects = await audit.subjects(session, identity_named(subject, use, pointer="/query/subject"))
    filters = audit.Filters(subjects, act, actor, since, until)
    page = await audit.page(session, filters, limit=limit, after=cursor)
    return answers.page_response(request, map(document, page.items), page.next_cursor)


@router.get(
    "/head",
    summary="The last row of the audit log",
    response_class=Response,
    responses=documented(AuditHead, says="Its number and its hash."),
)
async def read_audit_head(_: MayPrivacy, session: Reads) -> Response:
    """Read the number and the hash of the last row.

    Kept where whoever can write to the database cannot, it shows later, given to `percorso audit verify --head`, that
    no row was cut off the end since and that the chain was not made anew.
    """
    head = await audit.head(session)
    return answers.json_response({"seq": head.seq, "hash": head.hash.hex()})


def document(row: Record) -> dict[str, Any]:
    """A row of the log, as it stands in answers."""
    plain: dict[str, Any] = answers.figures({name: row[name] for name in _PLAIN})
    hashes = {name: row[name].hex() for name in ("previous", "hash")}
    return plain | {"details": json.loads(row["details"])} | hashes
