"""Everything held about one customer, as one document."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from percorso.errors import Unavailable
from percorso.http import answers
from percorso.http import rejected as refused
from percorso.http.access import MayPrivacy
from percorso.http.documents import examples
from percorso.http.documents.base import answers as documented
from percorso.http.documents.privacy import CustomerExport
from percorso.http.parameters import TheCustomer, only_known
from percorso.http.recorder import entry
from percorso.http.routing import DirectRoute
from percorso.http.services import Services, Use
from percorso.ingest import traces
from percorso.queries import customers, export, holdings
from percorso.queries.customers import Customer
from percorso.queries.holdings import Held
from percorso.storage import audit
from percorso.storage.database import ReadSession, reading, writing
from percorso.storage.erasures import Erased
from percorso.storage.personal import PLACES

AT_ONCE: Final = 2
"""How many exports a process writes at once: each keeps a connection for as long as its caller takes."""
_LONGEST_SECONDS: Final = 600
_PIECE: Final = 64 * 1024
_NDJSON: Final = "application/x-ndjson"
_PLAIN: Final = ("received_at", "touchpoint", "channel", "kind", "function", "direction", "revision", "traceparent")

Parts = Mapping[str, AsyncIterator[Any]]

router = APIRouter(
    prefix="/v1/customers", tags=["Privacy"], route_class=DirectRoute, dependencies=[Depends(only_known)]
)


@router.get(
    "/{customer:name}/export",
    summary="Everything held about a customer",
    response_class=Response,
    responses=documented(CustomerExport, 404, says="All of it.", lines=examples.EXPORT_LINE),
)
async def export_customer(request: Request, key: MayPrivacy, customer: TheCustomer, use: Use) -> Response:
    """Read everything held about this customer, as one JSON document or, if NDJSON is accepted, a line for each item.

    It is written as it is read, out of one snapshot; what was cut off on the way lacks its end (`}`, or the part
    `end`). A process writes two at once, and each has ten minutes.
    """
    if use.exports.locked():
        raise Unavailable("Other exports are being written.", retry_after=10)
    async with reading(use.engine) as session:
        this = await customers.by_identity(session, customer)
    async with writing(use.engine) as session:
        counted = {"identities": len(this.identities)}
        await audit.record(session, [entry("exported", key, this.customer_id, counted)])
    by_line = _NDJSON in request.headers.get("accept", "")
    return _Streamed(_written(use, this, _lines if by_line else _document), _NDJSON if by_line else "application/json")


class _Streamed(Response):
    """An answer that is sent piece by piece; whatever happens, what makes the pieces is closed."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(status_code=HTTPStatus.OK, media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the interface
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._pieces):
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _written(
    use: Services, this: Customer, form: Callable[[Mapping[str, Any], Parts], AsyncIterator[bytes]]
) -> AsyncGenerator[bytes, None]:
    """The document in pieces of a sensible size."""
    head = {"customer_id": str(this.customer_id), "exported_at": answers.moment(datetime.now(UTC))}
    async with use.exports, export.snapshot(use.engine, seconds=_LONGEST_SECONDS) as session:
        waiting = bytearray()
        async for part in form(head, _parts(session, use, this)):
            waiting += part
            if len(waiting) >= _PIECE:
                yield bytes(waiting)
                waiting.clear()
        yield bytes(waiting)


def _parts(session: ReadSession, use: Services, this: Customer) -> Parts:
    """What the document is made of, in order: by name, the items of each part."""
    identity_ids = this.identity_ids
    search = traces.in_bytes([Erased(each.identity_id, each.kind, each.value) for each in this.identities])

    async def identities() -> AsyncIterator[Any]:
        for each in this.identities:
            yield answers.figures(each)

    async def interactions() -> AsyncIterator[Any]:
        async for held in holdings.interactions(session, identity_ids, use.deployment.salt):
            yield _interaction(held)

    async def rejected() -> AsyncIterator[Any]:
        async for row in holdings.refused(session, identity_ids, search):
            yield refused.document(row)

    parts: dict[str, AsyncIterator[Any]] = {
        "identities": identities(),
        "interactions": interactions(),
        "rejected_interactions": rejected(),
    }
    return parts | {place.table: holdings.rows(session, place, identity_ids) for place in PLACES}


def _interaction(held: Held) -> dict[str, Any]:
    row = held.row
    named = {"interaction_id": row["id"], "identity_id": row["identity_id"], "key": held.key}
    plain: dict[str, Any] = answers.figures(named | {name: row[name] for name in _PLAIN})
    return plain | {
        "document": msgspec.Raw(msgspec.json.format(row["document"].encode(), indent=-1)),
    }


async def _document(head: Mapping[str, Any], parts: Parts) -> AsyncIterator[bytes]:
    yield msgspec.json.encode(head)[:-1]
    for name, items in parts.items():
        yield b',"%b":[' % name.encode()
        between = b""
        async for item in items:
            yield between + msgspec.json.encode(item)
            between = b","
        yield b"]"
    yield b"}\n"


async def _lines(head: Mapping[str, Any], parts: Parts) -> AsyncIterator[bytes]:
    yield msgspec.json.encode({"part": "customer", "item": head}) + b"\n"
    written = 0
    for name, items in parts.items():
        async for item in items:
            written += 1
            yield msgspec.json.encode({"part": name, "item": item}) + b"\n"
    yield msgspec.json.encode({"part": "end", "item": {"items": written}}) + b"\n"
