"""Schemas for the events of a bench: one for each kind, such as a careful team writes, which all of them fit."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.request import Request, urlopen

from percorso.bench.place import Place
from percorso.bench.processes import Server

_SECONDS: Final = 30


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


_WORD: Final = {"type": "string", "minLength": 1, "maxLength": 64}
_SECONDS_SPENT: Final = {"type": "integer", "minimum": 0, "maximum": 86_400}
_COMMON: Final = {
    "id": {"type": "string", "pattern": "^[0-9]{12}$"},
    "touchpoint": {"type": "string", "pattern": "^[a-z-]+/[0-9]{3}$"},
    "conversation": {"type": "string", "pattern": "^conv-[0-9]+$"},
    "language": {"enum": ["it", "en", "de", "fr"]},
    "topics": {"type": "array", "minItems": 1, "maxItems": 10, "items": _WORD},
}
_DETAILS: Final[Mapping[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "phone/support_call": (
        _object(
            "queue duration_seconds",
            queue={"enum": ["support", "sales", "billing"]},
            duration_seconds=_SECONDS_SPENT,
            wait_seconds=_SECONDS_SPENT,
            ivr_path={"type": "array", "items": {"type": "string", "pattern": "^[0-9*#]$"}},
        ),
        _object("team", team={"enum": ["north", "south"]}, recorded={"type": "boolean"}),
    ),
    "chat/support_chat": (
        _object("message_count bot", message_count={"type": "integer", "minimum": 0}, bot={"type": "boolean"}),
        _object("widget", widget=_WORD, experiment={"enum": ["a", "b"]}, visits={"type": "integer"}),
    ),
    "web/page_viewed": (
        _object("url path", url={"type": "string", "maxLength": 2048}, path={"type": "string", "pattern": "^/"}),
        _object("cart_items", cart_items={"type": "integer"}, viewport={"pattern": "^[0-9]+x[0-9]+$"}),
    ),
    "email/newsletter_opened": (
        _object("list_id message_id", list_id={"enum": ["weekly", "monthly"]}, message_id={"type": "string"}),
        _object("template", template=_WORD, send_hour={"type": "integer", "maximum": 23}),
    ),
    "store_visit/store_purchase": (
        _object("location_id basket", basket=_object("amount currency", currency={"enum": ["EUR", "CHF"]})),
        _object("floor", floor={"type": "integer"}, queue_ticket={"pattern": "^[A-Z]-[0-9]+$"}),
    ),
}
SCHEMAS: Final = {
    name: _object("id occurred_at touchpoint details attributes", **_COMMON, details=details, attributes=attributes)
    for name, (details, attributes) in _DETAILS.items()
}
"""By channel and kind."""


def enforce(place: Place, server: Server) -> None:
    """Enforce them; a server checks by what it put in force itself at once."""
    for name, schema in SCHEMAS.items():
        _send(place, server, "PUT", name, json.dumps({"mode": "enforce", "schema": schema}).encode())


def forget(place: Place, server: Server) -> None:
    """Check by none of them."""
    for name in SCHEMAS:
        _send(place, server, "DELETE", name)


def _send(place: Place, server: Server, method: str, name: str, body: bytes | None = None) -> None:
    headers = {"Authorization": f"Bearer {place.key}", "Content-Type": "application/json"}
    request = Request(f"http://127.0.0.1:{server.port}/v1/schemas/{name}", body, headers, method=method)
    with urlopen(request, timeout=_SECONDS):  # noqa: S310 - our own server
        pass
