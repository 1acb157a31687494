"""Every form in which the same interactions can be sent."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import zstandard

from faults.clients import Answer, Connection

KINDS: Final = ("single", "array", "ndjson")
ENCODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}

_DECODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": bytes,
    "gzip": lambda part: zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(part),
    "zstd": lambda part: zstandard.ZstdDecompressor().decompressobj().decompress(part),
}
_PIECE: Final = 1000
_PAUSE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of body, and its Content-Encoding."""

    kind: str
    encoding: str

    @property
    def path(self) -> str:
        """Where it is sent."""
        return "/v1/interactions" if self.kind == "single" else "/v1/interactions/batch?results=all"

    @property
    def headers(self) -> dict[str, str]:
        """What it says that it is."""
        headers = {"content_type": "application/x-ndjson" if self.kind == "ndjson" else "application/json"}
        return headers if self.encoding == "identity" else headers | {"content_encoding": self.encoding}

    def body(self, events: Sequence[bytes]) -> bytes:
        """These events, of which a single one can only take one."""
        match self.kind:
            case "single":
                [body] = events
            case "array":
                body = b"[" + b",".join(events) + b"]"
            case _:
                body = b"".join(event + b"\n" for event in events)
        return ENCODINGS[self.encoding](body)

    def whole(self, events: Sequence[bytes], part: bytes) -> int:
        """How many of these events are whole in the first part of their body, and may be taken from it."""
        if self.kind != "ndjson":
            return 0
        lines = _DECODINGS[self.encoding](part).split(b"\n")
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(lines, events, strict=False)))

    async def send(self, connection: Connection, events: Sequence[bytes]) -> list[dict[str, Any]]:
        """Send these events, again where that is refused with 503; what is said of each, in order."""
        if self.kind == "single":
            return [json.loads((await self._asked(connection, [event])).body) for event in events]
        said: list[dict[str, Any]] = json.loads((await self._asked(connection, events)).body)["results"]
        while again := [result["index"] for result in said if result["status"] == "retry"]:
            await asyncio.sleep(_PAUSE_SECONDS)
            for index, result in zip(again, await self.send(connection, [events[at] for at in again]), strict=True):
                said[index] = result | {"index": index}
        return said

    async def _asked(self, connection: Connection, events: Sequence[bytes]) -> Answer:
        body = self.body(events)
        while True:
            given = list(_pieces(body)) if self.kind == "ndjson" else body
            answer = await connection.ask("POST", self.path, given, **self.headers)
            if answer.status in {200, 201}:
                return answer
            assert answer.status == 503, answer
            assert int(answer.headers["retry-after"]) > 0, answer
            await asyncio.sleep(_PAUSE_SECONDS)


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


FORMATS: Final = tuple(Format(kind, encoding) for kind in KINDS for encoding in ENCODINGS)
