"""Schemas: what is taken, what is refused, and that what is taken judges as JSON Schema says."""

import json
import socket
from typing import Any

import jiter
import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import Phase, given, reject, settings
from hypothesis import strategies as st

from percorso.errors import InvalidRequest
from percorso.ingest import faults
from percorso.ingest.json_schema import FORMATS, MAX_NESTING, MAX_WORK, JsonSchema, compiled

Schema = dict[str, Any]

_NAMES = ("a", "b/c", "d~e", "queue", "type", "required", 'é %"')
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["", "a", "ab", "support", "2026", "é"])
)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=12,
)
_TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
_COUNTS = st.integers(0, 3)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    """Schemas of these, and of keywords that both libraries take for the same."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(_SCALARS, min_size=1, max_size=4, unique_by=json.dumps),
            "const": _SCALARS,
            "minimum": st.integers(-3, 3),
            "exclusiveMaximum": st.integers(-3, 3),
            "multipleOf": st.integers(1, 3),
            "minLength": _COUNTS,
            "maxLength": _COUNTS,
            "pattern": st.sampled_from(["^a", "b$", "^[a-z]+$", "[0-9]{4}"]),
            "minItems": _COUNTS,
            "maxItems": _COUNTS,
            "uniqueItems": st.booleans(),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "contains": inner,
            "minProperties": _COUNTS,
            "maxProperties": _COUNTS,
            "required": st.lists(st.sampled_from(_NAMES), max_size=3, unique=True),
            "properties": st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "e$"]), inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": inner,
            "dependentRequired": st.dictionaries(
                st.sampled_from(_NAMES), st.lists(st.sampled_from(_NAMES), max_size=2, unique=True), max_size=2
            ),
            "dependentSchemas": st.dictionaries(st.sampled_from(_NAMES), inner, max_size=2),
            "unevaluatedProperties": inner,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
        },
    )


_INNER = st.recursive(
    st.booleans() | _schemas(st.booleans()) | st.just({"$ref": "#/$defs/one"}), _schemas, max_leaves=4
)


def bound(schema: Schema) -> Schema:
    """A schema with what its references lead to."""
    return {**schema, "$defs": {"one": {"type": ["string", "object"], "minLength": 1}}}


@settings(phases=[phase for phase in Phase if phase not in {Phase.shrink, Phase.explain}])  # that would take minutes
@given(schema=_schemas(_INNER).map(bound), document=_DOCUMENTS)
def test_a_schema_judges_as_another_implementation_does_and_says_where(schema: Schema, document: Any) -> None:
    try:
        taken = compiled(schema)
    except InvalidRequest as refused:
        if "too much to check" in refused.problems[0].detail:
            reject()
        raise
    raw = json.dumps(document).encode()
    other = jsonschema.Draft202012Validator(schema)
    valid = taken.validator.is_valid(jiter.from_json(raw))
    assert valid == other.is_valid(document)
    if valid:
        return
    found = faults.find(taken, document, len(raw))
    assert found
    for fault in found:
        # Each place is in the schema, each path in the document, a missing or unwanted member of it at the end.
        value: Any = schema
        for step in fault.place.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
        value = document
        for member in fault.path[:-1]:
            value = value[member]
        if fault.path and fault.path[-1] not in (value if isinstance(value, dict) else range(len(value))):
            assert "is required" in fault.detail


def refusals(schema: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        compiled(schema)
    return {problem.pointer: problem.detail for problem in refused.value.problems}


def nested(depth: int, *, step: Schema | None = None) -> Schema:
    schema: Schema = {"type": "string"}
    for _ in range(depth):
        schema = {"allOf": [schema], **(step or {})}
    return schema


@pytest.mark.parametrize(
    ("schema", "pointer", "says"),
    [
        ([], "", "must be an object"),
        (True, "", "must be an object"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "2020-12"),
        ({"properties": {"a": {"type": "text"}}}, "/properties/a/type", "must be one of array"),
        ({"properties": {"a": {"minLength": -1}}}, "/properties/a/minLength", "-1"),
        ({"required": "a"}, "/required", "array"),
        ({"items": {"format": "regex"}}, "/items/format", "must be one of date"),
        ({"properties": {"a/b": {"pattern": "("}}}, "/properties/a~1b/pattern", "regular expression"),
        ({"pattern": "(?=a)b"}, "/pattern", "look-around"),
        ({"pattern": r"(a)\1"}, "/pattern", "back-references"),
        ({"pattern": "(a{1,500}){1,500}"}, "/pattern", "maxLength"),
        ({"patternProperties": {"(?!a)": {}}}, "/patternProperties/(?!a)", "look-around"),
        ({"$ref": "#"}, "/$ref", "contains itself"),
        ({"$ref": ""}, "/$ref", "contains itself"),
        ({"properties": {"a": {"items": {"$ref": "#"}}}}, "/properties/a/items/$ref", "contains itself"),
        (
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}},
            "/$defs/b/not/$ref",
            "contains itself",
        ),
        ({"$ref": "#/$defs/none"}, "/$ref", "leads to no schema"),
        ({"$ref": "#/enum/0", "enum": ["a"]}, "/$ref", "leads to no schema"),
        ({"$ref": "#name", "$anchor": "name"}, "/$ref", "must be a pointer"),
        ({"$dynamicRef": "#name"}, "/$dynamicRef", "is not taken"),
        ({"properties": {"a": {"$id": "https://a.example/"}}}, "/properties/a/$id", "whole schema"),
        ({"description": "x" * 65_536}, "", "64 KiB"),
        (nested(MAX_NESTING + 1), "/allOf/0" * (MAX_NESTING + 1), "nested deeper"),
    ],
)
def test_what_cannot_be_taken_is_pointed_at(schema: Any, pointer: str, says: str) -> None:
    found = refusals(schema)
    assert pointer in found
    assert says in found[pointer]


REFERENCES = (
    "http://127.0.0.1:{port}/s.json",
    "https://127.0.0.1:{port}/s.json",
    "file:///etc/passwd",
    "//127.0.0.1:{port}/s.json",
    "other.json",
    "s.json#/$defs/a",
    "urn:example:a",
    "https://json-schema.org/draft/2020-12/schema",
)


@pytest.mark.parametrize("where", ["$ref", "properties", "$defs", "contentSchema", "dependencies", "x-unknown", "$id"])
def test_nothing_outside_of_a_schema_is_referred_to_or_fetched(where: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        port = listening.getsockname()[1]
        for given_reference in REFERENCES:
            reference = given_reference.format(port=port)
            schemas: dict[str, Schema] = {
                "$ref": {"$ref": reference},
                "properties": {"properties": {"a": {"$ref": reference}}},
                "$defs": {"$defs": {"a": {"items": {"$ref": reference}}}},
                "contentSchema": {"contentSchema": {"$ref": reference}},
                "dependencies": {"dependencies": {"a": {"$ref": reference}}},
                "x-unknown": {"x-unknown": {"$ref": reference}, "$ref": "#/x-unknown"},
                "$id": {"$id": f"http://127.0.0.1:{port}/", "$ref": "other.json"},
            }
            found = refusals(schemas[where])
            assert any("nothing else is referred to or fetched" in detail for detail in found.values())
        with pytest.raises(TimeoutError):
            listening.accept()


def test_what_only_looks_like_a_reference_is_taken() -> None:
    taken = compiled({"enum": [{"$ref": "https://a.example/"}], "properties": {"$ref": {"type": "string"}}})
    assert taken.validator.is_valid({"$ref": "https://a.example/"})
    assert not taken.validator.is_valid({"$ref": 1})


def doubling(depth: int) -> Schema:
    both = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": both | {f"d{depth}": {"type": "string"}}}


@pytest.mark.parametrize(
    "schema",
    [
        doubling(12),
        doubling(40),
        nested(8, step={"unevaluatedProperties": False}),
        nested(8, step={"unevaluatedItems": False}),
        {"items": {"enum": [[n] for n in range(MAX_WORK)]}},
        {"required": [str(n) for n in range(MAX_WORK + 1)]},
        {"allOf": [{"pattern": f"^.{{1,{100 + n}}}$"} for n in range(20)]},
        {"allOf": [{"type": "string"}] * MAX_WORK},
    ],
)
def test_what_would_take_long_to_check_is_refused(schema: Schema) -> None:
    [(pointer, detail)] = refusals(schema).items()
    assert (pointer, "is too much to check" in detail) == ("", True)


def test_references_one_after_the_other_are_refused_where_they_nest_too_deep() -> None:
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(500)} | {"d500": {"type": "string"}}
    assert any("nested deeper" in detail for detail in refusals({"$ref": "#/$defs/d0", "$defs": chain}).values())
    many = refusals(doubling(MAX_NESTING))
    assert any("nested deeper" in detail for detail in many.values())


def test_every_format_that_is_named_is_asserted() -> None:
    for name in FORMATS:
        assert not compiled({"format": name}).validator.is_valid("no such \x7f thing ://"), name


def told(schema: Schema, document: Any) -> dict[str, str]:
    taken: JsonSchema = compiled(schema)
    assert not taken.validator.is_valid(document)
    problems = faults.problems(faults.find(taken, document, len(json.dumps(document))), "v")
    return {problem.pointer: problem.detail.removesuffix(" (v)") for problem in problems}


def test_each_fault_is_told_in_words_of_the_schema() -> None:
    for schema, document, wanted in (
        ({"properties": {"a": {"type": ["string", "null"]}}}, {"a": 1}, {"/a": "must be a string or null"}),
        ({"properties": {"a": {"const": "k"}}}, {"a": 1}, {"/a": 'must be "k"'}),
        ({"properties": {"a": {"maximum": 4.5}}}, {"a": 5}, {"/a": "must be at most 4.5"}),
        ({"properties": {"a": {"pattern": "^x"}}}, {"a": "y"}, {"/a": "must match ^x"}),
        ({"properties": {"a": {"format": "email"}}}, {"a": "y"}, {"/a": "must be of the format email"}),
        ({"properties": {"a": {"minItems": 2}}}, {"a": [1]}, {"/a": "must have at least 2 members"}),
        ({"properties": {"a": False}}, {"a": 1}, {"/a": "is not allowed"}),
        ({"properties": {"required": False, "type": False}}, {"type": 1}, {"/type": "is not allowed"}),
        (
            {"properties": {"queue": {}}, "additionalProperties": False},
            {"queeu": 1},
            {"/queeu": "is not a known member; did you mean queue?"},
        ),
        ({"additionalProperties": False}, {"a~b": 1}, {"/a~0b": "is not a known member"}),
        (
            {"patternProperties": {"^x": {}}, "additionalProperties": False},
            {"a": 1},
            {"": "has members that are not allowed"},
        ),
        ({"unevaluatedProperties": False}, {"a": {}}, {"/a": "is not allowed"}),
        ({"prefixItems": [{}], "unevaluatedItems": False}, [1, 2], {"/1": "is not allowed"}),
        (
            {"propertyNames": {"maxLength": 1}},
            {"ab": 1},
            {"": "has a member whose name is not allowed: it must be at most 1 characters long"},
        ),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, {"/b": "is required beside a"}),
        ({"oneOf": [{"required": ["a"]}, {}]}, {"a": 1}, {"": "is of several forms of which it must be one only"}),
        (
            {"anyOf": [{"required": ["a"]}, {"type": "string"}]},
            {},
            {
                "/a": "is required, to be of one of the forms that are allowed",
                "": "must be a string, to be of one of the forms that are allowed",
            },
        ),
        ({"not": {"type": "object"}}, {}, {"": "is of a form that the schema excludes"}),
        ({"enum": ["x" * 300]}, "y", {"": f'must be one of "{"x" * 199}…'}),
    ):
        assert told(schema, document) == wanted


def test_what_is_wrong_in_too_many_ways_is_told_in_one() -> None:
    many = {"items": {"anyOf": [{"required": [f"x{n}"]} for n in range(300)]}}
    assert told(many, [{}] * 20_000) == {"": "does not fit the schema, and is too large for it to be said where"}
    long = {"allOf": [{"maxProperties": 0}] * 200}
    assert told(long, {"text": "x" * 60_000}) == {
        "": "does not fit the schema, and is too large for it to be said where"
    }
    assert len(told({"items": {"type": "string"}}, [1] * 1000)) == 50
