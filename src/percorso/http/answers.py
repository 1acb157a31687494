"""What answers look like: interactions as they were given and what percorso adds, pages, ETags."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from asyncpg.pgproto.pgproto import UUID
from fastapi import Request
from fastapi.responses import Response

from percorso.ingest.identity import Identifiers
from percorso.queries.customers import Customer
from percorso.queries.interactions import Found

_IN_PATHS = "/%:@!$&'()*+,;=~"
BULKY = ("details", "text", "attachments", "attributes", "source_fields")
"""What of an interaction a page without details leaves out."""
_REMEMBERED = 4096
"""Customers, as they stand in documents, whose normal form is remembered."""


def moment(value: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    seconds, _, fraction = msgspec.json.encode(value.astimezone(UTC)).decode().strip('"Z').partition(".")
    return f"{seconds}.{fraction[:3] or '000'}Z"


def figures(value: Any) -> Any:
    """Dataclasses, and what is in them, as JSON has it: moments as everywhere in answers, ids as text."""
    if is_dataclass(value):
        return {field.name: figures(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: figures(member) for name, member in value.items()}
    if isinstance(value, list):
        return [figures(member) for member in value]
    if isinstance(value, datetime):
        return moment(value)
    return str(value) if isinstance(value, uuid.UUID) else value


class _Document(msgspec.Struct):
    """Of a stored document, whom it was with."""

    customer: msgspec.Raw


_document = msgspec.json.Decoder(_Document).decode


@lru_cache(_REMEMBERED)
def _renamed(identifiers: Identifiers, customer: bytes) -> dict[str, str | list[str]] | None:
    """The customer of a document in normal form; None where it is in that form already."""
    given: dict[str, str | list[str]] = msgspec.json.decode(customer)
    normal = identifiers.normalised(given)
    return None if normal == given else normal


def document(
    text: str, identifiers: Identifiers, added: Mapping[str, str | None] | None = None, *, details: bool = True
) -> msgspec.Raw:
    """What a sender gave, with its identifiers in normal form, and what is added to it; as JSON.

    A document that is in normal form is passed on as text: it costs a tenth of reading and writing it. Most of a page
    name their customer in the same words, which are put into normal form once.
    """
    whole = text.rstrip().encode()
    customer = _renamed(identifiers, bytes(_document(whole).customer))
    if details and customer is None:
        return msgspec.Raw(b"%b,%b" % (whole[:-1], msgspec.json.encode(added)[1:]) if added else whole)
    given: dict[str, Any] = json.loads(text)
    if customer is not None:
        given["customer"] = customer
    if not details:
        for name in BULKY:
            given.pop(name, None)
    return msgspec.Raw(json.dumps(given | dict(added or {}), ensure_ascii=False).encode())


def interaction(
    found: Found, customer_id: UUID | None, identifiers: Identifiers, *, details: bool = True
) -> msgspec.Raw:
    """An interaction as it stands in every answer."""
    added = {
        "interaction_id": str(found.interaction_id),
        "customer_id": None if customer_id is None else str(customer_id),
        "received_at": moment(found.received_at),
    }
    if found.traceparent is not None:
        added["traceparent"] = found.traceparent
    return document(found.document, identifiers, added, details=details)


def identifiers(customer: Customer) -> list[dict[str, Any]]:
    """The identifiers of a customer, as they stand in every answer."""
    return [
        {
            "kind": identity.kind,
            "value": identity.value,
            "strong": identity.strong,
            "first_seen_at": moment(identity.first_seen_at),
        }
        for identity in customer.identities
    ]


def json_response(content: Any, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """JSON without a detour over models; it ends its line, for those who read it in a terminal."""
    return Response(msgspec.json.encode(content) + b"\n", status, headers, "application/json")


def page_response(request: Request, items: Iterable[Any], next_cursor: str | None, **members: Any) -> Response:
    """A page of a list, with the next one in a Link header, and an ETag; 304 where the caller has it already."""
    answer = json_response(members | {"items": list(items), "next_cursor": next_cursor})
    return tagged(request, linked(request, answer, next_cursor))


def linked(request: Request, answer: Response, next_cursor: str | None, *, by: str = "cursor") -> Response:
    """The answer with a Link header to the next page, where there is one; `by` is the parameter that leads there."""
    if next_cursor is not None:
        answer.headers["Link"] = f'<{_following(request, next_cursor, by)}>; rel="next"'
    return answer


def _following(request: Request, next_cursor: str, by: str) -> str:
    """Where the next page is: the path as it was sent, encoded slashes and all, and the query but for the cursor."""
    path = quote(request.scope.get("raw_path") or request.scope["path"], safe=_IN_PATHS)
    query = [(name, value) for name, value in request.query_params.multi_items() if name != by]
    return f"{path}?{urlencode([*query, (by, next_cursor)])}"


def tagged(request: Request, answer: Response, *, tag: str | None = None) -> Response:
    """The answer with an ETag, which is one over its body unless given, or 304 where that is what the caller has."""
    tag = f'"{tag or blake2b(answer.body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if "link" in answer.headers:
        headers["Link"] = answer.headers["link"]
    if _has(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    answer.headers.update(headers)
    return answer


def _has(given: Sequence[str], tag: str) -> bool:
    """Whether an If-None-Match names this tag, by the weak comparison of RFC 9110, section 13.1.2."""
    tags = [each.strip().removeprefix("W/") for header in given for each in header.split(",")]
    return tag in tags or "*" in tags
