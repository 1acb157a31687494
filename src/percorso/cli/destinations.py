"""Where imported interactions go: into the database, to a running service, or nowhere."""

import json
from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from percorso.app import serving
from percorso.errors import Problem, RejectedInteraction, StartupError, Unavailable
from percorso.formats.rows import Refused
from percorso.formats.splitting import Line, Oversized
from percorso.ingest.identity import Identifiers
from percorso.ingest.pipeline import Pipeline
from percorso.ingest.validate import parse
from percorso.ingest.verdict import Verdict
from percorso.settings import Settings

Content = Line | Refused
Take = Callable[[Sequence[Content]], Awaitable[Sequence[Verdict]]]
"""Takes items and gives the verdict on each, in order: `retry`, or Unavailable for all, where to try again is safe."""

_PATIENCE_SECONDS: Final = 120.0
_LONGEST_PAUSE: Final = 30
_TIMEOUT: Final = httpx.Timeout(60, connect=10)
_TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_FORMAT: Final = "csv"


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Take]:
    """The database of these settings, through the pipeline that a service has."""
    async with serving(settings) as services:
        yield lambda contents: _store(services.pipeline, contents)


@asynccontextmanager
async def service(url: str, key: str | None) -> AsyncIterator[Take]:
    """The service that runs at this URL, which knows this key; StartupError where it takes nothing from us."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise StartupError(f"{url} is no URL of a service, such as http://127.0.0.1:8000.")
    if not key:
        raise StartupError("The service wants a key with the scope ingest: give --key, or PERCORSO_KEY.")
    batch = f"{url.rstrip('/')}/v1/interactions/batch"
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    async with httpx.AsyncClient(headers=headers, timeout=_TIMEOUT) as client:
        yield lambda contents: _post(client, batch, contents)


@asynccontextmanager
async def nowhere(settings: Settings) -> AsyncIterator[Take]:
    """Nowhere: items are only judged, each by itself. What could be stored is said to be."""
    identifiers = Identifiers(b"", settings.default_region, settings.seen_identities)

    async def take(contents: Sequence[Content]) -> list[Verdict]:
        return [_judge(content, settings, identifiers) for content in contents]

    yield take


async def patiently(take: Take, contents: Sequence[Content]) -> list[Verdict]:
    """The verdict on each item, tried again until there is one; Unavailable after two minutes in which none came."""
    verdicts: dict[int, Verdict] = {}
    left = list(range(len(contents)))
    until, pause = monotonic() + _PATIENCE_SECONDS, 1
    while True:
        refusal = Unavailable("Interactions are not being taken.")
        try:
            taken = await take([contents[index] for index in left])
        except Unavailable as error:
            refusal, pause = error, min(max(pause, error.retry_after), _LONGEST_PAUSE)
        else:
            verdicts |= zip(left, taken, strict=True)
            again = [index for index in left if verdicts[index].status == "retry"]
            if not again:
                return [verdicts[index] for index in range(len(contents))]
            if len(again) < len(left):
                until, pause = monotonic() + _PATIENCE_SECONDS, 1
            left = again
        if monotonic() + pause > until:
            raise StartupError(f"{refusal.detail} What was counted is stored: to import the file again is safe.")
        await sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _store(pipeline: Pipeline, contents: Sequence[Content]) -> list[Verdict]:
    refused = [(content.document, content.problems) for content in contents if isinstance(content, Refused)]
    lines = [content for content in contents if not isinstance(content, Refused)]
    taken = iter(await pipeline.take(lines, wait=True))
    try:
        kept = iter(await pipeline.refuse(refused, format=_FORMAT))
    except Unavailable:
        kept = iter([Verdict("retry")] * len(refused))
    return [next(kept) if isinstance(content, Refused) else next(taken) for content in contents]


def _judge(content: Content, settings: Settings, identifiers: Identifiers) -> Verdict:
    if isinstance(content, Refused):
        return Verdict("rejected", problems=content.problems)
    if isinstance(content, Oversized):
        return Verdict("rejected", problems=[Problem("", f"is larger than {settings.max_event_bytes} bytes")])
    now, most = datetime.now(UTC), timedelta(seconds=settings.max_future_seconds)
    try:
        identifiers.of(parse(content, now=now, max_future=most, max_bytes=settings.max_event_bytes)["customer"])
    except RejectedInteraction as error:
        return Verdict("rejected", problems=error.problems)
    return Verdict("stored")


async def _post(client: httpx.AsyncClient, url: str, contents: Sequence[Content]) -> list[Verdict]:
    body = b"".join(_line(content) + b"\n" for content in contents)
    try:
        answer = await client.post(url, content=body)
    except httpx.TransportError as error:
        raise Unavailable(f"The service at {url} cannot be reached ({type(error).__name__}).") from error
    if answer.status_code in _TRY_AGAIN:
        after = answer.headers.get("retry-after", "")
        pause = int(after) if after.isdecimal() else 1
        raise Unavailable(f"The service answers {answer.status_code}.", retry_after=pause)
    receipt = _receipt(answer)
    if answer.status_code != HTTPStatus.OK or receipt.get("received") != len(contents):
        said = receipt.get("detail") or f"{HTTPStatus(answer.status_code).phrase}: is it percorso?"
        raise StartupError(f"The service at {url} does not take this. It answers {answer.status_code}: {said}")
    verdicts = [Verdict("stored")] * len(contents)
    for result in receipt["results"]:
        problems = [Problem(problem["pointer"], problem["detail"]) for problem in result.get("errors", ())]
        verdicts[result["index"]] = Verdict(result["status"], result.get("interaction_id"), problems=problems)
    return verdicts


def _line(content: Content) -> bytes:
    """What is sent for an item. What was refused here is sent with a member that makes it refused there too."""
    if isinstance(content, Refused):
        why = json.dumps([problem.as_json() for problem in content.problems]).encode()
        return content.document[:-1] + b',"import_problems":' + why + b"}"
    return (content.head.strip() or b"?") if isinstance(content, Oversized) else content


def _receipt(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        receipt = answer.json()
    except ValueError:
        return {}
    return receipt if isinstance(receipt, dict) else {}
