"""The way of an interaction in: validate, identify, write. The only place where these follow each other."""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.details import rfc3339
from percorso.errors import Problem, RejectedInteraction
from percorso.formats.splitting import Line, Oversized
from percorso.ingest import quarantine
from percorso.ingest.allowed import Allowed, forbidden
from percorso.ingest.consent import said_by, status_of
from percorso.ingest.event_schemas import EventSchemas
from percorso.ingest.identity import Identifiers
from percorso.ingest.reasons import code, reasons
from percorso.ingest.validate import parse
from percorso.ingest.verdict import Verdict
from percorso.ingest.writer import Writer
from percorso.interaction import DEFAULT_DIRECTION
from percorso.ops import current, metrics, tracing
from percorso.settings import Settings
from percorso.storage.deployment import Deployment
from percorso.storage.interactions import Row
from percorso.storage.rejected import Rejection

_outcome_of: Final = attrgetter("status", "erased", "forbidden")


class Pipeline:
    """Takes interactions as bytes and answers with verdicts; one a process."""

    def __init__(
        self,
        settings: Settings,
        deployment: Deployment,
        identifiers: Identifiers,
        writer: Writer,
        schemas: EventSchemas | None = None,
    ) -> None:
        self._salt = deployment.salt
        self._identifiers = identifiers
        self._writer = writer
        self._schemas = schemas or EventSchemas()
        self._max_future = timedelta(seconds=settings.max_future_seconds)
        self._max_bytes = settings.max_event_bytes

    async def take(
        self,
        items: Sequence[Line],
        *,
        wait: bool = False,
        received: Sequence[bytes] | None = None,
        format: str = "native",  # noqa: A002 - the column's name
        retold: Callable[[int, Problem], Problem] | None = None,
        estimated: Collection[int] = (),
        allowed: Allowed | None = None,
    ) -> list[Verdict]:
        """Store these interactions, each given as JSON, and say of each, in order, what became of it.

        What was mapped from another `format` is given with what it was `received` as, item by item: that is what
        quarantine keeps of those it takes, and `retold` says of a problem of the item at an index where it stands in
        that. The times of those at the places `estimated` depend on when they were received: sent again, they say the
        same with another time. Of what is not `allowed` nothing is kept.

        Returns after the commit. With `wait`, waits for room in the writer's queue; else raises Unavailable where there
        is none. Whatever is raised, nothing that was not committed has been acknowledged.
        """
        if self._schemas.due:
            await self._schemas.refresh()
        received_at = datetime.now(UTC)
        rows: list[Row] = []
        rejections: dict[int, Rejection] = {}
        outside: dict[int, Verdict] = {}
        with tracing.span("validate", **{"percorso.items": len(items)}):
            for index, item in enumerate(items):
                outcome = self._prepare(item, received_at, item if received is None else received[index], format)
                if allowed is not None and (wrong := _outside(allowed, item, outcome)):
                    outside[index] = forbidden([retold(index, each) for each in wrong] if retold else wrong)
                elif isinstance(outcome, Row):
                    outcome.time_assigned |= index in estimated
                    rows.append(outcome)
                elif retold is None:
                    rejections[index] = outcome
                else:
                    problems = [retold(index, problem) for problem in outcome.problems]
                    rejections[index] = replace(outcome, problems=problems, reasons=reasons(problems))
        if (traceparent := current.traceparent()) is not None:
            for row in rows:
                row.traceparent = traceparent
        with tracing.span("store"):
            verdicts = await self._writer.write(rows, list(rejections.values()), wait=wait)
        refused = {index: Verdict.rejected(each.id, each.problems) for index, each in rejections.items()} | outside
        for index in sorted(refused):
            verdicts.insert(index, refused[index])
        return _counted(verdicts)

    async def refuse(
        self,
        items: Sequence[tuple[bytes, Sequence[Problem]]],
        *,
        format: str,  # noqa: A002 - the column's name
        senders: Sequence[bytes | None] | None = None,
        allowed: Allowed | None = None,
    ) -> list[Verdict]:
        """Put items that cannot be made interactions into quarantine, with what is wrong with each.

        `senders` say of each, as the JSON of an interaction, who sent it and whom it names, where the item itself says
        so in another way; else an erasure of who is named there would not find it. Of what is seen not to be `allowed`
        nothing is kept.

        Returns after the commit. Waits for room in the writer's queue; raises Unavailable where nothing can be taken.
        """
        received_at = datetime.now(UTC)
        rejections: list[Rejection] = []
        verdicts: list[Verdict] = []
        for (payload, problems), sender in zip(items, senders or [None] * len(items), strict=True):
            if allowed is not None and (wrong := allowed.outside_unread(payload if sender is None else sender)):
                verdicts.append(forbidden(wrong))
                continue
            rejection = self._rejection(payload, problems, received_at, format=format, mapped=sender)
            rejections.append(rejection)
            verdicts.append(Verdict.rejected(rejection.id, rejection.problems))
        await self._writer.write((), rejections, wait=True)
        return _counted(verdicts)

    async def store(self, rows: Sequence[Row]) -> list[Verdict]:
        """Store what `row` made ready, and say of each, in order, what became of it; nothing enters quarantine.

        Returns after the commit. Waits for room in the writer's queue; raises Unavailable where nothing can be taken.
        """
        return _counted(await self._writer.write(rows, (), wait=True))

    def _prepare(self, item: Line, received_at: datetime, received: Line, format: str) -> Row | Rejection:  # noqa: A002 - the column's name
        if isinstance(item, Oversized):
            problems = (Problem("", f"is larger than {self._max_bytes} bytes"),)
            return self._rejection(item.head, problems, received_at, size=item.size, format=format)
        try:
            return self.row(item, received_at)
        except RejectedInteraction as error:
            payload = item if isinstance(received, Oversized) else received
            return self._rejection(payload, error.problems, received_at, format=format, mapped=item)

    def _rejection(
        self,
        payload: bytes,
        problems: Sequence[Problem],
        received_at: datetime,
        *,
        size: int | None = None,
        format: str = "native",  # noqa: A002 - the column's name
        mapped: bytes | None = None,
    ) -> Rejection:
        return quarantine.rejection(
            payload,
            problems,
            received_at=received_at,
            keep=self._max_bytes,
            size=size,
            format=format,
            identifiers=self._identifiers,
            mapped=mapped,
        )

    def row(self, raw: bytes, received_at: datetime) -> Row:
        """This interaction, ready to be stored; RejectedInteraction where it cannot be."""
        event = parse(raw, now=received_at, max_future=self._max_future, max_bytes=self._max_bytes)
        schema = self._schemas.of(event["channel"], event.get("kind"))
        if schema is not None:
            schema.check(raw, event)
        identifiers = self._identifiers.of(event["customer"])
        occurred_at = event.get("occurred_at")
        sender_id = event.get("id")
        document = raw
        if occurred_at is None or sender_id is None:
            sender_id = sender_id or secrets.token_hex(16)
            document = completed(document, event, {"id": sender_id, "occurred_at": rfc3339(received_at)})
        source = event["source"]
        channel = event["channel"]
        occurred_ms = ids.unix_ms(occurred_at or received_at)
        key = ids.dedup_key(self._salt, source, sender_id)
        identity_id = identifiers[0].id
        interaction_id = UUID(ids.interaction_id(occurred_ms, identity_id.bytes, key))
        status = status_of(event)
        return Row(
            key=UUID(key),
            id=interaction_id,
            identifiers=identifiers,
            received_at=received_at,
            occurred_ms=occurred_ms,
            source=source,
            touchpoint=event.get("touchpoint") or channel,
            channel=channel,
            kind=event.get("kind"),
            function=event.get("function"),
            direction=event.get("direction") or DEFAULT_DIRECTION[channel],
            document=document,
            time_assigned=occurred_at is None,
            consent=status
            and said_by(
                event,
                status,
                interaction_id=interaction_id,
                identity_id=identity_id,
                occurred_at=occurred_at or received_at,
                received_at=received_at,
            ),
        )


def _counted(verdicts: list[Verdict]) -> list[Verdict]:
    """These verdicts, after they were counted for the metrics."""
    for (status, erased, outside), times in Counter(map(_outcome_of, verdicts)).items():
        metrics.INTERACTIONS.labels("erased" if erased else "forbidden" if outside else status).inc(times)
    refused = Counter(code(each.problems) for each in verdicts if each.status == "rejected" and not each.forbidden)
    for reason, times in refused.items():
        metrics.REJECTED.labels(reason).inc(times)
    return verdicts


def _outside(allowed: Allowed, item: Line, outcome: Row | Rejection) -> list[Problem]:
    """What of an item is not allowed, as far as it can be read."""
    if isinstance(outcome, Row):
        return [] if allowed.takes(outcome) else allowed.outside(outcome.source, outcome.channel)
    return [] if isinstance(item, Oversized) else allowed.outside_unread(item)


def completed(document: bytes, event: Mapping[str, object], assigned: Mapping[str, str]) -> bytes:
    """The document with what percorso assigns where the sender said nothing, so that it is complete by itself."""
    missing = {name: value for name, value in assigned.items() if event.get(name) is None}
    if event.keys() & missing.keys():
        return json.dumps(json.loads(document) | missing, ensure_ascii=False).encode()
    return document.replace(b"{", b"{" + json.dumps(missing)[1:-1].encode() + b",", 1)
