"""Bodies as clients send them: whole, compressed, in crumbs, cut short, forged and far too large."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from percorso.errors import BodyTooLarge, MalformedBody, UnsupportedEncoding
from percorso.http import bodies

MIB = 1024 * 1024
SKIPPABLE = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"

REPEATED_ZERO = (128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"  # a zstd block that makes 128 KiB

Compress = Callable[[bytes], bytes]


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zstd_of_unknown_size(data: bytes) -> bytes:
    compressing = zstandard.ZstdCompressor(level=1).compressobj()
    return (
        b"".join(
            compressing.compress(data[at : at + 1000]) + compressing.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            for at in range(0, len(data), 1000)
        )
        + compressing.flush()
    )


COMPRESSIONS = [("gzip", gzipped), ("zstd", zstd), ("zstd", zstd_of_unknown_size)]


def request_of(
    chunks: Iterable[bytes],
    *,
    encoding: str | None = None,
    headers: Mapping[str, str] | None = None,
    hang_up: bool = False,
) -> Request:
    """A request whose body comes in these chunks, after which the client may hang up."""
    arriving = iter(chunks)

    async def receive() -> Message:
        chunk = next(arriving, None)
        if chunk is not None:
            return {"type": "http.request", "body": chunk, "more_body": True}
        if hang_up:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    all_headers = dict(headers or {}) | ({"content-encoding": encoding} if encoding is not None else {})
    raw = [(name.encode(), value.encode()) for name, value in all_headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}, receive)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


async def whole(request: Request) -> bytes:
    pieces = [piece async for piece in bodies.decoded(request)]
    assert all(0 < len(piece) <= bodies.PIECE for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("encoding", [None, "", "identity", "Identity, identity"])
async def test_a_plain_body_comes_as_it_is(encoding: str | None) -> None:
    assert await whole(request_of([b"[1", b"", b",2]"], encoding=encoding)) == b"[1,2]"


async def test_a_plain_body_in_one_huge_chunk_comes_in_pieces() -> None:
    assert await whole(request_of([b"x" * MIB])) == b"x" * MIB


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSIONS)
@pytest.mark.parametrize("size", [1, 3, 1000, MIB])
async def test_a_compressed_body_is_the_same_in_chunks_of_any_size(
    encoding: str, compress: Compress, size: int
) -> None:
    data = b"".join(f'{{"id": "event-{number * 7919}"}}\n'.encode() for number in range(20_000))
    assert await whole(request_of(cut(compress(data), size), encoding=encoding)) == data


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 50), st.sampled_from(COMPRESSIONS))
@settings(max_examples=60)
def test_parts_compressed_one_by_one_come_as_one_body(
    parts: list[bytes], size: int, compression: tuple[str, Compress]
) -> None:
    encoding, compress = compression
    body = b"".join(map(compress, parts))
    assert asyncio.run(whole(request_of(cut(body, size), encoding=encoding))) == b"".join(parts)


@pytest.mark.parametrize("size", [1, 100])
async def test_a_skippable_zstd_frame_is_passed_over(size: int) -> None:
    body = SKIPPABLE + zstd(b"one") + SKIPPABLE + zstd(b"two") + SKIPPABLE
    assert await whole(request_of(cut(body, size), encoding="zstd")) == b"onetwo"


@pytest.mark.parametrize("label", ["GZIP", "x-gzip", " gzip , identity"])
async def test_gzip_is_known_by_its_other_labels(label: str) -> None:
    assert await whole(request_of([gzipped(b"hello")], encoding=label)) == b"hello"


@pytest.mark.parametrize("label", ["br", "deflate", "compress", "gzip, zstd", "gzip, gzip", "g zip"])
async def test_an_encoding_not_read_here_is_refused_and_those_read_are_named(label: str) -> None:
    with pytest.raises(UnsupportedEncoding, match=r"gzip.*zstd|zstd.*gzip"):
        await whole(request_of([gzipped(b"hello")], encoding=label))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_an_empty_body_is_empty_whatever_its_label(encoding: str) -> None:
    assert await whole(request_of([], encoding=encoding)) == b""


@pytest.mark.parametrize(("encoding", "body"), [(name, compress(b"hello" * 9)) for name, compress in COMPRESSIONS])
async def test_a_stream_cut_anywhere_is_malformed(encoding: str, body: bytes) -> None:
    for end in range(1, len(body)):
        with pytest.raises(MalformedBody, match=f"ended in the middle of the {encoding} stream"):
            await whole(request_of([body[:end]], encoding=encoding))


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b'{"not": "compressed"}'),
        ("gzip", zstd(b"hello")),
        ("gzip", zlib.compress(b"hello")),
        ("gzip", gzipped(b"hello") + b"and more"),
        ("gzip", gzipped(b"hello" * 50)[:-8] + bytes(8)),
        ("zstd", b'{"not": "compressed"}'),
        ("zstd", gzipped(b"hello")),
        ("zstd", zstd(b"hello") + b"and more"),
        ("zstd", zstd(b"hello" * 50)[:-4] + bytes(4)),
        ("zstd", bytes.fromhex("28b52ffd 0800 000000")),  # a reserved bit
        ("zstd", bytes.fromhex("28b52ffd 0000 ffffff")),  # a block of 2 MiB
        ("zstd", bytes.fromhex("28b52ffd 0000 030000") + zstd(b"")[:-1] + b"\xff"),  # a reserved kind of block
    ],
)
async def test_a_mislabelled_or_damaged_stream_is_malformed(encoding: str, body: bytes) -> None:
    with pytest.raises(MalformedBody) as refused:
        await whole(request_of(cut(body, 10), encoding=encoding))
    assert encoding in refused.value.detail
    assert refused.value.problems[0].pointer == ""


@given(st.binary(), st.sampled_from(COMPRESSIONS), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=150)
def test_any_damage_is_malformed_or_harmless(
    data: bytes, compression: tuple[str, Compress], at: int, byte: int
) -> None:
    encoding, compress = compression
    body = bytearray(compress(data))
    body[at % len(body)] = byte
    try:
        read = asyncio.run(whole(request_of([bytes(body)], encoding=encoding)))
    except MalformedBody:
        return
    assert isinstance(read, bytes)


@pytest.mark.parametrize("frame", ["28b52ffd 0070 010000", "28b52ffd 00ff 010000", "28b52ffd a0 00000080 010000"])
async def test_a_zstd_frame_with_a_huge_window_allocates_nothing(frame: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedBody):
            await whole(request_of([bytes.fromhex(frame)], encoding="zstd"))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


async def test_the_widest_window_that_is_allowed_is_read() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=23)
    compressing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressing.compress(b"hello") + compressing.flush()
    assert zstandard.get_frame_parameters(body).window_size == bodies.MAX_WINDOW
    assert await whole(request_of([body], encoding="zstd")) == b"hello"


def gzip_bomb() -> bytes:
    """A GiB of zeros, of which only the first two MiB need compressing."""
    compressing = zlib.compressobj(9, wbits=31)
    first, again = (compressing.compress(bytes(MIB)) + compressing.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 1023


def zstd_bomb() -> bytes:
    """A GiB of zeros: blocks of one byte repeated 128 KiB times."""
    return bytes.fromhex("28b52ffd 0038") + REPEATED_ZERO * 8192


@pytest.mark.parametrize(("encoding", "bomb"), [("gzip", gzip_bomb), ("zstd", zstd_bomb)])
async def test_a_gigabyte_of_zeros_is_refused_early_and_in_little_memory(
    encoding: str, bomb: Callable[[], bytes]
) -> None:
    body = bomb()
    sizes: list[int] = []

    async def drain() -> None:
        async for piece in bodies.decoded(request_of(cut(body, 65_536), encoding=encoding)):
            sizes.append(len(piece))  # noqa: PERF401 - what came before the refusal counts

    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="200 times"):
            await drain()
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()
    assert max(sizes) <= bodies.PIECE
    assert sum(sizes) <= 200 * 65_536 + 16 * MIB


async def test_a_high_ratio_is_no_fault_in_a_small_body() -> None:
    assert len(await whole(request_of([gzipped(bytes(10 * MIB))], encoding="gzip"))) == 10 * MIB


async def test_other_tasks_run_while_much_is_inflated() -> None:
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(another())
    await whole(request_of([gzipped(bytes(10 * MIB))], encoding="gzip"))
    running.cancel()
    assert turns >= 8


async def test_other_tasks_run_while_nothing_comes_out() -> None:
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(another())
    assert await whole(request_of([gzipped(b"") * 10_000], encoding="gzip")) == b""
    running.cancel()
    assert turns >= 8


@pytest.mark.parametrize(("encoding", "compress"), [(None, bytes), *COMPRESSIONS])
async def test_a_whole_body_is_read_up_to_its_cap(encoding: str | None, compress: Compress) -> None:
    body = compress(b"x" * 1000)
    assert await bodies.read(request_of([body], encoding=encoding), cap=1000) == b"x" * 1000
    with pytest.raises(BodyTooLarge, match="999 bytes"):
        await bodies.read(request_of([body], encoding=encoding), cap=999)


async def test_a_body_announced_over_the_cap_is_refused_unread() -> None:
    request = request_of([], headers={"content-length": str(17 * MIB)}, hang_up=True)
    with pytest.raises(BodyTooLarge, match="16 MiB"):
        await bodies.read(request, cap=16 * MIB)


async def test_no_more_than_the_cap_is_inflated() -> None:
    body = gzipped(bytes(15 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="1 MiB"):
            await bodies.read(request_of([body], encoding="gzip"), cap=MIB)
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", [None, "gzip", "zstd"])
async def test_a_client_that_hangs_up_is_no_malformed_body(encoding: str | None) -> None:
    for reading in (
        whole(request_of([], encoding=encoding, hang_up=True)),
        bodies.read(request_of([], hang_up=True), cap=9),
    ):
        with pytest.raises(ClientDisconnect):
            await reading
