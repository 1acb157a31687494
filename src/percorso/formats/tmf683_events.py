"""The events of TMF683's hub: which there are of a change, and what is posted of each."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

CREATED: Final = "PartyInteractionCreateEvent"
CHANGED: Final = "PartyInteractionAttributeValueChangeEvent"
STATUS: Final = "PartyInteractionStatusChangeEvent"
DELETED: Final = "PartyInteractionDeleteEvent"
EVENTS: Final = (CREATED, CHANGED, STATUS, DELETED)

_TITLES: Final[Mapping[str, str]] = {
    CREATED: "A party interaction was created",
    CHANGED: "A party interaction was changed",
    STATUS: "The status of a party interaction was changed",
    DELETED: "A party interaction was deleted",
}
_OF_STATUS: Final = frozenset({"status", "statusChangeDate"})


def of_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[str]:
    """The types of the events that tell of a resource's change."""
    differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    found = [CHANGED] if differing - _OF_STATUS else []
    return [*found, STATUS] if "status" in differing else found


def event(type_: str, *, event_id: str, at: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    """What is posted to a callback; of what was deleted the resource is its id and its href alone."""
    return {
        "eventId": event_id,
        "eventTime": at,
        "eventType": type_,
        "timeOcurred": at,
        "title": _TITLES[type_],
        "description": f"{_TITLES[type_]}.",
        "domain": "partyInteraction",
        "priority": "Normal",
        "correlationId": str(resource["id"]),
        "event": {"partyInteraction": resource},
    }
