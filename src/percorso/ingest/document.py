"""A JSON document exactly as it was sent: what none may hold, and pointers into it.

JSON readers disagree on repeated names, NaN, numbers too large for a double, NUL, half surrogate pairs and depth. What
one takes and another drops must not be stored, so all of it is refused here.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any, Final

import jiter

from percorso.errors import Problem

MAX_DEPTH: Final = 100
"""How many objects and lists may stand one within another."""
MAX_PROBLEMS: Final = 50
"""How many problems are told of at most."""
MAX_POINTER: Final = 1024
"""Where a pointer would have more characters, it ends at the last member that fits."""

Path = tuple[str | int, ...]
"""The names and indexes that lead to a value."""

_LARGEST: Final = 1.7976931348623157e308
_LONG_NUMBER: Final = 300
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MARKS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},:]')
_TOO_DEEP: Final = f"is nested deeper than {MAX_DEPTH} levels"


def read(raw: bytes) -> tuple[Any, list[Problem]]:
    """The document, and what is wrong with it as JSON. Slow, exact, and it never fails.

    A document that cannot be read at all is None, with one problem.
    """
    if raw.startswith(_BYTE_ORDER_MARK):
        return None, [Problem("", "must not begin with a byte order mark")]
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return None, [Problem("", f"is not valid UTF-8 at byte {error.start + 1}")]
    try:
        document = _decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        return None, [Problem("", f"is not valid JSON at {where}: {error.msg.removesuffix(' at').lower()}")]
    except RecursionError:
        return None, [problem_at(_first_too_deep(text), _TOO_DEEP)]
    return document, distinct(_unsound(document, ()))


def count_keys(containers: list[Any]) -> int | None:
    """How many members the objects have that begin in these members of a document; None if it is unsound.

    That is where a number is not finite or where nesting is too deep.
    """
    keys = 0
    for _ in range(MAX_DEPTH - 1):
        within = []
        for container in containers:
            if type(container) is dict:
                keys += len(container)
                members: Iterable[Any] = container.values()
            else:
                members = container
            for member in members:
                kind = type(member)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    within.append(member)
                elif (kind is float or kind is int) and not -_LARGEST <= member <= _LARGEST:
                    return None
        if not within:
            return keys
        containers = within
    return None


def repeats_a_key(raw: bytes) -> bool:
    """Whether an object of this valid document has two members of the same name."""
    try:
        jiter.from_json(raw, catch_duplicate_keys=True)
    except ValueError:
        return True
    return False


def problem_at(path: Path, detail: str) -> Problem:
    """The problem at this path, or at the last member of it whose pointer can be written down."""
    pointer = ""
    for step in path:
        if isinstance(step, str) and (unfit := _unfit(step)):
            return Problem(pointer, f"must not have a member whose name contains {unfit}")
        longer = f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"
        if len(longer) > MAX_POINTER:
            return Problem(pointer, f"has a member with a very long name that {detail}")
        pointer = longer
    return Problem(pointer, detail)


def distinct(found: Iterable[tuple[Path, str]]) -> list[Problem]:
    """The first problem of each pointer: what else is wrong with the same value rarely helps."""
    problems: dict[str, Problem] = {}
    for path, detail in found:
        problem = problem_at(path, detail)
        problems.setdefault(problem.pointer, problem)
        if len(problems) == MAX_PROBLEMS:
            break
    return list(problems.values())


class _Object(dict[str, Any]):
    """An object of the document, with the names it has more than once."""

    __slots__ = ("repeated",)

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        self.repeated: list[str] = []
        if len(self) < len(members):
            times = Counter(name for name, _ in members)
            self.repeated = [name for name in times if times[name] > 1]


def _integer(digits: str) -> int | float:
    """Python refuses to read integers of thousands of digits; a double has long become infinite by then."""
    return int(digits) if len(digits) < _LONG_NUMBER else float(digits)


_decode = json.JSONDecoder(object_pairs_hook=_Object, parse_int=_integer).decode


def _unsound(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if unfit := _unfit(value):
            yield path, f"must not contain {unfit}"
    elif isinstance(value, float):
        if not isfinite(value):
            yield path, "must be a finite number, no larger than a double can hold"
    elif isinstance(value, _Object | list):
        if len(path) >= MAX_DEPTH:
            yield path, _TOO_DEEP
        elif isinstance(value, list):
            for index, member in enumerate(value):
                yield from _unsound(member, (*path, index))
        else:
            yield from _unsound_members(value, path)


def _unsound_members(value: _Object, path: Path) -> Iterator[tuple[Path, str]]:
    for name in value.repeated:
        yield (*path, name), "must not be given more than once"
    for name, member in value.items():
        if _unfit(name):
            yield (*path, name), "has an unfit name"
        else:
            yield from _unsound(member, (*path, name))


def _unfit(text: str) -> str | None:
    if "\0" in text:
        return "NUL characters"
    return "half of a surrogate pair, which is no character" if _SURROGATE.search(text) else None


def _first_too_deep(text: str) -> Path:
    """The path of the first value that is nested too deep, in a text too deep to be decoded."""
    path: list[str | int] = []
    name = '""'
    for match in _MARKS.finditer(text):
        mark = match[0]
        if mark in "[{":
            if len(path) >= MAX_DEPTH:
                break
            path.append(0 if mark == "[" else "")
        elif mark in "]}":
            path.pop()
        elif mark == ":":
            path[-1] = json.loads(name)
        elif mark != ",":
            name = mark
        elif isinstance(path[-1], int):
            path[-1] += 1
    return tuple(path)
