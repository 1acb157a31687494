"""Complaints: which are open, and how the others were closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from percorso import ids
from percorso.measures.contacts import Contact
from percorso.measures.evidence import NAMED, Id
from percorso.measures.roles import complains, settles


@dataclass(frozen=True, slots=True)
class Complaint:
    """A complaint: one contact, or several in the same case or conversation before it was closed."""

    interaction_ids: Annotated[list[Id], Field(description="The contacts that complain, oldest first; at most 100.")]
    channel: Annotated[str, Field(description="The channel of the first.")]
    at: Annotated[datetime, Field(description="When the first was.")]
    closed_at: Annotated[datetime | None, Field(description="When it was closed. Null: it is open.")]
    closed_by: Annotated[Id | None, Field(description="The interaction that closed it. Null: it is open.")]


@dataclass(frozen=True, slots=True)
class Complaints:
    """The customer's complaints."""

    open: Annotated[int, Field(description="How many are open.")]
    closed: Annotated[int, Field(description="How many are closed.")]
    latest_open: Annotated[list[Complaint], Field(description="The open ones, the latest first; at most 100.")]
    latest_closed: Annotated[list[Complaint], Field(description="The closed ones, the latest first; at most 100.")]


class _Complaint:
    """A complaint as it is found: the contacts that complain, and what closed it."""

    __slots__ = ("closed_by", "contacts")

    def __init__(self) -> None:
        self.contacts: list[Contact] = []
        self.closed_by: Contact | None = None


def complaints(contacts: Sequence[Contact]) -> Complaints:
    """Follow each complaint (`roles.complains`) through its case and conversation, in order of time.

    It is closed by a later contact of the same case or conversation that settles the matter (`roles.settles`), or
    where it says itself that it is resolved. One without case and conversation can only be closed by the latter, once
    its interaction is enriched so.
    """
    found: list[_Complaint] = []
    open_: dict[str, _Complaint] = {}
    for contact in contacts:
        within = contact.threads
        if complains(contact):
            complaint = next((open_[thread] for thread in within if thread in open_), None)
            if complaint is None:
                found.append(complaint := _Complaint())
            complaint.contacts.append(contact)
            open_ |= dict.fromkeys(within, complaint)
            if contact.resolution == "resolved":
                _close(complaint, contact, open_)
        elif open_ and within and settles(contact):
            for complaint in [open_[thread] for thread in within if thread in open_]:
                _close(complaint, contact, open_)
    waiting = [complaint for complaint in found if complaint.closed_by is None]
    closed = [complaint for complaint in found if complaint.closed_by is not None]
    return Complaints(
        len(waiting),
        len(closed),
        [_described(complaint) for complaint in waiting[: -NAMED - 1 : -1]],
        [_described(complaint) for complaint in closed[: -NAMED - 1 : -1]],
    )


def _close(complaint: _Complaint, by: Contact, open_: dict[str, _Complaint]) -> None:
    complaint.closed_by = by
    for contact in complaint.contacts:
        for thread in contact.threads:
            if open_.get(thread) is complaint:
                del open_[thread]


def _described(complaint: _Complaint) -> Complaint:
    first, by = complaint.contacts[0], complaint.closed_by
    return Complaint(
        [contact.id for contact in complaint.contacts[:NAMED]],
        first.channel,
        ids.from_unix_ms(first.at),
        None if by is None else ids.from_unix_ms(by.at),
        None if by is None else by.id,
    )
