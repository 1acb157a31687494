"""Whether two JSON values say the same."""

from typing import Any


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
