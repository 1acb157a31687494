"""What does not fit a schema, told as what is to be mended: where in the document, and where in the schema.

The library's own words hold what was sent, so they are not used: each sentence is made of what the schema says. Only
what has failed is explained, and only as far as that is quick: to explain takes much longer than to check.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import jsonschema_rs

from percorso.errors import Problem
from percorso.ingest.document import MAX_PROBLEMS, Path, problem_at
from percorso.ingest.json_schema import JsonSchema

_MOST_BYTES: Final = 10_000_000
"""What is explained at most: bytes of a document, times the schemas of which each may repeat it. Measured: 0.1 s."""
_MOST_VALUES: Final = 100_000
"""The same of its values, of which each may be wrong by every schema. Measured: 0.2 s."""
_TOO_MUCH: Final = "does not fit the schema, and is too large for it to be said where"

_LONGEST: Final = 200
_NAMES: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}
_SENTENCES: Final[Mapping[str, str]] = {
    "const": "must be {said}",
    "contains": "must have as many members of a certain form as the schema says",
    "enum": "must be one of {said}",
    "exclusiveMaximum": "must be less than {said}",
    "exclusiveMinimum": "must be more than {said}",
    "format": "must be of the format {said}",
    "maxItems": "must have at most {said} members",
    "maxLength": "must be at most {said} characters long",
    "maxProperties": "must have at most {said} members",
    "maximum": "must be at most {said}",
    "minItems": "must have at least {said} members",
    "minLength": "must be at least {said} characters long",
    "minProperties": "must have at least {said} members",
    "minimum": "must be at least {said}",
    "multipleOf": "must be a multiple of {said}",
    "not": "is of a form that the schema excludes",
    "oneOf": "is of several forms of which it must be one only",
    "pattern": "must match {said}",
    "type": "must be {said}",
    "uniqueItems": "must not have a member twice",
}
_ELSEWISE: Final = "does not fit the schema"
_UNEVALUATED: Final = "Unevaluated "
_FALSE: Final = "False schema "
"""How errors begin that cannot be told from others by the keyword."""
_CHOICES: Final = frozenset({"anyOf", "oneOf"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not fit: `place` is a pointer into the schema, `path` leads to the value in the document.

    `detail` follows the name of the value, and says nothing of what was sent.
    """

    place: str
    path: Path
    detail: str

    @property
    def problem(self) -> Problem:
        """As it is told to whoever sent the document."""
        return problem_at(self.path, self.detail)


def find(schema: JsonSchema, document: Any, size: int) -> list[Fault]:
    """What does not fit in a document of so many bytes that does not fit: from one to `MAX_PROBLEMS` things."""
    if size * schema.work > _MOST_BYTES or _values(document, _MOST_VALUES // schema.work) is None:
        return [Fault("", (), _TOO_MUCH)]
    found: dict[tuple[str, Path], Fault] = {}
    errors = schema.validator.evaluate(document).errors()
    for error in errors:
        for fault in _told(schema.document, document, error):
            found.setdefault((fault.place, fault.path), fault)
        if len(found) >= MAX_PROBLEMS:
            break
    return list(found.values())[:MAX_PROBLEMS] or [Fault("", (), _ELSEWISE)]


def problems(faults: list[Fault], judge: str) -> list[Problem]:
    """These as they are told, by the first of each place in the document; `judge` names the schema."""
    told: dict[str, Problem] = {}
    for fault in faults:
        problem = fault.problem
        told.setdefault(problem.pointer, Problem(problem.pointer, f"{problem.detail} ({judge})"))
    return list(told.values())


def _values(document: Any, most: int) -> int | None:
    """How many values there are in a document; None where there are more than so many."""
    count, waiting = 1, [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            count += len(value)
            if count > most:
                return None
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return count


def _told(schema: Mapping[str, Any], document: Any, error: "jsonschema_rs.EvaluationErrorEntry") -> Iterator[Fault]:
    if error["error"].startswith(_UNEVALUATED):
        # Each of the members is told of on its own.
        return
    place = error["schemaLocation"]
    steps = _steps(place)
    path = _path(error["instanceLocation"], document)
    said, keyword = _keyword(schema, steps)
    choice = ", to be of one of the forms that are allowed" if _CHOICES.intersection(steps[:-1]) else ""
    if keyword == "additionalProperties" and said is False:
        yield from _additional(schema, steps, place, path, _at(document, path))
    elif "propertyNames" in steps:
        told = "" if said is False else f": it {_sentence(keyword, said)}"
        yield Fault(place, path, f"has a member whose name is not allowed{told}{choice}")
    elif error["error"].startswith(_FALSE):
        yield Fault(place, path, f"is not allowed{choice}")
    elif keyword == "required":
        value = _at(document, path)
        missing = [(index, name) for index, name in enumerate(said) if name not in value]
        yield from (Fault(f"{place}/{index}", (*path, name), f"is required{choice}") for index, name in missing)
    elif keyword == "dependentRequired":
        yield from _dependent(said, place.rpartition("/")[0], path, _at(document, path), choice)
    else:
        yield Fault(place, path, f"{_sentence(keyword, said)}{choice}")


def _dependent(
    said: Mapping[str, list[str]], place: str, path: Path, value: Mapping[str, Any], choice: str
) -> Iterator[Fault]:
    """The members that must stand beside others, and do not."""
    for name in said.keys() & value.keys():
        for other in said[name]:
            if other not in value:
                yield Fault(f"{place}/{_escaped(name)}", (*path, other), f"is required beside {name}{choice}")


def _additional(
    schema: Mapping[str, Any], steps: tuple[str, ...], place: str, path: Path, value: Mapping[str, Any]
) -> Iterator[Fault]:
    """The members that are not allowed; where patterns allow some by their names, only that there are such members."""
    beside, _ = _keyword(schema, steps[:-1])
    known = list(beside.get("properties", ()))
    if beside.get("patternProperties"):
        yield Fault(place, path, "has members that are not allowed")
        return
    for name in value:
        if name not in known:
            close = get_close_matches(name[:64], known, 1)
            yield Fault(
                place, (*path, name), "is not a known member" + (f"; did you mean {close[0]}?" if close else "")
            )


def _sentence(keyword: str, said: Any) -> str:
    if keyword == "type":
        names = [_NAMES[each] for each in (said if isinstance(said, list) else [said])]
        return f"must be {' or '.join(names)}"
    if keyword == "enum":
        told = ", ".join(json.dumps(each, ensure_ascii=False) for each in said)
    else:
        told = said if isinstance(said, str) and keyword != "const" else json.dumps(said, ensure_ascii=False)
    if len(told) > _LONGEST:
        told = f"{told[:_LONGEST]}…"
    return _SENTENCES.get(keyword, _ELSEWISE).replace("{said}", told)


def _keyword(schema: Mapping[str, Any], steps: tuple[str, ...]) -> tuple[Any, str]:
    """What the schema says at this place, and by which keyword; as far as it leads within the schema."""
    value: Any = schema
    keyword = ""
    for step in steps:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            break
        keyword = step
    return value, keyword


def _steps(pointer: str) -> tuple[str, ...]:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _path(pointer: str, document: Any) -> Path:
    """The path that a pointer into the document stands for."""
    path: Path = ()
    for step in _steps(pointer):
        index = int(step) if isinstance(document, list) else step
        document = document[index]
        path = (*path, index)
    return path


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document
