"""JSON Schemas of interactions: read with care, since what they ask is asked of all that is sent.

A schema is in the dialect of 2020-12. What may not stand in one is what could make checking slow, or reach out: it
refers to nothing outside of itself, and fetches nothing; it does not contain itself, so that how long it takes is bound
by its own size and by that of what is checked; patterns are matched in linear time, so they have no look-around and no
back-references, and are of a bounded size. `format` is asserted, for the formats that are known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import jsonschema_rs
import msgspec

from percorso.details import MOMENTS
from percorso.errors import InvalidRequest, Problem
from percorso.ingest.document import MAX_PROBLEMS, Path, distinct

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MAX_BYTES: Final = 64 * 1024
"""The largest schema, as JSON without white space."""
MAX_WORK: Final = 2_000
"""Schemas that one may consist of, each counted as often as it is referred to."""
MAX_NESTING: Final = 100
"""How deep schemas may stand one within another, references followed."""
FORMATS: Final = (
    "date", "date-time", "duration", "email", "hostname", "idn-email", "ipv4", "ipv6", "json-pointer", "time", "uri",
    "uri-reference", "uuid",
)  # fmt: skip

_ONE: Final = (
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS: Final = ("dependencies", "dependentSchemas", "patternProperties", "properties")
_STORES: Final = ("$defs", "definitions")
_UNEVALUATED: Final = ("unevaluatedItems", "unevaluatedProperties")
_UNEVALUATED_TIMES: Final = 3
"""What is within is looked at again, to know what it has evaluated: each nesting takes about so many times as long."""

_SMALL_PATTERN: Final = 16 * 1024
_LARGE_PATTERN: Final = 256 * 1024
"""Bytes of a compiled pattern. The worst known of the larger takes 2 s for 64 KiB of text, of the smaller 0.04 s."""
_LARGE_PATTERN_WORK: Final = 200
_LONGEST_MESSAGE: Final = 200

_RECURSIVE: Final = "leads back to a schema that it is part of: one that contains itself is not taken"
_NO_REFERENCE: Final = (
    "must be a pointer within this schema, such as #/$defs/queue: nothing else is referred to or fetched"
)
_NO_PATTERN: Final = (
    "is not a regular expression that is taken here: look-around and back-references are not, nor what is large once "
    "it is compiled; bound lengths by `maxLength` rather than by {…}"
)


@dataclass(frozen=True, slots=True, eq=False)
class JsonSchema:
    """A schema that was compiled. `document` is what was given, `work` how many schemas it consists of.

    `moments`: whether it may say something of the value of a moment, which a validated interaction has no more as text.
    """

    document: Mapping[str, Any]
    validator: jsonschema_rs.Draft202012Validator
    work: int
    moments: bool


def compiled(document: Any) -> JsonSchema:
    """The schema that a JSON document is.

    Raises InvalidRequest, with a pointer into the document to each thing to mend.
    """
    if not isinstance(document, dict):
        raise _refusal([Problem("", "must be an object")])
    if len(msgspec.json.encode(document)) > MAX_BYTES:
        raise _refusal([Problem("", f"is larger than {MAX_BYTES // 1024} KiB")])
    if document.get("$schema", DIALECT) not in {DIALECT, f"{DIALECT}#"}:
        raise _refusal([Problem("/$schema", f"must be {DIALECT}, or left out")])
    try:
        jsonschema_rs.meta.validate(document)
    except jsonschema_rs.ValidationError as error:
        raise _refusal(distinct([(tuple(error.instance_path), _about(error))])) from None
    reading = _Reading(document)
    work = reading.read()
    if problems := distinct(reading.problems):
        raise _refusal(problems)
    if work > MAX_WORK:
        detail = (
            f"is too much to check: it consists of {work} schemas, each counted as often as it is referred to and "
            f"large patterns, lists of values and `unevaluated…` several times; {MAX_WORK} are taken"
        )
        raise _refusal([Problem("", detail)])
    try:
        validator = _compile(document, _LARGE_PATTERN)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        where = tuple(getattr(error, "instance_path", ()))
        raise _refusal(distinct([(where, _about(error))])) from None
    return JsonSchema(document, validator, work, reading.moments)


def _compile(document: dict[str, Any], pattern_bytes: int) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        document,
        validate_formats=True,
        ignore_unknown_formats=False,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=pattern_bytes),
        offline=True,
    )


@dataclass(slots=True)
class _Reading:
    """Goes through a schema by the keywords that have schemas in them, and follows its references."""

    document: dict[str, Any]
    problems: list[tuple[Path, str]] = field(default_factory=list)
    known: dict[Path, int] = field(default_factory=dict)
    """The work of the schemas that were read."""
    heights: dict[Path, int] = field(default_factory=dict)
    within: set[Path] = field(default_factory=set)
    """Those that are being read."""
    moments: bool = False
    """Whether any of them may be asked of a moment, or compare whole objects."""
    large: int = 0
    """Large patterns found so far: to compile one takes some ms."""

    def read(self) -> int:
        """The work of the whole."""
        work, _ = self._of(self.document, (), 0)
        for store in _STORES:
            for path in _paths_to(self.document, (store,)):
                # What nothing refers to is never checked, but it must not refer to anything elsewhere either.
                self._of(_at(self.document, path), path, 0)
        return work

    def _of(self, schema: Any, path: Path, depth: int) -> tuple[int, int]:
        """The work of a schema, and how deep schemas stand in it."""
        if not isinstance(schema, dict):
            return 1, 0
        if depth + self.heights.get(path, 0) > MAX_NESTING:
            self.problems.append((path, f"is nested deeper than {MAX_NESTING} schemas, references followed"))
            return 1, 0
        if path in self.known:
            return self.known[path], self.heights[path]
        self.within.add(path)
        work, height = 1 + self._own(schema, path), 0
        for inner in self._inner(schema, path):
            if inner in self.within:
                self.problems.append(((*path, "$ref"), _RECURSIVE))
                continue
            more, higher = self._of(_at(self.document, inner), inner, depth + 1)
            work, height = work + more, max(height, 1 + higher)
        for name in _UNEVALUATED:
            if name in schema:
                work *= _UNEVALUATED_TIMES
        self.within.remove(path)
        self.known[path], self.heights[path] = work, height
        return work, height

    def _inner(self, schema: dict[str, Any], path: Path) -> Iterator[Path]:
        """Where the schemas stand that a schema asks."""
        for name in _ONE:
            if name in schema:
                yield (*path, name)
        for name in _LISTS:
            for index in range(len(schema.get(name, ()))):
                yield (*path, name, index)
        for name in _MAPS:
            for member in schema.get(name, ()):
                yield (*path, name, member)
        if (reference := schema.get("$ref")) is not None and (target := self._target(reference, path)) is not None:
            yield target

    def _target(self, reference: str, path: Path) -> Path | None:
        """Where a reference leads; None, with a problem, where that is nowhere."""
        if reference not in {"#", ""} and not reference.startswith("#/"):
            self.problems.append(((*path, "$ref"), _NO_REFERENCE))
            return None
        target: Path = ()
        value: Any = self.document
        for step in unquote(reference).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
                target, value = (*target, int(name)), value[int(name)]
            elif isinstance(value, dict) and name in value:
                target, value = (*target, name), value[name]
            else:
                value = None
        if not isinstance(value, dict | bool):
            self.problems.append(((*path, "$ref"), "leads to no schema"))
            return None
        return target

    def _own(self, schema: dict[str, Any], path: Path) -> int:
        """The work of a schema beside that of those in it; what may not stand in it becomes a problem."""
        for name in ("$dynamicRef", "$recursiveRef"):
            if name in schema:
                self.problems.append(((*path, name), "is not taken: refer by `$ref`"))
        if "$id" in schema and path:
            self.problems.append(((*path, "$id"), "is taken of the whole schema only"))
        if "$schema" in schema and path:
            self.problems.append(((*path, "$schema"), "is taken of the whole schema only"))
        if (named := schema.get("format")) is not None and named not in FORMATS:
            self.problems.append(((*path, "format"), f"must be one of {', '.join(FORMATS)}"))
        work = len(schema.get("required", ()))
        work += sum(map(len, schema.get("dependentRequired", {}).values()))
        if any(isinstance(value, dict | list) for value in schema.get("enum", ())):
            # Simple values are found at once, others are compared one by one.
            work += len(schema["enum"])
        self.moments |= _may_meet_a_moment(schema)
        if "pattern" in schema:
            work += self._pattern(schema["pattern"], (*path, "pattern"))
        for pattern in schema.get("patternProperties", ()):
            work += self._pattern(pattern, (*path, "patternProperties", pattern))
        return work

    def _pattern(self, pattern: str, path: Path) -> int:
        if _compiles(pattern, _SMALL_PATTERN):
            return 1
        if self.large * _LARGE_PATTERN_WORK <= MAX_WORK and len(self.problems) < MAX_PROBLEMS:
            self.large += 1
            if not _compiles(pattern, _LARGE_PATTERN):
                self.problems.append((path, _NO_PATTERN))
        return _LARGE_PATTERN_WORK


def _may_meet_a_moment(schema: dict[str, Any]) -> bool:
    """Whether a schema may hand the value of a moment to one of those in it, or compares with lists or objects."""
    return (
        any(name in schema.get("properties", ()) for name in MOMENTS)
        or bool(schema.get("patternProperties"))
        or any(isinstance(schema.get(name), dict) for name in ("additionalProperties", "unevaluatedProperties"))
        or any(isinstance(value, dict | list) for value in (schema.get("const"), *schema.get("enum", ())))
    )


def _compiles(pattern: str, size: int) -> bool:
    try:
        _compile({"pattern": pattern}, size)
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True


def _paths_to(document: dict[str, Any], path: Path) -> Iterator[Path]:
    """Where the schemas stand that are kept in this member, and those kept in them."""
    stored = _at(document, path[:-1]).get(path[-1])
    for name, schema in stored.items() if isinstance(stored, dict) else ():
        yield (*path, name)
        if isinstance(schema, dict):
            for store in _STORES:
                yield from _paths_to(document, (*path, name, store))


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def _about(error: Exception) -> str:
    """What the library says of a schema, shortened: it is told to whoever sent that schema."""
    kind, where = getattr(error, "kind", None), getattr(error, "instance_path", ())
    if kind is not None and kind.name == "anyOf" and where and where[-1] == "type":
        return "must be one of array, boolean, integer, null, number, object and string, or a list of these"
    message = str(getattr(error, "message", error)).partition("\n")[0]
    return f"is not what JSON Schema takes: {message[:_LONGEST_MESSAGE]}"


def _refusal(problems: list[Problem]) -> InvalidRequest:
    return InvalidRequest("The schema cannot be taken as it is.", problems=problems)
