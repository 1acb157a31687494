"""Segment's and RudderStack's calls, as their own clients send them: unchanged, but for where they send to.

A key is their write key, and its name the source of what they send. Bodies are read for what they are, since clients
label them at will. A call of a batch that cannot be taken goes into quarantine, and the others are stored.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from fastapi.security.base import SecurityBase

from percorso.errors import (
    Erased,
    Forbidden,
    InvalidRequest,
    NotFound,
    Problem,
    RejectedInteraction,
    Unauthorized,
    Unavailable,
)
from percorso.formats import segment, segment_bodies
from percorso.formats.segment import Call
from percorso.formats.segment_bodies import BATCHES, CALLS, Sent
from percorso.http import answers, bodies
from percorso.http.access import May, authorization
from percorso.http.callers import Caller
from percorso.http.documents.base import answers as documented
from percorso.http.documents.segment_calls import BODY, SegmentSettings, SegmentSuccess
from percorso.http.parameters import only_known
from percorso.http.routing import DirectRoute
from percorso.http.services import Services, Use
from percorso.ingest import say
from percorso.ingest.verdict import Verdict
from percorso.storage.database import writing
from percorso.storage.traits import Trait

router = APIRouter(
    prefix="/segment/v1",
    tags=["Segment and RudderStack"],
    route_class=DirectRoute,
    dependencies=[Depends(only_known)],
)

_CAP: Final = 4 * 1024 * 1024
_CAP_OF_STRANGERS: Final = 512 * 1024
"""Of a body that has to be read before it is known whose it is; clients whose bodies are larger say it in a header."""
_CHUNK: Final = 500
_SUCCESS: Final = b'{"success": true}'
_NAMES: Final = (*BATCHES, *CALLS)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A body, and the key that it came with."""

    key: Caller
    body: bytes


@contextmanager
def _malformed_is_bad_request() -> Iterator[None]:
    """What cannot be taken as it is gets the status that Segment gives it."""
    try:
        yield
    except InvalidRequest as error:
        error.status = HTTPStatus.BAD_REQUEST  # type: ignore[misc]
        raise


class _MayCall(SecurityBase):
    """A dependency: what was sent with a key that may ingest, as the user of Basic, as Bearer or as `writeKey`."""

    def __init__(self) -> None:
        self._may = May("ingest")
        self.model = self._may.model
        self.scheme_name = self._may.scheme_name

    async def __call__(self, request: Request) -> Delivery:
        """Raise Unauthorized or Forbidden, or give the body with the key."""
        key = _key_of(*authorization(request))
        known = None if key is None else await self._may.checked(request, key)
        with _malformed_is_bad_request():
            body = await bodies.read_unlabelled(request, cap=_CAP if known else _CAP_OF_STRANGERS)
        if known is None:
            key = segment_bodies.write_key_of(body)
            if not key:
                raise Unauthorized("Send a key as the user of `Authorization: Basic`, as Bearer or as `writeKey`.")
            known = await self._may.checked(request, key)
        return Delivery(known, body)


def _key_of(kind: str, given: str) -> str | None:
    """The key that `Authorization` gives; None where it gives none."""
    if kind == "basic" and given:
        try:
            return base64.b64decode(given, validate=True).decode().partition(":")[0]
        except ValueError:
            raise Unauthorized("The key is not valid.") from None
    return given if kind == "bearer" and given else None


@router.post(
    "/{call}",
    summary="Store what Segment's and RudderStack's clients send",
    response_class=Response,
    responses=documented(SegmentSuccess, 400, 404, 408, 413, 415, says="Committed."),
    openapi_extra={"requestBody": BODY},
)
async def store_segment_calls(
    request: Request,
    call: Annotated[str, Path(description=f"What is sent: {', '.join(_NAMES)}.")],
    sent: Annotated[Delivery, Depends(_MayCall())],
    use: Use,
) -> Response:
    """Store one call, or the calls of a `batch` or `import`. To send them again, with the same `messageId`s, is safe.

    One bad call never fails the rest: it goes into quarantine. The key is the write key; its name is the source.
    """
    if call not in _NAMES:
        raise NotFound(f"There is no such call; there are {', '.join(_NAMES)}.")
    with _malformed_is_bad_request():
        calls = segment_bodies.read(call, sent.body, most=use.settings.max_batch_items)
        await use.rates.spend(request, sent.key, len(calls.calls) - 1)
        if call in CALLS:
            _require_taken(await _store(calls, sent.key, use, wait=False))
        else:
            await _store_all(calls, sent.key, use)
    return Response(_SUCCESS, media_type="application/json")


async def _store_all(sent: Sent, key: Caller, use: Services) -> None:
    """Store all that can be stored. Unavailable: something is to be sent again. Forbidden: some may not be sent."""
    again = outside = False
    for begin in range(0, len(sent.calls), _CHUNK):
        chunk = Sent(sent.calls[begin : begin + _CHUNK], sent.type, sent.sent_at, sent.defaults)
        verdicts = await _store(chunk, key, use, wait=True)
        again |= any(verdict.status == "retry" for verdict in verdicts)
        outside |= any(verdict.forbidden for verdict in verdicts)
    if again:
        raise Unavailable("Not all could be stored at this moment; to send the same again is safe.", retry_after=1)
    if outside:
        raise Forbidden("The key may not send some of these calls, of which nothing is kept; the others are stored.")


async def _store(sent: Sent, key: Caller, use: Services, *, wait: bool) -> list[Verdict]:
    """Store these calls, and say of the customers what they say; verdicts, those on what cannot be taken last."""
    taken: list[Call] = []
    originals: list[bytes] = []
    refused: list[tuple[bytes, Sequence[Problem]]] = []
    senders: list[bytes] = []
    received_at = datetime.now(UTC)
    for call in sent.calls:
        try:
            taken.append(
                segment.convert(call, sent, source=key.name, received_at=received_at, fits=use.identifiers.fits)
            )
            originals.append(segment_bodies.received(call, sent))
        except RejectedInteraction as error:
            refused.append((segment_bodies.received(call, sent), error.problems))
            senders.append(segment.sender(call, source=key.name))
    verdicts: list[Verdict] = []
    if taken:
        verdicts = await use.pipeline.take(
            [each.document for each in taken],
            wait=wait,
            received=originals,
            format="segment",
            estimated={index for index, each in enumerate(taken) if each.estimated},
            allowed=key.allowed,
        )
        if said := list(_said(taken, verdicts, key, received_at, use)):
            async with writing(use.engine) as session:
                await say.traits_of_several(session, said, at=received_at, generation=use.deployment.generation)
    if refused:
        verdicts += await use.pipeline.refuse(refused, format="segment", senders=senders, allowed=key.allowed)
    return verdicts


def _said(
    taken: Sequence[Call], verdicts: Sequence[Verdict], key: Caller, received_at: datetime, use: Services
) -> Iterator[Trait]:
    """The traits that calls say that are stored."""
    told = say.Told(key.name, received_at, key.name)
    for call, verdict in zip(taken, verdicts, strict=True):
        yield from say.traits_of_call(call, verdict, told, use.identifiers)


def _require_taken(verdicts: Sequence[Verdict]) -> None:
    """Raise what says why a single call was not taken."""
    [verdict] = verdicts
    if verdict.erased:
        raise Erased("The call names someone who was erased. Nothing of it is kept.", problems=verdict.problems)
    if verdict.forbidden:
        raise Forbidden("The key may not send this: see `errors`. Nothing of it is kept.", problems=verdict.problems)
    if verdict.status == "rejected":
        raise RejectedInteraction(
            "The call cannot be stored as it is: see `errors`. It is kept in quarantine.",
            problems=verdict.problems,
            rejection_id=str(verdict.rejection_id),
        )
    if verdict.status == "retry":
        raise Unavailable("It cannot be stored at this moment.", retry_after=1)


@router.get(
    "/projects/{write_key}/settings",
    summary="What the browser library asks first",
    response_class=Response,
    responses=documented(SegmentSettings, 404, says="The settings: all goes here, and nowhere else."),
)
async def read_segment_settings(
    request: Request, write_key: Annotated[str, Path(description="The key that it was given; any is answered alike.")]
) -> Response:
    """Tell the browser library, whose `cdn` is set to this service's `/segment`, to send everything here.

    It says nothing about the key, valid or not.
    """
    host = request.url.netloc
    sends_to = {"apiKey": write_key, "apiHost": f"{host}/segment/v1", "protocol": request.url.scheme}
    everything = {"__default": {"enabled": True, "integrations": {}}}
    content = {
        "integrations": {"Segment.io": {**sends_to, "unbundledIntegrations": [], "maybeBundledConfigIds": {}}},
        "plan": {"track": everything, "identify": everything, "group": everything},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }
    return answers.json_response(content)
