"""Every form in which the same interactions can be sent."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import zstandard

from faults.clients import Answer, Connection

Encode = Callable[[bytes], bytes]

ENCODINGS: Final[Mapping[str, Encode]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
KINDS: Final = ("single", "array", "ndjson")

_PIECE: Final = 1000


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of body, and its Content-Encoding."""

    kind: str
    encoding: str

    async def send(self, connection: Connection, events: Sequence[bytes]) -> list[dict[str, Any]]:
        """Send these events, again where that is refused with 503; what is said of each, in order."""
        if self.kind == "single":
            return [json.loads((await self._asked(connection, "", event)).body) for event in events]
        array = self.kind == "array"
        body = b"[" + b",".join(events) + b"]" if array else b"\n".join(events)
        said: list[dict[str, Any]] = json.loads((await self._asked(connection, "/batch?results=all", body)).body)[
            "results"
        ]
        while again := [result["index"] for result in said if result["status"] == "retry"]:
            for index, result in zip(again, await self.send(connection, [events[at] for at in again]), strict=True):
                said[index] = result
        return said

    async def _asked(self, connection: Connection, path: str, body: bytes) -> Answer:
        encoded = ENCODINGS[self.encoding](body)
        headers = {"content_type": "application/x-ndjson" if self.kind == "ndjson" else "application/json"}
        if self.encoding != "identity":
            headers["content_encoding"] = self.encoding
        while True:
            given = list(_pieces(encoded)) if self.kind == "ndjson" else encoded
            answer = await connection.ask("POST", f"/v1/interactions{path}", given, **headers)
            if answer.status in {200, 201}:
                return answer
            assert answer.status == 503, answer
            assert int(answer.headers["retry-after"]) > 0, answer


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


FORMATS: Final = tuple(Format(kind, encoding) for kind in KINDS for encoding in ENCODINGS)
