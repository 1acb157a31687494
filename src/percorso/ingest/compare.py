"""Whether two JSON values, or two documents of interactions, say the same."""

from datetime import datetime
from typing import Any, Final

WORDINGS: Final = frozenset({"cloudevents"})
"""Members of `source_fields` that say how an interaction came, each named for a format, and nothing of what happened.

So the same interaction through two formats is one, and a repetition may have a new trace id.
"""

_MOMENTS: Final = ("occurred_at", "ended_at")


def same_interaction(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two documents say the same of what happened, however each came, and however it writes a moment."""
    return same(_said(one), _said(other))


def _said(document: dict[str, Any]) -> dict[str, Any]:
    """A document without its wording, and with its moments as moments: each client has its own way to write these."""
    said = document | {name: _moment(document[name]) for name in _MOMENTS if document.get(name) is not None}
    fields = document.get("source_fields")
    if fields and not WORDINGS.isdisjoint(fields):
        others = {name: value for name, value in fields.items() if name not in WORDINGS}
        said["source_fields"] = others or None
    return said


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
