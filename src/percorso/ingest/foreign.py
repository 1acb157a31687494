"""What came in any format, as the interaction that it stands for: the same when it arrives and when it is replayed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from percorso.errors import Problem, RejectedInteraction
from percorso.formats import cloudevents, segment, tmf683
from percorso.formats.cloudevents import Mapped, Refused
from percorso.formats.segment_bodies import Sent
from percorso.ingest.document import read
from percorso.ingest.identity import Identifiers

Retold = Callable[[Problem], Problem]
"""Says of a problem of the interaction where it stands in what was received."""


@dataclass(frozen=True, slots=True)
class Received:
    """What was received, of at most `most` bytes, when, and from whom.

    `source` is the name of the key it came with, where its format does not say a source; `assigned` is the id that it
    gets where it has none.
    """

    payload: bytes
    source: str | None
    received_at: datetime
    assigned: str
    most: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """The JSON of an interaction, and where its problems are; `estimated` where its time depends on the receipt.

    `call` is what it was made of where that says traits of a customer too.
    """

    document: bytes
    retold: Retold
    estimated: bool = False
    call: segment.Call | None = None


def structured(raw: bytes, most: int) -> Mapped | Refused:
    """What an event in the JSON format, of at most so many bytes, stands for."""
    if len(raw) > most:
        return Refused([_too_large(raw, most)])
    event, problems = read(raw)
    return Refused(problems) if problems else cloudevents.mapped(event, read)


def resource(raw: bytes, most: int) -> tuple[Any, list[Problem]]:
    """What a resource says, and what is wrong with it as JSON; one of more than so many bytes is not looked into."""
    return (None, [_too_large(raw, most)]) if len(raw) > most else read(raw)


def interaction(received: Received, format_: str, identifiers: Identifiers) -> Foreign:
    """The interaction that something stands for that was received in this format.

    RejectedInteraction, with pointers into what was received, where it stands for none.
    """
    if format_ not in _FORMATS:
        raise _refusal(Problem("", f"came as {format_}: it cannot be replayed, but be sent again once it is mended"))
    return _FORMATS[format_](received, identifiers)


def _native(received: Received, _: Identifiers) -> Foreign:
    return Foreign(received.payload, lambda problem: problem)


def _event(received: Received, _: Identifiers) -> Foreign:
    found = structured(received.payload, received.most)
    if isinstance(found, Refused):
        raise _refusal(*found.problems)
    return Foreign(json.dumps(found.document, ensure_ascii=False).encode(), found.retold)


def _call(received: Received, identifiers: Identifiers) -> Foreign:
    call = segment.convert(
        received.payload,
        Sent([received.payload]),
        source=_source(received),
        received_at=received.received_at,
        fits=identifiers.fits,
    )
    return Foreign(call.document, lambda problem: problem, call.estimated, call)


def _resource(received: Received, _: Identifiers) -> Foreign:
    given, problems = resource(received.payload, received.most)
    if problems:
        raise _refusal(*problems)
    try:
        document = tmf683.interaction(given, received.payload, source=_source(received), assigned=received.assigned)
    except tmf683.CannotMap as error:
        raise _refusal(*error.problems) from None
    return Foreign(document, lambda problem: tmf683.at_resource([problem])[0])


_FORMATS: Final[Mapping[str, Callable[[Received, Identifiers], Foreign]]] = {
    "native": _native,
    "cloudevents": _event,
    "segment": _call,
    "tmf683": _resource,
}


def _source(received: Received) -> str:
    if received.source is None:
        raise _refusal(Problem("", "is not known by which key it was sent: it cannot be replayed"))
    return received.source


def _too_large(raw: bytes, most: int) -> Problem:
    return Problem("", f"is {len(raw)} bytes long; at most {most} are taken")


def _refusal(*problems: Problem) -> RejectedInteraction:
    return RejectedInteraction("It stands for no interaction.", problems=problems)
