"""Whether two JSON values, or two documents of interactions, say the same."""

from typing import Any, Final

KEPT: Final = "tmf683"
"""The attribute that has the whole resource which a document was made of, where it came as one."""


def same_interaction(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two documents say the same of what happened.

    Of two that came as resources, these count too; of one that did and one that did not, what both could say.
    """
    if (KEPT in (one.get("attributes") or {})) is not (KEPT in (other.get("attributes") or {})):
        one, other = _without_kept(one), _without_kept(other)
    return same(one, other)


def _without_kept(document: dict[str, Any]) -> dict[str, Any]:
    attributes = {name: value for name, value in (document.get("attributes") or {}).items() if name != KEPT}
    return document | {"attributes": attributes or None}


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
