"""What a mapping file says: which column of a delimited file becomes which member of an interaction.

A mapping is a small TOML file. It is checked strictly and in full before the first row is read, because a mistake in it
is a mistake in every row.
"""

import codecs
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, FiniteFloat, ValidationError, model_validator
from pydantic import Field as Limits
from pydantic_core import ErrorDetails

from percorso import interaction
from percorso.errors import Problem, StartupError

WHITESPACE: Final = "whitespace"
"""The delimiter of files whose cells stand apart by any number of blanks."""
NAMED_FORMATS: Final = ("rfc3339", "unix", "unix_ms")
"""Forms of a moment that are not spelt out for strptime."""

_WORDS: Final[Mapping[str, Sequence[str]]] = {
    "channel": interaction.CHANNELS,
    "direction": interaction.DIRECTIONS,
    "directness": interaction.DIRECTNESSES,
    "function": interaction.FUNCTIONS,
    "status": interaction.STATUSES,
    "outcome": interaction.OUTCOMES,
    "resolution": interaction.RESOLUTIONS,
}
_ELSEWHERE: Final = {
    "source": 'stands at the top of the mapping: source = "…"',
    "id": "is told in the table [id]",
    "occurred_at": "is told in the table [time]",
    "customer": "is told in a table for each kind of identifier, such as [customer.email]",
    "source_fields": "is filled with the cells that stand nowhere else; see keep_rest",
}
_MEMBERS: Final = tuple(name for name in interaction.PhoneInteraction.__annotations__ if name not in _ELSEWHERE)


def _delimiter(given: str) -> str:
    if given != WHITESPACE and (len(given) != 1 or given in '"\r\n'):
        raise ValueError(f'must be one character, such as "," or ";" or "\\t", or "{WHITESPACE}"')
    return given


def _encoding(given: str) -> str:
    try:
        codecs.lookup(given)
    except LookupError:
        raise ValueError("is not an encoding that Python knows, such as utf-8, cp1252 or latin-1") from None
    return given


def _pattern(given: str) -> str:
    try:
        groups = re.compile(given).groups
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError("must have one group in parentheses, around what is to be taken of the cell")
    return given


def _zone(given: str) -> str:
    if given != "UTC":
        try:
            ZoneInfo(given)
        except (ValueError, OSError, LookupError):
            raise ValueError("is not a time zone of the IANA database, such as UTC or Europe/Rome") from None
    return given


def _format(given: str) -> str:
    if given not in NAMED_FORMATS:
        try:
            datetime.strptime(datetime.now(UTC).strftime(given), given)  # noqa: DTZ007 - only whether it can be read
        except ValueError as error:
            named = ", ".join(NAMED_FORMATS)
            raise ValueError(f'must be {named}, or a format such as "%Y-%m-%d %H:%M:%S": {error}') from None
    return given


Column = Annotated[str, Limits(min_length=1)]
Format = Annotated[str, AfterValidator(_format)]
Zone = Annotated[str, AfterValidator(_zone)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Constant = bool | int | FiniteFloat | str


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FileForm(_Table):
    """How the file is written. `columns` names them where there is no header line."""

    delimiter: Annotated[str, AfterValidator(_delimiter)] = ","
    header: bool = True
    columns: list[Column] = []
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _names_columns_once(self) -> Self:
        if self.header == bool(self.columns):
            raise ValueError("must have `columns` where `header = false`, and only there")
        return self


class Moment(_Table):
    """Where a moment stands, and how it is written; `zone` is that of moments without an offset."""

    column: Column
    format: Format = "rfc3339"
    zone: Zone | None = None

    @model_validator(mode="after")
    def _has_a_zone(self) -> Self:
        _require_zone(self.format, self.zone)
        return self


class RowId(_Table):
    """Which columns make a row's id; with `occurrence`, equal ones are told apart by their number in the file."""

    columns: Annotated[list[Column], Limits(min_length=1)]
    occurrence: bool = False


class Identifier(_Table):
    """Where an identifier stands: what the group of `pattern` takes of the cell, after `prefix`."""

    column: Column
    pattern: Pattern | None = None
    prefix: str = ""


class Member(_Table):
    """What one member of the interaction is made of: a column, the row's id, or a value, perhaps only in some rows."""

    column: Column | None = None
    id: Literal[True] | None = None
    value: Constant | None = None
    when: dict[str, str | list[str]] = {}
    type: Literal["text", "number", "integer", "boolean", "slug", "time"] = "text"
    pattern: Pattern | None = None
    prefix: str = ""
    map: dict[str, Constant] | None = None
    default: Constant | None = None
    format: Format = "rfc3339"
    zone: Zone | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if [self.column, self.id, self.value].count(None) != 2:  # noqa: PLR2004 - one of three is given
            raise ValueError("must have exactly one of `column`, `id = true` and `value`")
        given = self.model_fields_set
        if self.column is None and (alone := given & {"type", "pattern", "prefix", "map", "default"}):
            raise ValueError(f"`{min(alone)}` goes with `column` only")
        if self.type != "time" and (alone := given & {"format", "zone"}):
            raise ValueError(f'`{min(alone)}` goes with `type = "time"` only')
        if self.type == "time":
            _require_zone(self.format, self.zone)
        if self.map is not None and self.type != "text":
            raise ValueError("has a `map`, whose values have their own types: leave `type` out")
        if self.prefix and self.type not in {"text", "slug"}:
            raise ValueError("`prefix` goes with text only")
        return self

    def values(self) -> list[Constant]:
        """Every value that stands in the mapping itself."""
        told = [self.value, self.default, *(self.map or {}).values()]
        return [value for value in told if value is not None]


class RowMapping(_Table):
    """A whole mapping file."""

    source: interaction.Source
    file: FileForm = FileForm()
    constants: dict[str, Constant] = {}
    time: Moment | None = None
    id: RowId | None = None
    customer: Annotated[dict[interaction.IdentifierKind, Identifier], Limits(min_length=1)]
    fields: dict[str, Member] = {}
    keep_rest: bool = True


def parse(text: str, *, name: str) -> RowMapping:
    """The mapping of this TOML text; StartupError names each key that is wrong, and what is allowed there."""
    try:
        mapping = RowMapping.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise StartupError(f"The mapping {name} is not TOML: {error}.") from None
    except ValidationError as error:
        problems = [_explained(each) for each in error.errors(include_url=False, include_input=False)]
    else:
        problems = list(_misplaced(mapping))
        if not problems:
            return mapping
    raise StartupError(f"The mapping {name} is not as it must be.", problems=problems)


def closest(given: str, known: Iterable[str]) -> str:
    """`; did you mean X?` where a known name is close to the given one."""
    close = get_close_matches(given, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def path_of(name: str) -> tuple[str | int, ...]:
    """The steps of a dotted member name; a step of digits is a place in a list."""
    return tuple(int(step) if step.isdecimal() else step for step in name.split("."))


def _require_zone(format_: str, zone: str | None) -> None:
    if zone is None and format_ not in NAMED_FORMATS and "%z" not in format_:
        raise ValueError("must have a `zone`, such as UTC or Europe/Rome: moments of this format have no offset")


def _misplaced(mapping: RowMapping) -> Iterable[Problem]:
    """What the tables say that no interaction can have."""
    told: dict[str, tuple[str, list[Constant]]] = {
        name: (f"constants.{name}", [value]) for name, value in mapping.constants.items()
    }
    for name, member in mapping.fields.items():
        if name in told:
            yield Problem(f"fields.{name}", "is told in [constants] already; a value for some rows is a `default`")
        told[name] = (f"fields.{name}", member.values())
    for name, (key, values) in told.items():
        first, *others = steps = path_of(name)
        if first in _ELSEWHERE:
            yield Problem(key, f"{first} {_ELSEWHERE[str(first)]}")
        elif first not in _MEMBERS:
            yield Problem(key, f"is no member of an interaction{closest(str(first), _MEMBERS)}")
        elif "" in others or any(path_of(other)[: len(steps)] == steps for other in told if other != name):
            yield Problem(key, "must name one value, and not what another key names a part of")
        for value in values if name in _WORDS else ():
            if value not in _WORDS[name]:
                yield Problem(
                    key, f"{value!r} must be one of {', '.join(_WORDS[name])}{closest(str(value), _WORDS[name])}"
                )
    if "channel" not in told:
        yield Problem(
            "constants.channel", f"is required, here or in [fields]: one of {', '.join(interaction.CHANNELS)}"
        )


def _explained(error: ErrorDetails) -> Problem:
    where = error["loc"]
    key = ".".join(str(step) for step in where)
    if error["type"] == "extra_forbidden":
        tables: dict[str, type[_Table]] = {
            "file": FileForm, "time": Moment, "id": RowId, "customer": Identifier, "fields": Member,
        }  # fmt: skip
        known = (RowMapping if len(where) == 1 else tables[str(where[0])]).model_fields
        hint = closest(str(where[-1]), known)
        detail = f"is not known here{hint}{'' if hint else ';'} known are {', '.join(known)}"
        if where[0] == "fields" and len(where) > 2:  # noqa: PLR2004 - the table, the member, what it says
            detail += '. A member within another is written in quotes: "details.device" = { column = "…" }'
        return Problem(key, detail)
    if where[0] == "constants":
        dotted = f"{where[0]}.{where[1]}" if len(where) > 1 else key
        return Problem(
            dotted,
            'must be a text, a number, true or false; a dotted name is written in quotes: "details.device" = "…"',
        )
    if where[-1] == "[key]":
        named = "must be named by at most 64 lower-case letters, digits and `_`, beginning with a letter"
        return Problem(key.removesuffix(".[key]"), named)
    if error["type"] == "missing":
        return Problem(key, "is required")
    if error["type"] == "value_error":
        return Problem(key, str(error["ctx"]["error"]))
    return Problem(key, error["msg"][0].lower() + error["msg"][1:])
