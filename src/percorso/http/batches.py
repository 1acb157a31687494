"""Many interactions at once: a JSON array, or newline-delimited JSON of any length.

Items are taken in chunks; while one chunk is being committed the next is read. Memory stays bounded however long the
body is: results wait in a file once they are many.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from percorso.errors import MalformedBody, PercorsoError, Problem, TooManyRequests, Unavailable
from percorso.formats.splitting import Line, LineSplitter, split_array
from percorso.http import bodies, budgets
from percorso.http.access import MayIngest
from percorso.http.callers import Caller
from percorso.http.documents.base import answers as documented
from percorso.http.documents.interactions import BatchReceipt
from percorso.http.services import Use
from percorso.ingest.verdict import Verdict
from percorso.ops import metrics

router = APIRouter(prefix="/v1/interactions", tags=["Interactions"])

Item = TypeVar("Item")
Results = Annotated[Literal["failed", "all"], Query(description="`all` names every item, not only those not stored.")]

NDJSON: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_CHUNK_ITEMS: Final = 500
_CHUNK_BYTES: Final = 1024 * 1024
_IN_FLIGHT: Final = 4
_MOST_IN_MEMORY: Final = (_IN_FLIGHT + 2) * _CHUNK_BYTES
"""Of lines, however many there are: the chunks that are with the writer, the next, and what is split."""
_IN_MEMORY: Final = 1024 * 1024
_BEGINNING: Final = 64
_OR_LINES: Final = ", or application/x-ndjson for one interaction a line"

_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "array", "maxItems": 10_000, "items": {"$ref": "#/components/schemas/Interaction"}}
        },
        "application/x-ndjson": {"schema": {"$ref": "#/components/schemas/Interaction"}},
    },
}


@router.post(
    "/batch",
    summary="Store many interactions",
    response_class=Response,
    responses=documented(BatchReceipt, 408, 413, 415, says="Each item has its verdict; what is stored is committed."),
    openapi_extra={"requestBody": _BODY},
)
async def store_interactions(
    request: Request,
    key: MayIngest,
    use: Use,
    results: Results = "failed",
) -> Response:
    """Store a JSON array of interactions, or newline-delimited JSON (`application/x-ndjson`) of any length.

    One bad item never fails the rest. One that the key may not send is rejected, and nothing of it is kept. To send a
    batch again, with the same ids, is safe.
    """
    chunks = _lines(request, key, use) if bodies.media_type(request) in NDJSON else _array(request, key, use)
    return await receipt(
        chunks, lambda chunk: use.pipeline.take(chunk, wait=True, allowed=key.allowed), every=results == "all"
    )


async def receipt(
    chunks: AsyncGenerator[Sequence[Item], None],
    take: Callable[[Sequence[Item]], Awaitable[Sequence[Verdict]]],
    *,
    every: bool,
) -> Response:
    """Take each chunk of items while the next arrives; the answer names all that was not stored, or `every` item.

    `take` gives the verdicts on a chunk, in order, or raises Unavailable.
    """
    tally = _Tally(every=every)
    try:
        await _take_all(chunks, take, tally)
    except PercorsoError as error:
        error.members |= {"received": tally.received} | tally.counts
        tally.close()
        raise
    except BaseException:
        tally.close()
        raise
    metrics.BATCH_ITEMS.observe(tally.received)
    return StreamingResponse(tally.document(), media_type="application/json")


async def _take_all(
    chunks: AsyncGenerator[Sequence[Item], None],
    take: Callable[[Sequence[Item]], Awaitable[Sequence[Verdict]]],
    tally: "_Tally",
) -> None:
    """Take each chunk while the next arrives; where the body breaks, what came before is taken all the same.

    Raises what broke the body, or Unavailable where nothing of it could be stored.
    """
    flying: deque[asyncio.Task[Sequence[Verdict]]] = deque()
    broken: PercorsoError | None = None
    try:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    flying.append(asyncio.create_task(_take(take, chunk)))
                    if len(flying) >= _IN_FLIGHT:
                        tally.add(await flying.popleft())
        except PercorsoError as error:
            broken = error
        while flying:
            tally.add(await flying.popleft())
    finally:
        for task in flying:
            task.cancel()
    if broken is not None:
        raise broken
    if tally.received and tally.received == tally.counts["retry"]:
        raise Unavailable("Nothing could be stored.", retry_after=2)


async def _array(request: Request, key: Caller, use: Use) -> AsyncGenerator[list[Line]]:
    """Chunks of a JSON array, which is held in memory: it has at most 10,000 items in 16 MiB."""
    body = await bodies.read(request, cap=use.settings.max_batch_bytes, others=_OR_LINES)
    if body[:_BEGINNING].lstrip().startswith(b"{"):
        detail = "A JSON array begins with `[`; lines of JSON need `Content-Type: application/x-ndjson`."
        raise MalformedBody(detail, problems=[Problem("", detail)])
    # Its items are copies.
    budgets.hold(request.scope, len(body))
    # A hostile array takes seconds to split: in a thread, others are served meanwhile.
    items: Sequence[Line] = await asyncio.to_thread(split_array, body, most=use.settings.max_batch_items)
    await use.rates.spend(request, key, len(items) - 1)
    for chunk in chunked(items):
        yield chunk


async def _lines(request: Request, key: Caller, use: Use) -> AsyncGenerator[list[Line]]:
    """Chunks of newline-delimited JSON, as it arrives; where the body breaks, first the lines that were whole."""
    splitter = LineSplitter(use.settings.max_event_bytes)
    held: list[Line] = []
    size = in_memory = 0
    paid = 1
    broken: PercorsoError | None = None
    try:
        async with aclosing(bodies.decoded(request)) as pieces:
            async for piece in pieces:
                held += splitter.feed(piece)
                size += len(piece)
                if in_memory < _MOST_IN_MEMORY:
                    budgets.hold(request.scope, len(piece))
                    in_memory += len(piece)
                if len(held) >= _CHUNK_ITEMS or size >= _CHUNK_BYTES:
                    for chunk in chunked(held):
                        await use.rates.pace(request.scope, key, len(chunk) - paid)
                        paid = 0
                        yield chunk
                    held, size = [], 0
        held += splitter.finish()
    except TooManyRequests:
        # Of this nothing is taken any more: it would be more than the key may send.
        raise
    except PercorsoError as error:
        broken = error
    for chunk in chunked(held):
        await use.rates.pace(request.scope, key, len(chunk) - paid)
        paid = 0
        yield chunk
    if broken is not None:
        raise broken


def chunked(items: Sequence[Item]) -> Iterator[list[Item]]:
    """These items, so many at a time as are taken at once."""
    for start in range(0, len(items), _CHUNK_ITEMS):
        yield list(items[start : start + _CHUNK_ITEMS])


async def _take(
    take: Callable[[Sequence[Item]], Awaitable[Sequence[Verdict]]], chunk: Sequence[Item]
) -> Sequence[Verdict]:
    """The verdicts on a chunk; `retry` for all of it where the database could not take it."""
    try:
        return await take(chunk)
    except Unavailable:
        return [Verdict("retry")] * len(chunk)


class _Tally:
    """Counts verdicts, and keeps those that the answer is to name."""

    def __init__(self, *, every: bool) -> None:
        self.received = 0
        self.counts = dict.fromkeys(("stored", "duplicate", "conflict", "rejected", "retry"), 0)
        self._every = every
        self._named = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it is closed with the answer
        self._any = False

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Count the verdicts on the next items."""
        if not self._every and all(verdict.status == "stored" for verdict in verdicts):
            self.counts["stored"] += len(verdicts)
            self.received += len(verdicts)
            return
        for verdict in verdicts:
            self.counts[verdict.status] += 1
            if self._every or verdict.status != "stored":
                self._named.write((b"," if self._any else b"") + json.dumps(_result(self.received, verdict)).encode())
                self._any = True
            self.received += 1

    def document(self) -> Iterator[bytes]:
        """The answer, in pieces."""
        with self._named as named:
            counts = json.dumps({"received": self.received} | self.counts)
            yield counts[:-1].encode() + b', "results": ['
            named.seek(0)
            while piece := named.read(_IN_MEMORY):
                yield piece
            yield b"]}\n"

    def close(self) -> None:
        """Let go of the file."""
        self._named.close()


def _result(index: int, verdict: Verdict) -> dict[str, Any]:
    named = {
        "interaction_id": verdict.interaction_id,
        "customer_id": verdict.customer_id,
        "rejection_id": verdict.rejection_id,
    }
    result: dict[str, Any] = {"index": index, "status": verdict.status}
    result |= {name: str(value) for name, value in named.items() if value is not None}
    if verdict.problems:
        result["errors"] = [problem.as_json() for problem in verdict.problems]
    return result
