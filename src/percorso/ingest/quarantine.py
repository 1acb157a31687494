"""What becomes of an item that is refused: a rejection that keeps it as received, as far as it can be read."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso.errors import Problem
from percorso.ingest.identity import Identifiers
from percorso.ingest.reasons import reasons
from percorso.interaction import CHANNELS
from percorso.storage.rejected import Rejection, new_id

_MOST_CHARACTERS = 256
_MOST_IDENTIFIERS = 100
"""What is read of a refused item, at most."""


class _Sender(msgspec.Struct):
    """Who sent it and whom it names, where that much can be read of an item that is otherwise invalid."""

    source: object = None
    id: object = None
    channel: object = None
    customer: object = None


def rejection(
    payload: bytes,
    problems: Sequence[Problem],
    *,
    received_at: datetime,
    keep: int,
    size: int | None = None,
    format: str = "native",  # noqa: A002 - the column's name
    seed: bytes | None = None,
    identifiers: Identifiers | None = None,
    mapped: bytes | None = None,
) -> Rejection:
    """The rejection of this payload, of which the first `keep` bytes are kept; `size` where more was received.

    With a `seed`, of 10 bytes, it has the same id whenever it is made. With `identifiers` it says whom it names. Who
    sent it and whom it names is read of what it was `mapped` to, where that is something else.
    """
    try:
        sender = msgspec.json.decode(payload if mapped is None else mapped, type=_Sender)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        sender = _Sender()
    return Rejection(
        id=new_id(received_at, seed),
        received_at=received_at,
        source=_readable(sender.source),
        sender_id=_readable(sender.id),
        problems=problems,
        payload=payload[:keep],
        size=len(payload) if size is None else size,
        format=format,
        channel=sender.channel if isinstance(sender.channel, str) and sender.channel in CHANNELS else None,
        reasons=reasons(problems),
        identity_ids=() if identifiers is None else _identity_ids(sender.customer, identifiers),
    )


def bare(rejection: Rejection) -> Rejection:
    """A rejection without anything read from its payload: that can always be stored."""
    unsaid = (Problem("", "The reasons cannot be stored."),)
    return replace(rejection, source=None, sender_id=None, problems=unsaid, reasons=reasons(unsaid))


def _identity_ids(customer: object, identifiers: Identifiers) -> list[UUID]:
    """The identities that can be read of what is said of a customer, each once."""
    found: dict[UUID, None] = {}
    given = customer.items() if isinstance(customer, dict) else ()
    values = ((kind, each) for kind, value in given for each in (value if isinstance(value, list) else [value]))
    for kind, value in islice(values, _MOST_IDENTIFIERS):
        if isinstance(value, str) and len(value) <= _MOST_CHARACTERS:
            with suppress(ValueError):
                found[identifiers.one(kind, value).id] = None
    return list(found)


def _readable(value: object) -> str | None:
    """A text that Postgres can hold, cut to a sensible length; None for anything else."""
    return value[:_MOST_CHARACTERS].replace("\0", "�") if isinstance(value, str) else None
