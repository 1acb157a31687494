"""What the text of one cell says: a number, a truth, a slug, a moment.

Each function makes a reader of cells once, for every row to use. A reader raises ValueError, with a sentence that does
not repeat the cell, where the text does not say such a thing.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

Reader = Callable[[str], Any]

_REMEMBERED: Final = 4096
"""Moments of one column that are kept: files repeat days, and to read one takes long."""
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER: Final = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_UNIX: Final = re.compile(r"-?[0-9]{1,17}(?:\.[0-9]{1,9})?")
_INTEGER: Final = re.compile(r"([+-]?)([0-9]+)")
_NO_SLUG: Final = re.compile(r"[^a-z0-9_.-]+")
_TRUTHS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def number(decimal: str) -> Reader:
    """Numbers with this decimal sign, as JSON with the same digits: 12.50 stays 12.50."""

    def read(cell: str) -> msgspec.Raw:
        text = cell if decimal == "." else cell.replace(".", "!").replace(decimal, ".")
        if _JSON_NUMBER.fullmatch(text):
            return msgspec.Raw(text.encode())
        found = _NUMBER.fullmatch(text)
        if found is None:
            raise ValueError(f"must be a number, such as 12{decimal}50")
        whole, _, fraction = found[2].partition(".")
        digits = (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
        return msgspec.Raw(f"{found[1].strip('+')}{digits}{found[3] or ''}".encode())

    return read


def integer(cell: str) -> msgspec.Raw:
    """A whole number."""
    found = _INTEGER.fullmatch(cell)
    if found is None:
        raise ValueError("must be a whole number")
    return msgspec.Raw(f"{found[1].strip('+')}{found[2].lstrip('0') or '0'}".encode())


def boolean(cell: str) -> bool:
    """A truth, in one of the usual words."""
    try:
        return _TRUTHS[cell.lower()]
    except KeyError:
        raise ValueError(f"must be one of {', '.join(_TRUTHS)}") from None


def slug(cell: str) -> str:
    """The cell in lower case, with `_` for everything that a slug cannot have."""
    made = _NO_SLUG.sub("_", cell.lower()).strip("_")
    if not made:
        raise ValueError("must have at least one letter or digit from a to z, 0 to 9")
    return made


def text(cell: str) -> str:
    """The cell itself."""
    return cell


def moment(format_: str, zone: str | None) -> Reader:
    """Moments of this format, as RFC 3339. Without an offset they are of this zone, the first where there are two."""
    parse = _PARSERS.get(format_, partial(_spelt_out, format_))
    tz = None if zone is None else UTC if zone == "UTC" else ZoneInfo(zone)
    wanted = "be a date and time as RFC 3339 writes them" if format_ == "rfc3339" else f"be of the format {format_}"

    @lru_cache(_REMEMBERED)
    def read(cell: str) -> str:
        try:
            found = parse(cell)
            if found.tzinfo is None and tz is not None:
                found = found.replace(tzinfo=tz)
            written = found.isoformat()
        except (ValueError, ArithmeticError):
            raise ValueError(f"must {wanted}, and exist") from None
        if found.tzinfo is None:
            raise ValueError("must have an offset, or the mapping a zone")
        return written.removesuffix("+00:00") + "Z" if written.endswith("+00:00") else written

    return read


def _since_1970(unit: timedelta, cell: str) -> datetime:
    if not _UNIX.fullmatch(cell):
        raise ValueError
    return _START + timedelta(microseconds=int(Decimal(cell) * (unit // timedelta(microseconds=1))))


def _spelt_out(format_: str, cell: str) -> datetime:
    return datetime.strptime(cell, format_)  # noqa: DTZ007 - the zone is added where there is no offset


_PARSERS: Final[dict[str, Callable[[str], datetime]]] = {
    "rfc3339": datetime.fromisoformat,
    "unix": partial(_since_1970, timedelta(seconds=1)),
    "unix_ms": partial(_since_1970, timedelta(milliseconds=1)),
}
