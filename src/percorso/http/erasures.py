"""Erasing customers, and the certificates of it."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.http import answers
from percorso.http.access import MayPrivacy
from percorso.http.documents.base import answers as documented
from percorso.http.documents.privacy import Certificate, Certificates
from percorso.http.parameters import Cursor, ErasureId, Limit, TheCustomer, position
from percorso.http.payloads import given_if_any, request_body
from percorso.http.services import Reads, Use
from percorso.queries import erasures
from percorso.storage.audit import reason_hash
from percorso.storage.database import reading
from percorso.storage.erasures import Asked

router = APIRouter(prefix="/v1", tags=["Privacy"])


class ErasureBody(BaseModel):
    """Why a customer is erased."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "request 2026-117"}]})

    reason: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Its keyed hash is kept, never its words: they may be personal.",
    )


@router.delete(
    "/customers/{customer:name}",
    summary="Erase a customer",
    response_class=Response,
    responses=documented(Certificate, 404, 408, 409, 413, 415, says="All is erased: the certificate."),
    openapi_extra=request_body(ErasureBody, required=False),
)
async def erase_customer(
    key: MayPrivacy,
    customer: TheCustomer,
    use: Use,
    body: Annotated[ErasureBody, Depends(given_if_any(ErasureBody))],
) -> Response:
    """Erase everything held about this customer; it is answered when all is done, with what was found where.

    From its first moment on, whatever arrives of this person, late or once more, is refused as `erased`: of each
    identifier the salted hash stays. `PERCORSO_ERASURE=anonymise` leaves the interactions as counts of nobody's. An
    erasure that was cut off goes on by itself, or when it is asked for again.
    """
    reason = None if body.reason is None else reason_hash(use.deployment.salt, body.reason)
    asked = Asked(datetime.now(UTC), key.name, key.key_id, reason, use.settings.erasure)
    erasure_id = await use.eraser.erase(customer, asked)
    async with reading(use.engine) as session:
        return answers.json_response(_document(await erasures.by_id(session, erasure_id)))


@router.get(
    "/erasures",
    summary="Every erasure, newest first",
    response_class=Response,
    responses=documented(Certificates, says="A page of certificates."),
)
async def read_erasures(
    request: Request, _: MayPrivacy, session: Reads, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Read the certificate of every erasure, of those in progress too."""
    page = await erasures.page(session, limit=limit, after=position(cursor, list_="erasures"))
    return answers.page_response(request, map(_document, page.items), page.next_cursor)


@router.get(
    "/erasures/{erasure_id}",
    summary="The certificate of an erasure",
    response_class=Response,
    responses=documented(Certificate, 404, says="The certificate."),
)
async def read_erasure(request: Request, erasure_id: ErasureId, _: MayPrivacy, session: Reads) -> Response:
    """Read what was found where when a customer was erased, and the row of the audit log that seals it."""
    row = await erasures.by_id(session, UUID(erasure_id.bytes))
    return answers.tagged(request, answers.json_response(_document(row)))


def _document(row: Record) -> dict[str, Any]:
    sealed = None if row["audit_seq"] is None else {"seq": row["audit_seq"], "hash": row["audit_hash"].hex()}
    document: dict[str, Any] = answers.figures(
        {
            "erasure_id": row["erasure_id"],
            "customer_id": row["customer_id"],
            "state": "erasing" if row["finished_at"] is None else "erased",
            "mode": row["mode"],
            "requested_at": row["requested_at"],
            "requested_by": row["requested_by"],
            "key_id": row["key_id"],
            "reason_hash": None if row["reason_hash"] is None else row["reason_hash"].hex(),
            "finished_at": row["finished_at"],
            "identifiers": json.loads(row["identifiers"]),
            "found": json.loads(row["found"]),
            "kept": json.loads(row["kept"]),
            "audit": sealed,
        }
    )
    return document
