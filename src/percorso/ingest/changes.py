"""What differs between two JSON documents, member by member."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from percorso.ingest.document import Path, problem_at

MOST: Final = 200
"""How many changes are told of at most."""

Change = dict[str, Any]
"""`pointer`, and what was there `before` and is `after`: neither where there was, or is, no such member."""

_ABSENT: Final = object()


def changes(before: Any, after: Any) -> list[Change]:
    """The changes that lead from one document to the other; a list counts as a whole."""
    return list(islice(_changes(before, after, ()), MOST))


def _changes(before: Any, after: Any, path: Path) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from _changes(before.get(name, _ABSENT), after.get(name, _ABSENT), (*path, name))
    elif not _same(before, after):
        said = {"before": before, "after": after}
        yield {"pointer": problem_at(path, "").pointer} | {
            name: _shown(value) for name, value in said.items() if value is not _ABSENT
        }


def _shown(value: Any) -> msgspec.Raw:
    """A value as JSON; one with a number in it that JSON has not as text, and of half a character a question mark."""
    try:
        said = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        said = json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False)
    return msgspec.Raw(said.encode(errors="replace"))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are written alike: 1 is not 1.0, nor true."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    return type(one) is type(other) and bool(one == other)
