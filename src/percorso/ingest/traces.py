"""Traces of an identifier: where a text holds it, and what a document says without it.

A value of seven characters or more is looked for in any text, whatever its case, and a phone number however its digits
are set apart; it must stand by itself, so that joanna@example.com is no trace of anna@example.com. A shorter one, such
as the number of a customer, stands in too many texts by chance: it is a trace only where its kind stands before it.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from percorso.ingest.identity import Identifiers
from percorso.storage.erasures import Erased
from percorso.storage.rejected import BETWEEN, Search

GONE: Final = "[erased]"
"""What stands where an identifier stood."""

_LONG: Final = 7
_LAST_ASCII: Final = 0x7F
_NUMBERS: Final = frozenset({"phone", "whatsapp"})
_BETWEEN: Final = f"[{BETWEEN}]*"
_ESCAPE: Final = r"(?<=\\[nrt])|(?<=\\[0-7]{3})"
"""A line break as JSON has it, or a byte that is no letter as Postgres has it: neither is part of a word."""
_NOT_BEFORE: Final = rf"(?:(?<![0-9A-Za-z_.+-])|{_ESCAPE})"
_NOT_AFTER: Final = r"(?![0-9A-Za-z_-])"
_NOTHING: Final = "(?!)"


def in_text(erased: Iterable[Erased]) -> "re.Pattern[str]":
    """What finds the long ones of these in a text."""
    found = [_by_itself(each, _plain) for each in erased if len(each.value) >= _LONG]
    return re.compile("|".join(found) or _NOTHING, re.IGNORECASE)


def in_bytes(erased: Sequence[Erased]) -> Search:
    """What finds these in bytes.

    It is for Postgres, on what `encode(…, 'escape')` makes of the bytes: those beyond ASCII stand there in octal.
    """
    found = [_by_itself(each, _escaped) if len(each.value) >= _LONG else _named(each) for each in erased]
    return Search("|".join(found), sorted({_needle(each) for each in erased}))


def in_query(query: str, erased: Iterable[Erased], pattern: "re.Pattern[str]") -> bool:
    """Whether a query string looks for one of these: the pattern finds it in a value, or a party's id is one.

    Or it is a customer that the feed is narrowed to, by whatever name.
    """
    erased = list(erased)
    named = {f"{each.kind}:{each.value}".casefold() for each in erased}
    ids = named | {each.value.casefold() for each in erased}
    customers = named | {str(each.identity_id) for each in erased}
    return any(
        pattern.search(value)
        or (name.endswith("Party.id") and value.strip().casefold() in ids)
        or (name == "customer" and value.strip().casefold() in customers)
        for name, value in ((name.strip(), value) for name, value in parse_qsl(query, keep_blank_values=True))
    )


def _by_itself(erased: Erased, spelt: Callable[[str], str]) -> str:
    if erased.kind in _NUMBERS:
        digits = _BETWEEN.join(re.sub("[^0-9]", "", erased.value))
        return rf"(?:(?<![0-9])|{_ESCAPE})(?:\+|00)?{_BETWEEN}{digits}(?![0-9])"
    return f"{_NOT_BEFORE}{spelt(erased.value)}{_NOT_AFTER}"


def _named(erased: Erased) -> str:
    return rf"{_escaped(erased.kind)}[\"']?[ ]*[:=,;][ ]*[\"']?{_escaped(erased.value)}{_NOT_AFTER}"


def _needle(erased: Erased) -> str:
    """A pattern of LIKE for what must be in every text with this one, once nothing of BETWEEN is."""
    value = re.sub("[^0-9]", "", erased.value) if erased.kind in _NUMBERS else _spelt(erased.value).lower()
    literal = value.translate(dict.fromkeys(map(ord, BETWEEN)))
    return "%" + re.sub(r"([%_\\])", r"\\\1", literal) + "%"


def _plain(value: str) -> str:
    return "".join(character if character.isalnum() else f"\\{character}" for character in value)


def _escaped(value: str) -> str:
    return _plain(_spelt(value))


def _spelt(value: str) -> str:
    """The value as `encode(…, 'escape')` has it."""
    doubled = value.replace("\\", "\\\\").encode()
    return "".join(chr(byte) if byte <= _LAST_ASCII else f"\\{byte:03o}" for byte in doubled)


def without(
    document: str, erased: Iterable[Erased], identifiers: Identifiers, pattern: "re.Pattern[str]"
) -> str | None:
    """An interaction's document without these identifiers, or None where it has none of them.

    From its customer they are taken away, in whatever form they were given; elsewhere GONE stands in the place of what
    the pattern finds.
    """
    given: dict[str, Any] = json.loads(document)
    ids = {each.identity_id for each in erased}

    def is_erased(kind: str, value: str) -> bool:
        try:
            return identifiers.one(kind, value).id in ids
        except ValueError:
            return False

    customer: dict[str, Any] = {}
    for kind, value in given["customer"].items():
        values = [each for each in ([value] if isinstance(value, str) else value) if not is_erased(kind, each)]
        if values:
            customer[kind] = values[0] if isinstance(value, str) else values
    kept = {name: member if name == "customer" else _cleaned(member, pattern) for name, member in given.items()}
    kept["customer"] = customer
    return None if kept == given else json.dumps(kept, ensure_ascii=False)


def _cleaned(value: Any, pattern: "re.Pattern[str]") -> Any:
    if isinstance(value, str):
        return pattern.sub(GONE, value)
    if isinstance(value, int) and pattern.search(str(value)):
        return GONE
    if isinstance(value, list):
        return [_cleaned(member, pattern) for member in value]
    if isinstance(value, dict):
        return {pattern.sub(GONE, name): _cleaned(member, pattern) for name, member in value.items()}
    return value
