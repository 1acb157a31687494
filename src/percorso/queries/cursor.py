"""Cursors: opaque to callers, a position in an order to us, so that pages stay right while data is being written."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from percorso.errors import InvalidRequest, Problem

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list, and where the next begin; None: these are the last."""

    items: Sequence[Item]
    next_cursor: str | None


def encode(position: bytes, *, list_: str) -> str:
    """A cursor after this position, good only for the list (and order) so named."""
    return base64.urlsafe_b64encode(bytes((len(position),)) + position + list_.encode()).decode().rstrip("=")


def decode(cursor: str, *, list_: str, size: int) -> bytes:
    """The position, of `size` bytes, of a cursor of this list; InvalidRequest where it is none."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    position = raw[1 : 1 + size]
    if raw != bytes((size,)) + position + list_.encode():
        raise unfit()
    return position


def encode_name(name: str, *, list_: str, size: int) -> str:
    """A cursor after this name, of at most `size` ASCII characters, in a list that is in order of names."""
    return encode(name.encode().ljust(size), list_=list_)


def decode_name(cursor: str, *, list_: str, size: int) -> str:
    """The name of such a cursor; InvalidRequest where it is none."""
    return decode(cursor, list_=list_, size=size).decode("ascii", "replace").replace("\0", "").rstrip()


def unfit(detail: str = "is not a cursor of this list in this order: take it from `next_cursor`.") -> InvalidRequest:
    """The error that says that a cursor cannot be used, and why."""
    return InvalidRequest(f"The cursor {detail}", problems=[Problem("/query/cursor", detail)])
