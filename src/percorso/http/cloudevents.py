"""CloudEvents 1.0 over HTTP: events in, one or many, and the consent to have them sent; interactions out as events."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from percorso.errors import InvalidRequest, Problem, RejectedInteraction
from percorso.formats import cloudevents, cloudevents_binary
from percorso.formats.cloudevents import Mapped, Refused
from percorso.formats.splitting import split_array
from percorso.http import answers, batches, bodies, budgets, interactions
from percorso.http.access import May
from percorso.http.callers import Caller
from percorso.http.documents import examples
from percorso.http.documents.base import answers as documented
from percorso.http.documents.cloudevents import BODY, Handshake
from percorso.http.documents.interactions import Receipt
from percorso.http.parameters import only_known
from percorso.http.routing import DirectRoute
from percorso.http.services import Services, Use
from percorso.ingest.allowed import Allowed
from percorso.ingest.document import read
from percorso.ingest.foreign import structured
from percorso.ingest.identity import Identifiers
from percorso.ingest.pipeline import Pipeline
from percorso.ingest.verdict import Verdict
from percorso.queries.interactions import Found

router = APIRouter(
    prefix="/v1/cloudevents", tags=["CloudEvents"], route_class=DirectRoute, dependencies=[Depends(only_known)]
)

FORMAT: Final = "cloudevents"

_ORIGIN: Final = re.compile(r"[A-Za-z0-9.:/_*-]{1,255}")


class MayDeliver(May):
    """As `May`; the key may stand in the query too, as webhooks have it (RFC 6750, section 2.3)."""

    async def __call__(
        self,
        request: Request,
        access_token: Annotated[
            str | None, Query(description="The key, for senders that cannot send it as a header.")
        ] = None,
    ) -> Caller:
        """Raise Unauthorized or Forbidden, or give the caller."""
        if access_token is not None and "authorization" not in request.headers:
            return await self.checked(request, access_token.strip())
        return await super().__call__(request)


_ONE_OR_MANY: Final = {
    "description": "Stored before, with the same content; or, of a batch, the verdict on each.",
    "content": {
        "application/json": {
            "schema": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Receipt", "BatchReceipt")]},
            "example": examples.BATCH,
        }
    },
}


@router.post(
    "",
    summary="Store CloudEvents",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=documented(Receipt, 409, 408, 413, 415, status=201, says="Stored, and committed.") | {200: _ONE_OR_MANY},
    openapi_extra={"requestBody": BODY},
)
async def store_cloudevents(
    request: Request,
    key: Annotated[Caller, Depends(MayDeliver("ingest"))],
    use: Use,
    results: batches.Results = "failed",
) -> Response:
    """Store one event, structured or as `ce-` headers, or a batch of them. It is answered after the commit.

    The answer to one is that of `POST /v1/interactions`; the answer to a batch, of which one bad event never fails the
    rest, that of `POST /v1/interactions/batch`, with the same `results`. To send events again, with the same source and
    id, is safe.
    """
    content_type = request.headers.get("content-type")
    mode = cloudevents_binary.mode(content_type or "", request.scope["headers"])
    body = await bodies.whole(request, cap=use.settings.max_batch_bytes)
    most = use.settings.max_event_bytes
    if mode == "batch":

        async def take(chunk: Sequence[bytes]) -> list[Verdict]:
            events = [(raw, structured(raw, most)) for raw in chunk]
            return await _take(use.pipeline, events, key.allowed, wait=True)

        return await batches.receipt(_chunks(request, body, key, use), take, every=results == "all")
    event = (body, structured(body, most)) if mode == "structured" else _binary(request, body, most)
    [verdict] = await _take(use.pipeline, [event], key.allowed, wait=False)
    answer = interactions.answered(verdict)
    if "access_token" in request.query_params:
        answer.headers["Cache-Control"] = "no-store"
    return answer


@router.options(
    "",
    summary="Ask whether events may be sent here",
    response_class=Response,
    responses=documented(Handshake, says="They may; `WebHook-Allowed-Origin` says so to who asked."),
)
async def greet_cloudevents(request: Request, use: Use) -> Response:
    """Answer the handshake of CloudEvents webhooks: whoever has a key may send.

    With `WebHook-Request-Origin`, the answer has `WebHook-Allowed-Origin` and `WebHook-Allowed-Rate`. The
    rate is that of `PERCORSO_KEY_RATE`, in events a minute, or `*` where that is not set: where events come too fast,
    they are answered 429, or 503 where it is the service that cannot go on, both with `Retry-After`. The callback of
    `WebHook-Request-Callback` is not called, since the answer is given at once.
    """
    headers = {"Allow": "OPTIONS, POST"}
    origin = request.headers.get("webhook-request-origin")
    if origin is not None:
        if not _ORIGIN.fullmatch(origin):
            problems = [Problem("/headers/webhook-request-origin", "must be the name of a host")]
            raise InvalidRequest("The handshake cannot be answered.", problems=problems)
        rate = use.settings.key_rate
        allowed = "*" if rate is None else str(max(1, int(rate * 60)))
        headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": allowed}
    return answers.json_response({"accepts": [cloudevents.EVENT, cloudevents.BATCH], "binary": True}, headers=headers)


Read = tuple[bytes, Mapped | Refused]
"""An event as received, and what it stands for."""


def _binary(request: Request, body: bytes, most: int) -> Read:
    """What an event in binary mode stands for; as received counts the same event in the JSON format."""
    headers = request.scope["headers"]
    content_type = request.headers.get("content-type")
    too_large = len(body) > most
    event, problems = cloudevents_binary.event(headers, content_type, body, None if too_large else read)
    if too_large:
        problems = [Problem("/data", f"is {len(body)} bytes long; at most {most} are taken")]
    raw = json.dumps(event, ensure_ascii=False).encode()
    if problems:
        return raw, Refused(problems)
    # What a header holds is looked at as strictly as what stands in JSON.
    return raw, structured(raw, len(raw))


async def _take(pipeline: Pipeline, events: Sequence[Read], allowed: Allowed | None, *, wait: bool) -> list[Verdict]:
    """The verdicts on these events, in order."""
    mapped = [(raw, found) for raw, found in events if isinstance(found, Mapped)]
    refused = [(raw, found.problems) for raw, found in events if isinstance(found, Refused)]
    taken = await pipeline.take(
        [json.dumps(found.document, ensure_ascii=False).encode() for _, found in mapped],
        wait=wait,
        received=[raw for raw, _ in mapped],
        format=FORMAT,
        retold=lambda index, problem: mapped[index][1].retold(problem),
        allowed=allowed,
    )
    verdicts = iter([_erased(verdict, found) for verdict, (_, found) in zip(taken, mapped, strict=True)])
    refusals = iter(await pipeline.refuse(refused, format=FORMAT, allowed=allowed) if refused else ())
    return [next(verdicts if isinstance(found, Mapped) else refusals) for _, found in events]


def _erased(verdict: Verdict, found: Mapped) -> Verdict:
    """The verdict on what names someone who was erased points into the event as well."""
    if not verdict.erased:
        return verdict
    return msgspec.structs.replace(verdict, problems=[found.retold(problem) for problem in verdict.problems])


async def _chunks(request: Request, body: bytes, key: Caller, use: Services) -> AsyncGenerator[list[bytes], None]:
    """The events of a batch, as many at a time as are taken at once."""
    budgets.hold(request.scope, len(body))
    events = await asyncio.to_thread(split_array, body, most=use.settings.max_batch_items)
    await use.rates.spend(request, key, len(events) - 1)
    for chunk in batches.chunked(events):
        yield chunk


def page(items: Iterable[Found], identifiers: Identifiers, *, details: bool) -> bytes:
    """A page of interactions as a batch of events; without `details`, as in the same page of interactions.

    What came in as an event comes out as that event; of others the subject is whom the interaction is with, by the
    strongest identifier, and `data` is what its sender gave.
    """
    events = []
    for found in items:
        document = json.loads(found.document)
        event = cloudevents.event(document, subject=_subject(document, identifiers))
        if not details:
            event = _brief(event)
        events.append(event)
    return json.dumps(events, ensure_ascii=False).encode() + b"\n"


def _brief(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what is bulky: data that is no interaction's body is, whatever it holds."""
    data = event.get("data")
    brief = {name: value for name, value in event.items() if name not in {"data", "data_base64"}}
    if not isinstance(data, dict) or not cloudevents.is_body(data):
        return brief
    return brief | {"data": {name: value for name, value in data.items() if name not in answers.BULKY}}


def _subject(document: dict[str, Any], identifiers: Identifiers) -> str | None:
    try:
        first = identifiers.of(document["customer"])[0]
    except RejectedInteraction:
        # It was stored under other settings, such as another default region.
        return None
    return f"{first.kind}:{first.value}"
