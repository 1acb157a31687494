"""The data of a CloudEvent that came as bytes, as the JSON format has it: the same in every mode.

| media type | bytes | data |
| --- | --- | --- |
| JSON, or none | JSON | `data` |
| a form, as `curl -d` says of everything | a JSON object | `data` |
| JSON | what begins as JSON and is none | refused |
| JSON, or none | other UTF-8: SDKs say so of a text of which their caller says nothing | `data`, a text |
| text, XML, a form, in UTF-8 | UTF-8 | `data`, a text |
| anything else | anything else | `data_base64` |
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from percorso.errors import Problem

Reader = Callable[[bytes], tuple[Any, Sequence[Problem]]]
"""What reads JSON exactly: the value, and what is wrong with it."""

_FORM: Final = "application/x-www-form-urlencoded"
_JSON_BEGINS: Final = frozenset({b"{", b"[", b'"'})
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_json_type: Final = re.compile(r"[^/]+/(?:json|[^/]+\+json)").fullmatch
_text_type: Final = re.compile(r"text/.+|.+/xml|.+\+xml").fullmatch


def carried(media_type: str | None, raw: bytes, read: Reader) -> tuple[dict[str, Any], Sequence[Problem]]:
    """The member that carries these bytes, `data` or `data_base64`, and what is wrong with them as JSON."""
    kind = (media_type or "").partition(";")[0].strip().lower()
    as_json = not kind or _json_type(kind) is not None
    if as_json or kind == _FORM:
        value, wrong = read(raw)
        if not wrong and (as_json or isinstance(value, dict)):
            return {"data": value}, ()
        if wrong and kind and as_json and raw.lstrip()[:1] in _JSON_BEGINS:
            return as_text(raw), wrong
    if as_json or ((kind == _FORM or _text_type(kind)) and is_utf_8(media_type or "")):
        return as_text(raw), ()
    return _as_bytes(raw), ()


def as_text(raw: bytes) -> dict[str, Any]:
    """The member that carries bytes that are to be a text: as one, where they are and it can be stored."""
    if b"\0" not in raw:
        try:
            return {"data": raw.decode()}
        except UnicodeDecodeError:
            pass
    return _as_bytes(raw)


def is_utf_8(media_type: str) -> bool:
    """Whether a media type says nothing else of its text."""
    found = _CHARSET.search(media_type)
    return found is None or found[1].lower() in {"utf-8", "utf8", "us-ascii", "ascii"}


def _as_bytes(raw: bytes) -> dict[str, Any]:
    return {"data_base64": base64.b64encode(raw).decode()}
