"""CloudEvents 1.0: an event to an interaction, and an interaction to an event.

| CloudEvent | interaction |
| --- | --- |
| `source`, `id` | `source`, `id`: what deduplication goes by |
| `time` | `occurred_at`, unless `data` says it: SDKs fill a missing `time` with the moment of sending |
| `data`, an interaction body | its members as they stand; `source` and `id` need not be there, and may not differ |
| `type` | `channel` and `kind` where `data` does not say: the first segment that names a channel, and all after it |
| `subject`, as `kind:value` | `customer` where `data` does not say |
| any other `data` | `attributes.data`, or `attributes.data_base64`; channel and kind are those of `type` |
| `type`, `subject`, `datacontenttype`, `dataschema`, extensions | `source_fields.cloudevents`, as they stand |

An object is an interaction body where it has `channel`, `customer`, or no member that interactions do not have. A
`type` that names no channel is one of `other`, and so is one of a channel whose details are required where `data` is no
interaction body: then the whole of it, or all from the channel's name on, is the kind.

The envelope under `source_fields` also says, under names that no attribute can have, which members of the interaction
are `not_in_data`, where these are more or less than `OUTSIDE`, and whether data stands in `attributes` (`data_is`): so
the event can be given back as it was.
"""

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, NamedTuple, get_args

from pydantic import TypeAdapter, ValidationError

from percorso import interaction
from percorso.details import Moment
from percorso.errors import Problem
from percorso.formats.cloudevents_data import Reader, carried
from percorso.interaction import CHANNELS

SPEC: Final = "1.0"
EVENT: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
ENVELOPE: Final = "cloudevents"
"""The member of `source_fields` that holds what an event has besides the interaction."""
OUTSIDE: Final = ("source", "id", "occurred_at")
"""The members of an interaction that `data` does not have, as a rule."""
OUR_TYPE: Final = "percorso.interaction"
"""What the type of an event begins with that did not come in as one; channel and kind follow."""

_REQUIRED: Final = ("specversion", "id", "source", "type")
_NO_EXTENSIONS: Final = frozenset({*_REQUIRED, "datacontenttype", "dataschema", "subject", "time"})
_OF_THE_INTERACTION: Final = frozenset({"specversion", "id", "source"})
"""Attributes that the interaction itself holds."""
_MEMBERS: Final = frozenset(interaction.PhoneInteraction.__annotations__)
_NEEDS_DETAILS: Final = frozenset(
    get_args(get_args(get_args(each.__annotations__["channel"])[0])[0])[0]
    for each in get_args(get_args(interaction.Interaction)[0])
    if "details" in each.__required_keys__
)
_ADDABLE: Final = (*OUTSIDE, "channel", "kind", "customer")
_STANDS_IN: Final = {
    "source": "/source", "id": "/id", "occurred_at": "/time", "channel": "/type", "kind": "/type",
    "customer": "/subject",
}  # fmt: skip
"""The attribute that tells a member which is not in data."""
_INT32: Final = range(-(2**31), 2**31)
_LONGEST_KIND: Final = 64
_MOST_PROBLEMS: Final = 50
"""How many are told of at most: an event may have thousands of attributes, and a batch of it thousands of events."""

_attribute_name: Final = re.compile(r"[a-z0-9]+").fullmatch
_media_type: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;.*)?", re.ASCII | re.DOTALL).fullmatch
_identifier: Final = re.compile(rf"({interaction.IDENTIFIER_KIND_PATTERN.strip('^$')}):(?!//)(.+)", re.DOTALL).fullmatch
_segments: Final = re.compile(r"[./:]")
_unfit: Final = re.compile(r"[^a-z0-9_.-]+")
_moment: Final = TypeAdapter(Moment).validate_python


class Mapped(NamedTuple):
    """An interaction's document; which of its members are `not_in_data`, and whether data is a `body` of one."""

    document: dict[str, Any]
    not_in_data: Collection[str]
    body: bool

    def retold(self, problem: Problem) -> Problem:
        """A problem of the document as one of the event."""
        pointer = problem.pointer
        first = pointer[1:].partition("/")[0]
        if not first:
            return problem
        if first in self.not_in_data:
            return Problem(_STANDS_IN[first], problem.detail)
        if pointer.startswith(f"/source_fields/{ENVELOPE}/"):
            return Problem(pointer.removeprefix(f"/source_fields/{ENVELOPE}"), problem.detail)
        return Problem(f"/data{pointer}" if self.body else pointer.removeprefix("/attributes"), problem.detail)


class Refused(NamedTuple):
    """What is wrong with an event, with pointers into it."""

    problems: Sequence[Problem]


class _Data(NamedTuple):
    """The payload of an event: an interaction's `body`, or else what `attributes` keep of it."""

    body: dict[str, Any] | None
    attributes: dict[str, Any] | None


def is_body(data: Mapping[str, Any]) -> bool:
    """Whether data is the body of an interaction."""
    return "channel" in data or "customer" in data or data.keys() <= _MEMBERS


def mapped(event: Any, read: Reader) -> Mapped | Refused:
    """The interaction that an event, as the JSON format has it, stands for; or what is wrong with the event.

    What the interaction itself must be like is not looked at here, but that it names a customer.
    """
    if not isinstance(event, dict):
        return Refused([Problem("", "must be an object: one CloudEvent")])
    attributes = {name: value for name, value in event.items() if value is not None and not name.startswith("data_")}
    attributes.pop("data", None)
    problems = [*islice(chain(_problems(attributes), _data_problems(event)), _MOST_PROBLEMS)]
    data = _data(event, read, problems)
    if problems:
        return Refused(problems)
    if data.body is None:
        return _of_anything(attributes, data)
    return _of_body(attributes, data.body)


def _problems(attributes: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the attributes."""
    found = [Problem(f"/{name}", "is required") for name in _REQUIRED if name not in attributes]
    for name, value in attributes.items():
        pointer = f"/{name.replace('~', '~0').replace('/', '~1')}"
        if not _attribute_name(name):
            found.append(Problem(pointer, "is no attribute: their names are lower-case letters and digits only"))
        elif name not in _NO_EXTENSIONS:
            if not isinstance(value, str | bool | int) or (isinstance(value, int) and value not in _INT32):
                found.append(Problem(pointer, "must be a string, a boolean or a whole number of 32 bits"))
        elif not isinstance(value, str):
            found.append(Problem(pointer, "must be a string"))
        elif not value:
            found.append(Problem(pointer, "must not be empty"))
        elif name == "specversion" and value != SPEC:
            found.append(Problem(pointer, f"must be {SPEC}"))
        elif name == "datacontenttype" and not _media_type(value):
            found.append(Problem(pointer, "must be a media type, such as application/json"))
        elif name == "time" and not _is_moment(value):
            found.append(Problem(pointer, "must be a date and time with an offset, such as 2026-11-20T10:00:00+01:00"))
    return found


def _is_moment(value: str) -> bool:
    try:
        _moment(value)
    except ValidationError:
        return False
    return True


def _data_problems(event: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the way in which data is given."""
    given = [name for name in event if name.startswith("data_")]
    found = [
        Problem(f"/{name.replace('~', '~0').replace('/', '~1')}", "is no member of an event; data_base64 is")
        for name in given
        if name != "data_base64"
    ]
    if event.get("data_base64") is not None and event.get("data") is not None:
        found.append(Problem("/data_base64", "must not be given beside data"))
    return found


def _data(event: Mapping[str, Any], read: Reader, problems: list[Problem]) -> _Data:
    """The payload; what is wrong with it is added to the problems."""
    value, encoded = event.get("data"), event.get("data_base64")
    if encoded is not None and not problems:
        try:
            raw = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
        except ValueError:
            raw = None
        if raw is None:
            problems.append(Problem("/data_base64", "must be base64"))
            return _Data(None, None)
        member, wrong = carried(event.get("datacontenttype"), raw, read)
        problems += [Problem("/data_base64", f"{each.pointer} {each.detail}".strip()) for each in wrong]
        if "data_base64" in member:
            return _Data(None, member)
        value = member["data"]
    if value is None:
        return _Data(None, None)
    if isinstance(value, dict) and is_body(value):
        return _Data(value, None)
    return _Data(None, {"data": value})


def _of_body(attributes: Mapping[str, Any], body: dict[str, Any]) -> Mapped | Refused:
    """The interaction of which `data` is the body."""
    problems = [
        Problem(f"/data/{name}", f"must be left out, or be the event's own {name}")
        for name in ("source", "id")
        if body.get(name) is not None and body[name] != attributes[name]
    ]
    fields = {} if body.get("source_fields") is None else body["source_fields"]
    if not isinstance(fields, dict):
        problems.append(Problem("/data/source_fields", "must be an object"))
    elif ENVELOPE in fields:
        problems.append(Problem(f"/data/source_fields/{ENVELOPE}", "is where the event's own attributes are kept"))
    document = {name: value for name, value in body.items() if value is not None}
    document |= {"source": attributes["source"], "id": attributes["id"]}
    if "time" in attributes and "occurred_at" not in document:
        document["occurred_at"] = attributes["time"]
    channel, kind = _told(attributes["type"])
    if "channel" not in document:
        document["channel"] = channel
        if "kind" not in document and kind is not None:
            document["kind"] = kind
    elif "kind" not in document and document["channel"] == channel != "other" and kind is not None:
        document["kind"] = kind
    problems += _add_customer(document, attributes)
    if problems:
        return Refused(problems)
    envelope = _envelope(attributes)
    added = [name for name in _ADDABLE if body.get(name) is None and (name in document or name in OUTSIDE)]
    if tuple(added) != OUTSIDE:
        envelope["not_in_data"] = added
    if body.get("occurred_at") is not None and "time" in attributes:
        envelope["time"] = attributes["time"]
    document["source_fields"] = {**fields, ENVELOPE: envelope}
    return Mapped(document, added, body=True)


def _of_anything(attributes: Mapping[str, Any], data: _Data) -> Mapped | Refused:
    """The interaction of an event whose data is none's body, or that has none."""
    channel, kind = _told(attributes["type"], bare=True)
    document: dict[str, Any] = {"source": attributes["source"], "id": attributes["id"], "channel": channel}
    if "time" in attributes:
        document["occurred_at"] = attributes["time"]
    if kind is not None:
        document["kind"] = kind
    if problems := _add_customer(document, attributes):
        return Refused(problems)
    envelope = _envelope(attributes)
    envelope["data_is"] = "none"
    if data.attributes is not None:
        envelope["data_is"] = "attributes"
        document["attributes"] = data.attributes
    document["source_fields"] = {ENVELOPE: envelope}
    return Mapped(document, _ADDABLE, body=False)


def _told(type_: str, *, bare: bool = False) -> tuple[str, str | None]:
    """What a type says of channel and kind.

    `bare` where there are no details, which some channels must have.
    """
    steps = _segments.split(type_.lower())
    at = next((index for index, step in enumerate(steps) if step in CHANNELS), None)
    if at is None:
        return "other", _slug(".".join(steps))
    if bare and steps[at] in _NEEDS_DETAILS:
        return "other", _slug(".".join(steps[at:]))
    return steps[at], _slug(".".join(steps[at + 1 :]))


def _slug(text: str) -> str | None:
    """A kind, of the end of the text where it is longer; None where nothing of it can be one."""
    return _unfit.sub("_", text)[-_LONGEST_KIND:].strip("_.-") or None


def _add_customer(document: dict[str, Any], attributes: Mapping[str, Any]) -> list[Problem]:
    """Take the customer from the subject where data has none; what is wrong where that has none either."""
    if "customer" in document:
        return []
    subject = attributes.get("subject")
    if subject is None:
        return [Problem("/subject", "is required as kind:value, such as email:anna@example.com: data has no customer")]
    named = _identifier(subject)
    if named is None:
        return [Problem("/subject", "must be kind:value, such as email:anna@example.com: data has no customer")]
    document["customer"] = {named[1]: named[2]}
    return []


def _envelope(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in _OF_THE_INTERACTION and name != "time"}


def event(document: Mapping[str, Any], *, subject: str | None) -> dict[str, Any]:
    """The event, in the JSON format, that an interaction came in as; else one of percorso's own about it.

    `subject` is whom such a one is about. What was added to the interaction since stands in `data`, unless that is no
    interaction's body: then it is as it was sent.
    """
    fields = document.get("source_fields")
    envelope = fields.get(ENVELOPE) if isinstance(fields, dict) else None
    made = {"specversion": SPEC, "id": document["id"], "source": document["source"]}
    if not isinstance(envelope, dict) or not isinstance(envelope.get("type"), str):
        steps = (OUR_TYPE, document["channel"], document.get("kind"))
        made |= {"type": ".".join(filter(None, steps)), "time": document["occurred_at"]}
        if subject is not None:
            made["subject"] = subject
        return made | {"datacontenttype": "application/json", "data": _without(document, OUTSIDE)}
    made |= {"time": document["occurred_at"]}
    made |= {
        name: value for name, value in envelope.items() if _attribute_name(name) and name not in _OF_THE_INTERACTION
    }
    kept = envelope.get("data_is")
    if kept is None:
        added = envelope.get("not_in_data")
        body = _without(document, added if isinstance(added, list) else OUTSIDE)
        others = {name: value for name, value in body.pop("source_fields", {}).items() if name != ENVELOPE}
        return made | {"data": body | ({"source_fields": others} if others else {})}
    stored = document.get("attributes") or {}
    return made | {name: stored[name] for name in ("data", "data_base64") if kept == "attributes" and name in stored}


def _without(document: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}
