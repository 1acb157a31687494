"""What is read of a TMF683 resource of version 4 or 5, and what is wrong with one that cannot be read."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from percorso.details import MOMENT_PATTERN
from percorso.errors import Problem
from percorso.formats.tmf683_words import word

Object = dict[str, Any]

MANDATORY: Final = ("channel", "direction", "reason")
MOST_ID: Final = 256
MOST_VALUE: Final = 512
_MOST_PROBLEMS: Final = 50
"""How many are told of at most: a list may have tens of thousands of channels."""
_LISTS: Final = ("attachment", "channel", "relatedParty", "interactionItem", "relatedChannel", "externalIdentifier")
_TEXTS: Final = ("direction", "reason", "description", "status")
_DATES: Final = ("startDateTime", "endDateTime")
_is_moment: Final = re.compile(MOMENT_PATTERN).match


def wrong(resource: Any, *, whole: bool = True) -> list[Problem]:
    """What a resource must mend before it can be mapped; of one that is not `whole` only what it has is looked at."""
    if not isinstance(resource, dict):
        return [Problem("", "must be an object")]
    return (
        [*(_lacking(resource) if whole else ())] or [*_untyped(resource)] or [*islice(_unfit(resource), _MOST_PROBLEMS)]
    )


def _lacking(resource: Object) -> Iterator[Problem]:
    for name in MANDATORY:
        if resource.get(name) is None and not (name == "channel" and resource.get("relatedChannel")):
            yield Problem(f"/{name}", "is required")


def _untyped(resource: Object) -> Iterator[Problem]:
    for name in _LISTS:
        given = resource.get(name)
        if given is not None and not (isinstance(given, list) and all(isinstance(each, dict) for each in given)):
            yield Problem(f"/{name}", "must be a list of objects")
    for name in _TEXTS:
        if (given := resource.get(name)) is not None and not isinstance(given, str):
            yield Problem(f"/{name}", "must be a string")
    if not isinstance(resource.get("interactionDate") or {}, dict):
        yield Problem("/interactionDate", "must be an object")


def _unfit(resource: Object) -> Iterator[Problem]:
    for name in ("direction", "reason"):
        if (given := resource.get(name)) is not None and not given.strip():
            yield Problem(f"/{name}", "must not be blank")
    found = channels(resource)
    if not found and (resource.get("channel") is not None or resource.get("relatedChannel") is not None):
        yield Problem("/channel", "must have at least one channel")
    for index, channel in enumerate(found):
        if not isinstance(channel.get("id"), str) or not channel["id"].strip() or len(channel["id"]) > MOST_ID:
            yield Problem(f"/channel/{index}/id", f"is required: a string of at most {MOST_ID} characters")
    for name in _DATES:
        given = (resource.get("interactionDate") or {}).get(name)
        if given is not None and moment_in(given) is None:
            must = "must be a date and time with an offset, such as 2026-11-20T09:00:00Z"
            yield Problem(f"/interactionDate/{name}", must)
    if len(sender_id_of(resource) or "") > MOST_ID:
        yield Problem("/externalIdentifier/0/id", f"must be at most {MOST_ID} characters long")


def sender_id_of(resource: Object) -> str | None:
    """The id that the sender gave it, if any."""
    for holder in (*(resource.get("externalIdentifier") or ()), resource):
        if isinstance(found := holder.get("id"), str) and found:
            return found
    return None


def channels(resource: Mapping[str, Any]) -> list[Object]:
    """The channels, as version 4 has them."""
    found = resource.get("channel")
    if isinstance(found, list):
        return [each for each in found if isinstance(each, dict)]
    related = resource.get("relatedChannel")
    related = related if isinstance(related, list) else []
    within = [each.get("channel") for each in related if isinstance(each, dict)]
    return [each if isinstance(each, dict) else {} for each in within]


def parties(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The role and the id of each party that has both."""
    found = resource.get("relatedParty")
    for party in found if isinstance(found, list) else ():
        inner = party.get("partyOrPartyRole") if isinstance(party.get("partyOrPartyRole"), dict) else party
        role, id_ = party.get("role") or inner.get("role"), inner.get("id")
        if isinstance(role, str) and isinstance(id_, str) and id_.strip() and len(id_) <= MOST_VALUE:
            yield word(role), id_


def moment_in(given: Any) -> str | None:
    """What was given, where it is a moment with an offset."""
    return given if isinstance(given, str) and _is_moment(given) else None
