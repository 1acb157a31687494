"""What a key is to be: the bodies of the routes of keys, and their rules, which hold on the command line too."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from percorso.details import Moment
from percorso.errors import Problem
from percorso.http.access import Scope
from percorso.http.callers import TOKENS_ARE_NAMED
from percorso.interaction import Channel

_OVERLAP: Final = re.compile(r"(0|[1-9][0-9]{0,3})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST_OVERLAP: Final = timedelta(days=90)
_MOST: Final = 100
_NOT_LIMITED: Final = "limits what is ingested: the key must have the scope ingest, and not admin, which could lift it"


def _name(given: str) -> str:
    if given.startswith(TOKENS_ARE_NAMED):
        raise PydanticCustomError(
            "name", f"must not begin with `{TOKENS_ARE_NAMED}`: so do the names of those with tokens"
        )
    return given


def _to_come(given: datetime) -> datetime:
    if given <= datetime.now(UTC):
        raise PydanticCustomError("to_come", "must be in the future; to end a key now, revoke it")
    return given


def overlap(given: str) -> timedelta:
    """How long this is, such as 24h; PydanticCustomError where it is no such length, or too long."""
    match = _OVERLAP.fullmatch(given)
    length = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if length is None or length > _LONGEST_OVERLAP:
        raise PydanticCustomError(
            "overlap", "must be a number of days, hours, minutes or seconds up to 90d, such as 24h"
        )
    return length


def _overlap(given: str) -> str:
    overlap(given)
    return given


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        description="Who or what will use it. It is the source of what comes in formats that name none, such as "
        "Segment's.",
    ),
    AfterValidator(_name),
]
Sources = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=128)]],
    Field(min_length=1, max_length=_MOST, description="The sources it may ingest interactions of. Null: any."),
]
Channels = Annotated[
    list[Channel],
    Field(min_length=1, max_length=_MOST, description="The channels it may ingest interactions of. Null: any."),
]
ExpiresAt = Annotated[
    Moment, AfterValidator(_to_come), Field(description="From this moment on it is not valid. Null: it does not end.")
]
Rate = Annotated[
    float,
    Field(
        gt=0,
        le=1_000_000,
        description="What it may send a second: interactions, and other requests. Null: `PERCORSO_KEY_RATE`.",
    ),
]
Burst = Annotated[
    int, Field(ge=1, le=100_000_000, description="What it may send at once. Null: the rate of ten seconds.")
]


class KeyBody(BaseModel):
    """What a new key is to be. `sources` and `channels` limit what it may ingest, and nothing else that it may do."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "crm-connector",
                    "scopes": ["ingest"],
                    "sources": ["crm"],
                    "channels": ["phone", "email"],
                    "expires_at": "2100-01-01T00:00:00Z",
                }
            ]
        },
    )

    name: Name
    scopes: list[Scope] = Field(min_length=1, max_length=5, description="What it may do; `admin` may do everything.")
    sources: Sources | None = None
    channels: Channels | None = None
    expires_at: ExpiresAt | None = None
    rate: Rate | None = None
    burst: Burst | None = None

    @field_validator("burst")
    @classmethod
    def _of_a_rate(cls, burst: int | None, info: ValidationInfo) -> int | None:
        if burst is not None and info.data.get("rate") is None:
            raise PydanticCustomError("burst", "needs a `rate`")
        return burst

    @property
    def limits(self) -> dict[str, Any]:
        """What it is limited to, as columns of keys."""
        names = ("sources", "channels", "expires_at", "rate", "burst")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}


class KeyChange(BaseModel):
    """What is to be different of a key; what is absent stays, and null lifts a limit."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"channels": ["phone"], "sources": None}]}
    )

    name: Name = ""
    sources: Sources | None = None
    channels: Channels | None = None
    expires_at: ExpiresAt | None = None
    rate: Rate | None = None
    burst: Burst | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What was given, as columns of keys."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class RotateBody(BaseModel):
    """How a key is to be rotated."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": "24h"}]})

    overlap: Annotated[
        str,
        WithJsonSchema({"type": "string", "pattern": f"^({_OVERLAP.pattern})$", "examples": ["24h", "0s"]}),
        AfterValidator(_overlap),
        Field(description="How long the secrets it had stay valid, at most 90d; 0s ends them at once."),
    ] = "24h"


def unlimited(scopes: Collection[str], changes: Mapping[str, Any]) -> list[Problem]:
    """What of these limits would not hold for a key with these scopes."""
    if "ingest" in scopes and "admin" not in scopes:
        return []
    return [Problem(f"/{name}", _NOT_LIMITED) for name in ("sources", "channels") if changes.get(name) is not None]
