"""Whether two JSON values, or two documents of interactions, say the same."""

from typing import Any, Final

WORDINGS: Final = frozenset({"cloudevents"})
"""Members of `source_fields` that say how an interaction came, each named for a format, and nothing of what happened.

So the same interaction through two formats is one, and a repetition may have a new trace id.
"""


def same_interaction(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two documents say the same of what happened, however each came."""
    return same(_without_wording(one), _without_wording(other))


def _without_wording(document: dict[str, Any]) -> dict[str, Any]:
    fields = document.get("source_fields")
    if not fields or WORDINGS.isdisjoint(fields):
        return document
    others = {name: value for name, value in fields.items() if name not in WORDINGS}
    return document | {"source_fields": others or None}


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
