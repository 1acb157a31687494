"""The bodies that Segment's and RudderStack's clients send, and the calls in them, each as it came."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Raw

from percorso.details import rfc3339
from percorso.errors import MalformedBody, Problem
from percorso.formats.segment_events import Object, Parts, object_of

CALLS: Final = {
    name: call
    for call in ("track", "identify", "page", "screen", "group", "alias")
    for name in (call, call[0])
}  # fmt: skip
"""The paths that take one call, and which."""
BATCHES: Final = ("batch", "import", "b")
"""The paths that take many."""

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What reading JSON raises."""


class _Body(msgspec.Struct, rename="camel"):
    """What is read of the body of a request; `batch` only where there may be one."""

    write_key: object = None
    sent_at: object = None
    context: object = None
    integrations: object = None


class _Batch(_Body, kw_only=True):
    batch: list[Raw]


@dataclass(frozen=True, slots=True)
class Sent:
    """The calls of one request, each as it came; `type` is theirs where the path says it.

    `sent_at` is when the sender says it sent them, `defaults` what each has that does not say otherwise.
    """

    calls: Sequence[bytes]
    type: str | None = None
    sent_at: datetime | None = None
    defaults: Object | None = None


_decode_body: Final = msgspec.json.Decoder(_Body).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_decode_any: Final = msgspec.json.Decoder().decode
decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode


def write_key_of(body: bytes) -> str | None:
    """The key that a body names; None where there is none to be read."""
    try:
        key = _decode_body(body).write_key
    except UNREADABLE:
        key = _loosely(body).get("writeKey")
    return key if isinstance(key, str) else None


def read(name: str, body: bytes, *, most: int) -> Sent:
    """The calls that the body of a request to this path brings; MalformedBody where it cannot be read as such."""
    try:
        if name in CALLS:
            decode_members(body)
            return Sent([body], CALLS[name])
        sent = _batch(body)
    except UNREADABLE as error:
        raise _malformed("", f"is not read as {'a call' if name in CALLS else 'a batch'}: {error}") from None
    if len(sent.batch) > most:
        raise _malformed("/batch", f"has {len(sent.batch)} calls; at most {most} are taken")
    defaults = {name: given for name in ("context", "integrations") if (given := object_of(getattr(sent, name)))}
    return Sent([bytes(call) for call in sent.batch], None, moment(sent.sent_at), defaults or None)


def _batch(body: bytes) -> _Batch:
    try:
        return _decode_batch(body)
    except UNREADABLE:
        found = _loosely(body)
        if not isinstance(calls := found.get("batch"), list):
            raise
        return _Batch(
            batch=[Raw(json.dumps(call).encode()) for call in calls],
            sent_at=found.get("sentAt"),
            context=found.get("context"),
            integrations=found.get("integrations"),
        )


def _loosely(body: bytes) -> Parts:
    """An object with numbers in it that JSON has not, as clients in Python send them: one call fails, not its batch."""
    try:
        return dict(object_of(json.loads(body))) if b"NaN" in body or b"Infinity" in body else {}
    except UNREADABLE:
        return {}


def read_loosely(call: bytes) -> Object:
    """A call as far as it can be read; an empty object where it cannot."""
    try:
        return object_of(_decode_any(call))
    except UNREADABLE:
        return _loosely(call)


def received(call: bytes, sent: Sent) -> bytes:
    """A call as it is kept where it is refused: without the key, which may stand in it.

    What its request says of it is put into it, so that it says the same by itself.
    """
    added = sent.type is not None or sent.sent_at is not None or sent.defaults is not None
    if b'"writeKey"' not in call and not added:
        return call
    try:
        members: Parts = dict(decode_members(call))
    except UNREADABLE:
        members = _loosely(call)
        members.pop("writeKey", None)
        # What is no object has no member that could be the key.
        return json.dumps(members).encode() if members else call
    members.pop("writeKey", None)
    if sent.type is not None:
        members["type"] = sent.type
    if sent.sent_at is not None:
        members["sentAt"] = rfc3339(sent.sent_at)
    for name, given in (sent.defaults or {}).items():
        own = read_loosely(call).get(name)
        if own is None or isinstance(own, dict):
            members[name] = {**given, **(own or {})}
    return msgspec.json.encode(members)


def moment(value: object) -> datetime | None:
    """A moment as clients write it, by UTC where it has no offset; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.upper())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _malformed(pointer: str, detail: str) -> MalformedBody:
    return MalformedBody(f"{pointer or 'The body'} {detail}.", problems=[Problem(pointer, detail)])
