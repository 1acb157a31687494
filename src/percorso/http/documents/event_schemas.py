"""What is answered about schemas of interactions."""

from typing import Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents.base import like
from percorso.http.documents.examples import INTERACTION_ID, Example

Mode = Literal["report", "enforce"]

SCHEMA: Final[Example] = {
    "type": "object",
    "required": ["agent", "details"],
    "properties": {
        "details": {
            "type": "object",
            "required": ["queue"],
            "properties": {"queue": {"enum": ["support", "sales"]}, "duration_seconds": {"maximum": 14400}},
        },
        "attributes": {"type": "object", "properties": {"team": {"type": "string", "maxLength": 32}}},
    },
}
_NAMED: Final[Example] = {"channel": "phone", "kind": "support_call"}
_MADE: Final[Example] = {"created_at": "2026-11-20T09:00:00.000Z", "created_by": "data-team"}
_IN_FORCE: Final[Example] = (
    _NAMED
    | {"version": 3, "mode": "enforce"}
    | _MADE
    | {"changed_at": "2026-11-21T09:00:00.000Z", "changed_by": "data-team"}
)
_ONE: Final[Example] = _IN_FORCE | {"schema": SCHEMA}
_PUT: Final[Example] = _ONE | {"holds_everywhere_at": "2026-11-21T09:00:05.000Z"}
_VERSION: Final[Example] = _NAMED | {"version": 3} | _MADE
_FAULT: Final[Example] = {
    "place": "/properties/details/properties/queue/enum",
    "detail": 'must be one of "support", "sales"',
    "interactions": 12,
}
_REPORT: Final[Example] = (
    _NAMED
    | {"version": 3, "checked": 10_412, "passed": 10_400, "reported": 12, "refused": 0}
    | {"since": "2026-11-20T09:00:00.000Z", "last_at": "2026-11-21T09:00:00.000Z"}
    | {"faults": [_FAULT | {"first_at": "2026-11-20T09:00:00.000Z", "last_at": "2026-11-21T08:59:00.000Z"}]}
)
_CHECKED: Final[Example] = (
    _NAMED
    | {"version": None, "asked": 1000, "checked": 1000, "passed": 988, "failed": 12}
    | {"since": "2026-11-19T07:12:00.000Z", "complete": True}
    | {"faults": [_FAULT | {"examples": [INTERACTION_ID]}]}
)


class SchemaInForce(BaseModel):
    """A schema that is in force, without its text."""

    model_config = like(_IN_FORCE)

    channel: str
    kind: str = Field(description="`*` is every kind of the channel that has no schema of its own, and none.")
    version: int
    mode: Mode = Field(description="`enforce` refuses what does not fit; `report` stores and counts it.")
    created_at: AwareDatetime = Field(description="When this version was first put in force.")
    created_by: str = Field(description="The name of the key.")
    changed_at: AwareDatetime = Field(description="When version or mode were last changed.")
    changed_by: str = Field(description="The name of the key.")


class SchemaList(BaseModel):
    """A page of schemas in force."""

    model_config = like({"items": [_IN_FORCE], "next_cursor": None})

    items: list[SchemaInForce]
    next_cursor: str | None


class SchemaDocument(SchemaInForce):
    """A schema that is in force."""

    model_config = like(_ONE)

    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema 2020-12, as it was given.")


class SchemaPut(SchemaDocument):
    """A schema as it was put in force."""

    model_config = like(_PUT)

    holds_everywhere_at: AwareDatetime = Field(
        description="From then on every process checks by it; the one that answered does so already."
    )


class SchemaVersion(BaseModel):
    """One version of a schema, without its text."""

    model_config = like(_VERSION)

    channel: str
    kind: str
    version: int
    created_at: AwareDatetime
    created_by: str


class SchemaVersions(BaseModel):
    """A page of versions."""

    model_config = like({"items": [_VERSION], "next_cursor": None})

    items: list[SchemaVersion]
    next_cursor: str | None


class SchemaVersionDocument(SchemaVersion):
    """One version of a schema."""

    model_config = like(_VERSION | {"schema": SCHEMA})

    schema_: dict[str, Any] = Field(alias="schema")


class SchemaFault(BaseModel):
    """A place in a schema where interactions failed."""

    model_config = like(_FAULT)

    place: str = Field(description="JSON pointer into the schema.")
    detail: str = Field(description="What it asks there.")
    interactions: int = Field(description="How many failed there; one may fail at several places.")


class CountedFault(SchemaFault):
    """A place in a schema where interactions failed as they came in."""

    model_config = like(_REPORT["faults"][0])

    first_at: AwareDatetime
    last_at: AwareDatetime


class SchemaReport(BaseModel):
    """What came of checking by a version as interactions came in; written some seconds after."""

    model_config = like(_REPORT)

    channel: str
    kind: str
    version: int
    checked: int
    passed: int
    reported: int = Field(description="Did not fit, while the mode was `report`: stored.")
    refused: int = Field(description="Did not fit, while the mode was `enforce`: in quarantine.")
    since: AwareDatetime | None
    last_at: AwareDatetime | None
    faults: list[CountedFault] = Field(description="Where most failed first; at most 100.")


class CheckedFault(SchemaFault):
    """A place in a schema where stored interactions fail."""

    model_config = like(_CHECKED["faults"][0])

    examples: list[UUID] = Field(description="The latest that fail there, at most 3.")


class SchemaCheck(BaseModel):
    """What a schema makes of the latest interactions that are stored."""

    model_config = like(_CHECKED)

    channel: str
    kind: str
    version: int | None = Field(description="The version that was checked by; null for a schema that was sent.")
    asked: int
    checked: int
    passed: int
    failed: int
    since: AwareDatetime = Field(description="All that occurred since then are among those checked.")
    complete: bool = Field(
        description="Whether as many were checked as were asked for, or all there are; else there was no time for more."
    )
    faults: list[CheckedFault] = Field(description="Where most fail first; at most 100.")
