"""CloudEvents in HTTP's binary mode: attributes in `ce-` headers, the data as the body.

| HTTP | CloudEvent |
| --- | --- |
| `ce-<name>` | the attribute `<name>`: unquoted where it is quoted, percent-decoded once, UTF-8 |
| `Content-Type` | `datacontenttype` |
| the body | `data` or `data_base64`, by `cloudevents_data` |
"""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from percorso.errors import Problem, UnsupportedEncoding
from percorso.formats import cloudevents_data
from percorso.formats.cloudevents import BATCH, EVENT
from percorso.formats.cloudevents_data import Reader

Mode = Literal["batch", "structured", "binary"]
Headers = Iterable[tuple[bytes, bytes]]
"""Header fields, their names in lower case."""

PREFIX: Final = b"ce-"
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


def mode(content_type: str, headers: Headers) -> Mode:
    """How a request carries events; UnsupportedEncoding where it carries none that is read here."""
    kind = content_type.strip().lower()
    plain = kind.partition(";")[0].strip()
    if kind.startswith("application/cloudevents"):
        if plain not in {BATCH, EVENT}:
            raise UnsupportedEncoding(f"This format of events is not read here: send {EVENT} or {BATCH}.")
        if not cloudevents_data.is_utf_8(kind):
            raise UnsupportedEncoding("Events in JSON are in UTF-8.")
        return "batch" if plain == BATCH else "structured"
    if any(name.startswith(PREFIX) for name, _ in headers):
        return "binary"
    raise UnsupportedEncoding(f"No CloudEvent is in this: send {EVENT}, {BATCH}, or the attributes as ce- headers.")


def event(
    headers: Headers, content_type: str | None, body: bytes, read: Reader | None
) -> tuple[dict[str, Any], list[Problem]]:
    """The event, as the JSON format has it, and what is wrong with the headers and the body.

    Without a reader, JSON is carried as the text that it is.
    """
    attributes, problems = _attributes(headers)
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    if not body:
        return attributes, problems
    if read is None:
        return attributes | cloudevents_data.as_text(body), problems
    data, wrong = cloudevents_data.carried(attributes.get("datacontenttype"), body, read)
    return attributes | data, [*problems, *(Problem(f"/data{each.pointer}", each.detail) for each in wrong)]


def _attributes(headers: Headers) -> tuple[dict[str, Any], list[Problem]]:
    attributes: dict[str, Any] = {}
    problems: list[Problem] = []
    for header, value in headers:
        if not header.startswith(PREFIX):
            continue
        name = header.removeprefix(PREFIX).decode("latin-1")
        pointer = f"/{name.replace('~', '~0').replace('/', '~1')}"
        if name in attributes:
            problems.append(Problem(pointer, "must not be given more than once"))
        elif name == "data" or name.startswith("data_"):
            problems.append(Problem(pointer, "is no attribute: the body is the data"))
        else:
            try:
                attributes[name] = decoded(value)
            except UnicodeDecodeError:
                attributes[name] = value.decode("latin-1")
                problems.append(Problem(pointer, "must be UTF-8 once it is percent-decoded"))
    return attributes, problems


def decoded(value: bytes) -> str:
    """The text that a header stands for; UnicodeDecodeError where it is no UTF-8."""
    value = value.strip()
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value).decode()
