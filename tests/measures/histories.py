"""Histories made by hand, for the measures."""

import json
from datetime import datetime
from itertools import count
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.interaction import DEFAULT_DIRECTION
from percorso.measures import Contact, read

_numbers = count(1)
NOBODY = UUID(bytes(16))
"""The identity that all of them are stored under."""


def written(at: str) -> str:
    """A moment in full: the year 2026, the beginning of the day and UTC where they are not said."""
    if at[2] == "-":
        at = f"2026-{at}"
    if "T" not in at:
        at += "T00:00"
    return f"{at}:00Z" if at.count(":") == 1 else at


def moment(at: str) -> datetime:
    """A moment, written as `03-01`, `03-01T10:00`, `2025-03-01` or in full."""
    return datetime.fromisoformat(written(at))


def contact(at: str, channel: str = "phone", **said: Any) -> Contact:
    """A contact at this moment, read from a document that says these members."""
    occurred = moment(at)
    key = next(_numbers).to_bytes(16, "little")
    made = UUID(ids.interaction_id(ids.unix_ms(occurred), bytes(16), key))
    direction = said.pop("direction", None) or DEFAULT_DIRECTION[channel]  # type: ignore[index]
    document = {"occurred_at": written(at), "channel": channel} | said
    return read(NOBODY, made, channel, said.get("kind"), said.get("function"), direction, json.dumps(document))


def inbound(at: str, channel: str = "email", **said: Any) -> Contact:
    """The customer writes or calls."""
    return contact(at, channel, direction="inbound", **said)


def outbound(at: str, channel: str = "email", **said: Any) -> Contact:
    """The organisation writes or calls."""
    return contact(at, channel, direction="outbound", **said)


def order(at: str, order_id: str, amount: float | None = None, **details: Any) -> Contact:
    """A purchase, in euro."""
    total = {} if amount is None else {"total": {"amount": amount, "currency": "EUR"}}
    return contact(at, "purchase", details={"order_id": order_id} | total | details)


def in_order(*contacts: Contact) -> list[Contact]:
    """These contacts in order of time."""
    return sorted(contacts, key=lambda contact: contact.id)
