"""Whether two JSON values, or two documents of interactions, say the same."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

WORDINGS: Final = frozenset({"cloudevents"})
"""Members of `source_fields` that say how an interaction came, each named for a format, and nothing of what happened.

So the same interaction through two formats is one, and a repetition may have a new trace id.
"""
RESOURCE: Final = "tmf683"
"""The attribute that has the whole resource which a document was made of, where it came as one."""

_MOMENTS: Final = ("occurred_at", "ended_at")


def same_interaction(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two documents say the same of what happened, however each came, and however it writes a moment.

    Of two that came as resources, these count too; of one that did and one that did not, what both could say.
    """
    both = (RESOURCE in (one.get("attributes") or {})) is (RESOURCE in (other.get("attributes") or {}))
    return same(_said(one, whole=both), _said(other, whole=both))


def _said(document: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """A document without its wording, and with its moments as moments: each client has its own way to write these."""
    said = document | {name: _moment(document[name]) for name in _MOMENTS if document.get(name) is not None}
    said["source_fields"] = _without(document.get("source_fields"), WORDINGS)
    if not whole:
        said["attributes"] = _without(document.get("attributes"), {RESOURCE})
    return said


def _without(members: dict[str, Any] | None, names: Collection[str]) -> dict[str, Any] | None:
    """The other members, or None where there are none."""
    return {name: value for name, value in (members or {}).items() if name not in names} or None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.upper())


def same(one: Any, other: Any) -> bool:
    """As JSON values: 1 is 1.0, true is not 1, and a member that is null is the same as one that is absent."""
    if isinstance(one, dict):
        return isinstance(other, dict) and all(
            same(one.get(name), other.get(name)) for name in one.keys() | other.keys()
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
