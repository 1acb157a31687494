"""Where one item of a body ends and the next begins, without reading what is inside.

An array of interactions, or lines of them, is cut into the bytes of each, exactly as received, so that each is judged
alone and a bad one never fails its neighbours.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from percorso.errors import BodyTooLarge, MalformedBody, Problem

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_CARRIAGE_RETURN = 0x0D
_OPENING, _CLOSING = b"[{", b"]}"

# Above this many commas an array may be of millions of tiny items, which must be counted before they are all kept.
_MANY_COMMAS = 1_000_000

_raw_items = msgspec.json.Decoder(list[msgspec.Raw])


def _skipping(plain: bytes) -> re.Pattern[bytes]:
    """A pattern over strings, values nested a few levels deep, and runs of `plain`. It never backtracks."""
    string = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
    inner = rb'[^"\[\]{}]++|' + string
    nested = inner
    # What ordinary interactions nest is passed over in one match; deeper levels are counted, one match each.
    for _ in range(6):
        nested = rb"%s|[\[{](?:%s)*+[\]}]" % (inner, nested)
    return re.compile(rb"(?:%s|%s|[\[{](?:%s)*+[\]}])*+" % (plain, string, nested), re.DOTALL)


_between_items = _skipping(rb'[^"\[\]{},]++')
_inside_item = _skipping(rb'[^"\[\]{}]++')
_opening_run = re.compile(rb"[\[{]++")
_closing_run = re.compile(rb"[\]}]++")
_spaces = re.compile(rb"[ \t\r\n]*+")
_blank_lines = re.compile(rb"\n(?:[ \t\r]{0,8}\n)++")
_SHORT: Final = 8
"""Lines shorter than this on average are mostly blank: passed over all at once, they cost little."""


def split_array(body: bytes | memoryview, *, most: int | None = None) -> list[bytes]:
    """The bytes of each item of a JSON array, without the white space around them.

    An item need not be valid: only what separates items must be. A byte order mark before the array is passed over.
    Raises MalformedBody, saying where, when the body is not one array; BodyTooLarge when it has over `most` items.
    """
    body = bytes(body)
    start = len(_BOM) if body.startswith(_BOM) else 0
    if most is None or body.count(b",") <= _MANY_COMMAS:
        try:
            raw = _raw_items.decode(body[start:])
        except (msgspec.MsgspecError, RecursionError):
            pass
        else:
            if most is not None and len(raw) > most:
                raise _too_many(most)
            return [bytes(item) for item in raw]
    return _split_tolerantly(body, start, most)


def _split_tolerantly(body: bytes, start: int, most: int | None) -> list[bytes]:
    """Split by strings, brackets and commas alone, in time linear in the body's length."""
    at = _after(_spaces, body, start)
    if body[at : at + 1] != b"[":
        raise _broken(body, at, "a JSON array, which begins with `[`")
    items: list[bytes] = []
    while True:
        begin = at + 1
        at = _end_of_item(body, begin)
        item = body[begin:at].strip(_SPACE)
        last = body[at : at + 1] == b"]"
        if item:
            items.append(item)
        elif items or not last:
            raise _broken(body, at, "an item")
        if most is not None and len(items) > most:
            raise _too_many(most)
        if last:
            break
    end = _after(_spaces, body, at + 1)
    if end != len(body):
        raise _broken(body, end, "nothing after the array")
    return items


def _end_of_item(body: bytes, begin: int) -> int:
    """The offset of the comma or `]` that ends the item beginning at `begin`.

    Brackets are counted whatever their kind: an item that mixes them up is bad by itself, and its end is still clear.
    """
    depth = 0
    at = _after(_between_items, body, begin)
    while at < len(body):
        byte = body[at]
        if byte in _OPENING:
            end = _after(_opening_run, body, at)
            depth += end - at
            at = end
        elif byte in _CLOSING and depth:
            closed = min(depth, _after(_closing_run, body, at) - at)
            depth -= closed
            at += closed
        elif byte in b",]":
            return at
        elif byte in b"}":
            raise _broken(body, at, "`,` or `]`")
        else:
            raise _broken(body, at, "a string with a closing quote")
        at = _after(_inside_item if depth else _between_items, body, at)
    raise _broken(body, at, "the array to go on and end with `]`")


def _after(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    """The offset after what `pattern` matches at `at`, which may be nothing."""
    match = pattern.match(body, at)
    return match.end() if match else at


def _broken(body: bytes, at: int, expected: str) -> MalformedBody:
    line = body.count(b"\n", 0, at) + 1
    column = at - body.rfind(b"\n", 0, at)
    place = f"byte {at} (line {line}, column {column})"
    detail = f"The body ends at {place}" if at == len(body) else f"The array is broken at {place}"
    detail = f"{detail}: expected {expected}."
    return MalformedBody(detail, problems=[Problem("", detail)])


def _too_many(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"The array has more than {most} items: send several arrays, or newline-delimited JSON.")


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line over the limit: its first bytes, up to the limit, and its whole length in bytes."""

    head: bytes
    size: int


Line: TypeAlias = bytes | Oversized


class LineSplitter:
    r"""Lines out of chunks of any size, holding no more than one line of `max_line` bytes between them.

    Lines end with `\n` or `\r\n`, and come without the white space around them; blank ones are passed over, and so is
    a byte order mark at the very start. A longer line comes as one `Oversized` when it has ended.
    """

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._mark: bytes | None = b""  # the first bytes, while they may still become a byte order mark
        self._held = bytearray()  # the unfinished line, up to its limit and a carriage return
        self._size = 0  # its whole length so far
        self._last = 0  # its last byte

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that end in this chunk."""
        if self._mark is not None:
            chunk = self._mark + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._mark = chunk
                return []
            self._mark = None
            chunk = chunk.removeprefix(_BOM)
        if self._max_line > _SHORT and chunk.count(b"\n") > len(chunk) // (2 * _SHORT):
            chunk = _blank_lines.sub(b"\n", chunk)
        first, *others = chunk.split(b"\n")
        self._hold(first)
        if not others:
            return []
        unfinished = others.pop()
        lines: list[Line] = []
        self._take(lines)
        limit = self._max_line
        for line in others:
            if len(line) > limit:
                self._hold(line)
                self._take(lines)
            elif stripped := line.strip(_SPACE):
                lines.append(stripped)
        self._hold(unfinished)
        return lines

    def finish(self) -> list[Line]:
        r"""The last line, when the stream did not end with `\n`."""
        if self._mark is not None:
            self._hold(self._mark)
            self._mark = None
        lines: list[Line] = []
        self._take(lines)
        return lines

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self._size += len(piece)
        self._last = piece[-1]
        room = self._max_line + 1 - len(self._held)
        if room > 0:
            self._held += piece[:room]

    def _take(self, lines: list[Line]) -> None:
        size = self._size - (self._last == _CARRIAGE_RETURN)
        if size > self._max_line:
            lines.append(Oversized(bytes(self._held[: self._max_line]), size))
        elif line := bytes(self._held).strip(_SPACE):
            lines.append(line)
        self._held.clear()
        self._size = self._last = 0
