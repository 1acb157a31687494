"""Which of the forms that are offered a caller wants: `Accept` by RFC 9110, section 12.5.1."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from percorso.errors import NotAcceptable

_ELEMENT: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETER: Final = re.compile(r';(?:[^;"]|"(?:[^"\\]|\\.)*"?)*')
_RANGE: Final = re.compile(r"(\*|[\w!#$&^.+-]+)/(\*|[\w!#$&^.+-]+)", re.ASCII)
_QUALITY: Final = re.compile(r";\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.ASCII | re.IGNORECASE)
_NAMED_Q: Final = re.compile(r";\s*q\s*=", re.IGNORECASE)


class _Range(NamedTuple):
    """A media range, such as `text/*`, and how welcome it is: from 0, not at all, to 1."""

    type: str
    subtype: str
    quality: float

    def fit(self, media_type: str) -> int:
        """How closely it names a media type: 3 by name, 2 by type, 1 as anything, 0 not at all."""
        type_, _, subtype = media_type.partition("/")
        if (self.type, self.subtype) == (type_, subtype):
            return 3
        if (self.type, self.subtype) == (type_, "*"):
            return 2
        return 1 if (self.type, self.subtype) == ("*", "*") else 0


def chosen(accept: Sequence[str], offered: Sequence[str]) -> str:
    """The media type, of those `offered`, that these `Accept` headers want most; NotAcceptable where they want none.

    What is named more closely wins over what is as welcome, and what is offered first over all that is alike. Where
    nothing is said, or nothing that can be read, the first will do.
    """
    ranges = [found for header in accept for element in _ELEMENT.findall(header) if (found := _read(element))]
    if not ranges:
        return offered[0]
    best, most = "", (0.0, 0)
    for media_type in offered:
        fit, quality = max(((each.fit(media_type), each.quality) for each in ranges), default=(0, 0.0))
        if fit and quality and (quality, fit) > most:
            best, most = media_type, (quality, fit)
    if not best:
        raise NotAcceptable(f"This is offered as {', '.join(offered)}.", offered=list(offered))
    return best


def _read(element: str) -> _Range | None:
    """One element of the header; its parameters but for `q` are passed over. None where it is no media range."""
    name, _, _ = element.partition(";")
    found = _RANGE.fullmatch(name.strip().lower())
    if found is None or (found[1] == "*" and found[2] != "*"):
        return None
    quality = 1.0
    for parameter in _PARAMETER.findall(element[len(name) :]):
        if _NAMED_Q.match(parameter):
            given = _QUALITY.fullmatch(parameter)
            if given is None:
                return None
            quality = float(given[1])
    return _Range(found[1], found[2], quality)
