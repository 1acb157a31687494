"""Request bodies as they arrive, decompressed, in pieces of bounded size whatever the client sends."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final, Protocol

import zstandard
from starlette.requests import ClientDisconnect, Request

from percorso.errors import BodyTooLarge, MalformedBody, Problem, UnsupportedEncoding
from percorso.http import budgets

PIECE: Final = 128 * 1024
"""The most bytes in one piece of a decoded body, and the most that a decoder makes at once."""

MAX_WINDOW: Final = 8 * 1024 * 1024
"""The most bytes a zstd stream may ask a reader to look back: the bound of RFC 9659, and of a decoder's memory."""

JSON: Final = frozenset({"", "application/json", "application/x-www-form-urlencoded"})
"""What a JSON body may say that it is, beside `…+json`: also nothing, or what `curl -d` says unless told otherwise."""

_PLAIN: Final = frozenset({b"", b"application/json"})
_SUSPICIOUS: Final = 16 * 1024 * 1024
_PAUSE_EVERY: Final = 1024 * 1024
_STEP: Final = 1024  # what a decoder's step that yields nothing counts for, so that those are paused for too

_GZIP_WITH_HEADER: Final = 16 + zlib.MAX_WBITS
_GZIP_BEGINS: Final = 0x1F

_ZSTD_MAGIC: Final = 0xFD2FB528
_ZSTD_SKIPPABLE: Final = range(0x184D2A50, 0x184D2A60)
_ZSTD_SKIPPABLE_HEADER: Final = 8
_ZSTD_LEAST_HEADER: Final = 5
_ZSTD_BLOCK_HEADER: Final = 3
_ZSTD_REPEATED_BYTE: Final = 1
_ZSTD_CHECKSUM: Final = 4


async def decoded(request: Request, *, max_ratio: int = 200, unlabelled: bool = False) -> AsyncGenerator[bytes, None]:
    """The body after its `Content-Encoding` is undone, in pieces of at most `PIECE` bytes, none empty.

    With `unlabelled`, what begins as gzip does is taken for that where no encoding is named.

    Raises UnsupportedEncoding for another encoding than gzip and zstd, or several; MalformedBody when the stream is
    damaged, cut short or followed by something else; BodyTooLarge when over 16 MiB come out of it and that is more
    than `max_ratio` times what went in. A client that hangs up is Starlette's ClientDisconnect.
    """
    decoder = _Recognised() if unlabelled and _encoding(request) == "identity" else _decoder(request)
    received = made = since_pause = 0
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            received += len(chunk)
            for piece in _fed(decoder, chunk):
                made += len(piece)
                if made > _SUSPICIOUS and made > max_ratio * received:
                    raise BodyTooLarge(f"The body decompresses to over {max_ratio} times its size.")
                if piece:
                    yield piece
                since_pause += len(piece) + _STEP
                if since_pause > _PAUSE_EVERY:
                    since_pause = 0
                    await asyncio.sleep(0)
    if received:
        decoder.finish()


def media_type(request: Request) -> str:
    """The `Content-Type`, in lower case and without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read(request: Request, *, cap: int, others: str = "") -> bytes:
    """The whole JSON body, decoded.

    Raises as `decoded` does, BodyTooLarge when it has more than `cap` bytes, and UnsupportedEncoding when it says that
    it is something else than JSON; `others` is what to send beside it.
    """
    kind = dict(request.scope["headers"]).get(b"content-type", b"")
    if kind not in _PLAIN and (kind := media_type(request)) not in JSON and not kind.endswith("+json"):
        raise UnsupportedEncoding(f"This Content-Type is not read here: send application/json{others}.")
    return await whole(request, cap=cap)


async def whole(request: Request, *, cap: int) -> bytes:
    """The whole body, decoded, whatever it says that it is.

    Raises as `decoded` does, BodyTooLarge when it has more than `cap` bytes, and Unavailable when all requests together
    hold too many.
    """
    headers = dict(request.scope["headers"])
    if b"content-encoding" not in headers:
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > cap:
            raise _over(cap)
        return await _plain(request, cap)
    return await _gathered(request, decoded(request), cap)


async def read_unlabelled(request: Request, *, cap: int) -> bytes:
    """The whole body, decoded, whatever it says that it is, also where it is gzip and does not say so.

    Raises as `decoded` does, and BodyTooLarge when it has more than `cap` bytes.
    """
    return await _gathered(request, decoded(request, unlabelled=True), cap)


async def _gathered(request: Request, arriving: AsyncGenerator[bytes, None], cap: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async with aclosing(arriving):
        async for piece in arriving:
            size += len(piece)
            if size > cap:
                raise _over(cap)
            budgets.hold(request.scope, len(piece))
            pieces.append(piece)
    return b"".join(pieces)


async def _plain(request: Request, cap: int) -> bytes:
    """The whole body where nothing is to be decoded: most arrive in one piece."""
    pieces: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(pieces[-1])
        if size > cap:
            raise _over(cap)
        budgets.hold(request.scope, len(pieces[-1]))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _over(cap: int) -> BodyTooLarge:
    mib, rest = divmod(cap, 1024 * 1024)
    return BodyTooLarge(f"The body is larger than {f'{mib} MiB' if mib and not rest else f'{cap} bytes'}.")


def _encoding(request: Request) -> str:
    listed = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    names = [name for part in listed if (name := part.strip()) not in {"", "identity"}]
    if not names:
        return "identity"
    if len(names) > 1:
        raise UnsupportedEncoding("The body is encoded more than once; one Content-Encoding is read, gzip or zstd.")
    if names[0] not in {"gzip", "x-gzip", "zstd"}:
        raise UnsupportedEncoding("This Content-Encoding is not read here: send gzip, zstd or identity.")
    return names[0].removeprefix("x-")


class _Decoder(Protocol):
    """Undoes one encoding: what comes out of each stretch of input, then whether the input ended where it may."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


def _decoder(request: Request) -> _Decoder:
    encoding = _encoding(request)
    if encoding == "gzip":
        return _Gzip()
    return _Zstd() if encoding == "zstd" else _Identity()


def _fed(decoder: _Decoder, chunk: bytes) -> Iterator[bytes]:
    # Decoders copy what is left of their input at each step: short stretches keep that linear for a large chunk.
    for at in range(0, len(chunk), PIECE):
        yield from decoder.feed(chunk[at : at + PIECE])


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        """Any end is a good one."""


class _Recognised:
    """gzip where the first byte is that of gzip, which begins no text; else what it is."""

    def __init__(self) -> None:
        self._decoder: _Decoder = _Identity()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if data and not self._begun:
            self._begun = True
            if data[0] == _GZIP_BEGINS:
                self._decoder = _Gzip()
        yield from self._decoder.feed(data)

    def finish(self) -> None:
        self._decoder.finish()


class _Gzip:
    """gzip, of one member or several (RFC 1952)."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or self._member:
            if self._member is None:
                self._member = zlib.decompressobj(_GZIP_WITH_HEADER)
            try:
                piece = self._member.decompress(data, PIECE)
            except zlib.error as error:
                raise _damaged("gzip") from error
            ended = self._member.eof
            data = self._member.unused_data if ended else self._member.unconsumed_tail
            if ended:
                self._member = None
            yield piece
            if not ended and not data and len(piece) < PIECE:
                return

    def finish(self) -> None:
        if self._member is not None:
            raise _cut_short("gzip")


class _Zstd:
    """zstd, of one frame or several (RFC 8878), decompressed block by block.

    The decompressor gives at once all that its input makes, and it is a block that never makes more than 128 KiB.
    """

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._blocks_ended = False
        self._skip = 0  # bytes of a skippable frame still to come
        self._waiting = bytearray()  # less than a header or a block

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._waiting += data
        while self._waiting:
            if self._skip:
                passed = min(self._skip, len(self._waiting))
                self._skip -= passed
                del self._waiting[:passed]
                yield b""
                continue
            size = self._part_size()
            if size is None or size > len(self._waiting):
                return
            part = bytes(self._waiting[:size])
            del self._waiting[:size]
            yield self._decompress(part)

    def finish(self) -> None:
        if self._frame is not None or self._skip or self._waiting:
            raise _cut_short("zstd")

    def _part_size(self) -> int | None:
        """How many bytes the next header, block or checksum has; None before enough of it is there to tell."""
        waiting = self._waiting
        if self._frame is None:
            if len(waiting) < _ZSTD_LEAST_HEADER:
                return None
            magic = int.from_bytes(waiting[:4], "little")
            if magic in _ZSTD_SKIPPABLE:
                return _ZSTD_SKIPPABLE_HEADER
            if magic != _ZSTD_MAGIC:
                raise _damaged("zstd")
            return zstandard.frame_header_size(bytes(waiting[:_ZSTD_LEAST_HEADER]))
        if self._blocks_ended:
            return _ZSTD_CHECKSUM
        if len(waiting) < _ZSTD_BLOCK_HEADER:
            return None
        header = int.from_bytes(waiting[:_ZSTD_BLOCK_HEADER], "little")
        size = 1 if header >> 1 & 3 == _ZSTD_REPEATED_BYTE else header >> 3
        if size > PIECE:
            raise _damaged("zstd")
        return _ZSTD_BLOCK_HEADER + size

    def _decompress(self, part: bytes) -> bytes:
        frame = self._frame
        if frame is None:
            if int.from_bytes(part[:4], "little") in _ZSTD_SKIPPABLE:
                self._skip = int.from_bytes(part[4:], "little")
                return b""
            frame = self._frame = self._begun(part)
        elif not self._blocks_ended:
            self._blocks_ended = part[0] & 1 == 1
        try:
            piece = frame.decompress(part)
        except zstandard.ZstdError as error:
            raise _damaged("zstd") from error
        if frame.eof:
            self._frame = None
        return piece

    def _begun(self, header: bytes) -> "zstandard.ZstdDecompressionObj":
        try:
            window = zstandard.get_frame_parameters(header).window_size
        except zstandard.ZstdError as error:
            raise _damaged("zstd") from error
        if window > MAX_WINDOW:
            raise _malformed("The zstd stream needs a window of over 8 MiB: compress it with a smaller one.")
        self._blocks_ended = False
        return self._decompressor.decompressobj()


def _malformed(detail: str) -> MalformedBody:
    return MalformedBody(detail, problems=[Problem("", detail)])


def _damaged(encoding: str) -> MalformedBody:
    return _malformed(f"The body is not a {encoding} stream, or a damaged one, or something else follows it.")


def _cut_short(encoding: str) -> MalformedBody:
    return _malformed(f"The body ended in the middle of the {encoding} stream.")
