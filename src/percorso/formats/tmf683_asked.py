"""What is asked of TMF683 resources: filters by equality, a selection of members, and the errors of its answers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from percorso.errors import InvalidRequest, Problem

_ALWAYS: Final = ("id", "href", "@type")
_OURS: Final = frozenset({"fields", "offset", "limit"})
_NOT_HERE: Final = frozenset({"sort", "filter"})
_OPERATORS: Final = frozenset({"gt", "gte", "lt", "lte", "regex", "eq", "ne"})


@dataclass(frozen=True, slots=True)
class Filter:
    """A member that must have a value: `path` are its names, from the resource inwards; lists are looked through."""

    path: Sequence[str]
    value: str

    def fits(self, resource: Mapping[str, Any]) -> bool:
        """Whether a resource has it."""
        return any(_says(each, self.value) for each in _found(resource, self.path))


def filters(given: Sequence[tuple[str, str]]) -> list[Filter]:
    """The filters among query parameters: `name=value` and `name.inner=value`, all of which must fit.

    InvalidRequest where one is asked for by what is not equality.
    """
    found = [Filter(name.split("."), value) for name, value in given if name not in _OURS]
    problems = [
        Problem(f"/query/{'.'.join(each.path)}", "is not known here: members are compared for equality alone")
        for each in found
        if each.path[0] in _NOT_HERE or each.path[-1] in _OPERATORS
    ]
    if problems:
        raise InvalidRequest("The list cannot be narrowed so.", problems=problems)
    return found


def of_query(text: str, *, events: Sequence[str]) -> tuple[Sequence[str], list[Filter]]:
    """The types of events, and the filters, that a subscription's query names; no type means each of `events`.

    InvalidRequest where it names another type.
    """
    given = [(name.strip(), value.strip()) for name, value in parse_qsl(text.lstrip("?"), keep_blank_values=True)]
    types = [each.strip() for name, value in given if name == "eventType" for each in value.split(",")]
    if unknown := [each for each in types if each not in events]:
        problem = Problem("/query", f"eventType {unknown[0][:64]} is none of {', '.join(events)}")
        raise InvalidRequest("The subscription cannot be taken as it is.", problems=[problem])
    inner = ("event.", "partyInteraction.")
    others = []
    for name, value in given:
        if name != "eventType":
            for prefix in inner:
                name = name.removeprefix(prefix)  # noqa: PLW2901 - both spellings name the resource's member
            others.append((name, value))
    return types or events, filters(others)


def selected(resource: Mapping[str, Any], fields: str | None) -> Mapping[str, Any]:
    """The first-level members that `fields` names, with what always is there; all of them where it names none."""
    if not fields:
        return resource
    wanted = {*_ALWAYS, *(each.strip().partition(".")[0] for each in fields.split(","))}
    return {name: value for name, value in resource.items() if name in wanted}


def error(
    *, code: str, status: int, title: str, detail: str, instance: str, problems: Sequence[Problem]
) -> dict[str, Any]:
    """An error as TMF630 has it: `code reason message status referenceError`, and where to mend what."""
    said = "; ".join(f"{each.pointer or 'the body'} {each.detail}" for each in problems[:5])
    return {
        "code": code,
        "reason": title,
        "message": f"{detail} {said}".rstrip() if said and said not in detail else detail,
        "status": str(status),
        "referenceError": instance,
        "errors": [each.as_json() for each in problems],
    }


def _found(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _found(each, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _found(value[path[0]], path[1:])


def _says(value: Any, wanted: str) -> bool:
    if isinstance(value, str):
        return value == wanted
    return not isinstance(value, Mapping) and json.dumps(value) == wanted
