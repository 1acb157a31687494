"""CloudEvents in HTTP's binary mode: attributes in `ce-` headers, the data as the body.

| HTTP | CloudEvent |
| --- | --- |
| `ce-<name>` | the attribute `<name>`: unquoted where it is quoted, percent-decoded once, UTF-8 |
| `Content-Type` | `datacontenttype` |
| a body of a JSON type, or of none that is JSON | `data` |
| a body of text or XML in UTF-8, or that says it is JSON and does not begin as such | `data`, a text |
| any other body | `data_base64` |
"""

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from percorso.errors import Problem, UnsupportedEncoding
from percorso.formats.cloudevents import BATCH, EVENT, Reader, is_json

Mode = Literal["batch", "structured", "binary"]
Headers = Iterable[tuple[bytes, bytes]]
"""Header fields, their names in lower case."""

PREFIX: Final = b"ce-"
_FORM: Final = "application/x-www-form-urlencoded"
"""What `curl -d` says of everything."""
_JSON_BEGINS: Final = frozenset({b"{", b"[", b'"'})
"""What is JSON where it is meant to be: the npm SDK says that it is of every text of which its sender says nothing."""
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_text_type: Final = re.compile(r"text/.+|.+/xml|.+\+xml|application/x-www-form-urlencoded").fullmatch


def mode(content_type: str, headers: Headers) -> Mode:
    """How a request carries events; UnsupportedEncoding where it carries none that is read here."""
    kind = content_type.strip().lower()
    plain = kind.partition(";")[0].strip()
    if kind.startswith("application/cloudevents"):
        if plain not in {BATCH, EVENT}:
            raise UnsupportedEncoding(f"This format of events is not read here: send {EVENT} or {BATCH}.")
        if not _is_utf_8(kind):
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
        return attributes | _carried(body, text=True), problems
    data, wrong = _data(attributes.get("datacontenttype"), body, read)
    return attributes | data, [*problems, *wrong]


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


def _data(media_type: str | None, body: bytes, read: Reader) -> tuple[dict[str, Any], Sequence[Problem]]:
    kind = (media_type or "").partition(";")[0].strip().lower()
    said = is_json(kind)
    if said or kind in {"", _FORM}:
        value, wrong = read(body)
        if not wrong and (said or not kind or isinstance(value, dict)):
            return {"data": value}, ()
        if wrong and said and body.lstrip()[:1] in _JSON_BEGINS:
            return _carried(body, text=True), [Problem(f"/data{each.pointer}", each.detail) for each in wrong]
    text = said or (_text_type(kind) is not None and _is_utf_8(media_type or ""))
    return _carried(body, text=text), ()


def _carried(body: bytes, *, text: bool) -> dict[str, Any]:
    """The body as text where it is to be text and can be stored so, else in base64."""
    if text and b"\0" not in body:
        try:
            return {"data": body.decode()}
        except UnicodeDecodeError:
            pass
    return {"data_base64": base64.b64encode(body).decode()}


def _is_utf_8(media_type: str) -> bool:
    found = _CHARSET.search(media_type)
    return found is None or found[1].lower() in {"utf-8", "utf8", "us-ascii", "ascii"}
