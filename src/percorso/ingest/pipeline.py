"""The way of an interaction in: validate, identify, write. The only place where these follow each other."""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import Problem, RejectedInteraction
from percorso.formats.splitting import Line, Oversized
from percorso.ingest import quarantine
from percorso.ingest.consent import said_by, status_of
from percorso.ingest.identity import Identifiers
from percorso.ingest.validate import parse
from percorso.ingest.verdict import Verdict
from percorso.ingest.writer import Writer
from percorso.interaction import DEFAULT_DIRECTION, Interaction
from percorso.ops import metrics
from percorso.settings import Settings
from percorso.storage.deployment import Deployment
from percorso.storage.interactions import Row
from percorso.storage.rejected import Rejection


class Pipeline:
    """Takes interactions as bytes and answers with verdicts; one a process."""

    def __init__(self, settings: Settings, deployment: Deployment, identifiers: Identifiers, writer: Writer) -> None:
        self._salt = deployment.salt
        self._identifiers = identifiers
        self._writer = writer
        self._max_future = timedelta(seconds=settings.max_future_seconds)
        self._max_bytes = settings.max_event_bytes

    async def take(self, items: Sequence[Line], *, wait: bool = False) -> list[Verdict]:
        """Store these interactions, each given as JSON, and say of each, in order, what became of it.

        Returns after the commit. With `wait`, waits for room in the writer's queue; else raises Unavailable where
        there is none. Whatever is raised, nothing that was not committed has been acknowledged.
        """
        received_at = datetime.now(UTC)
        outcomes = [self._prepare(item, received_at) for item in items]
        rows = [outcome for outcome in outcomes if isinstance(outcome, Row)]
        rejections = [outcome for outcome in outcomes if isinstance(outcome, Rejection)]
        written = iter(await self._writer.write(rows, rejections, wait=wait))
        return _counted(
            next(written) if isinstance(outcome, Row) else Verdict.rejected(outcome.id, outcome.problems)
            for outcome in outcomes
        )

    async def refuse(self, items: Sequence[tuple[bytes, Sequence[Problem]]], *, format: str) -> list[Verdict]:  # noqa: A002 - the column's name
        """Put items that cannot be made interactions into quarantine, with what is wrong with each.

        Returns after the commit. Waits for room in the writer's queue; raises Unavailable where nothing can be taken.
        """
        received_at = datetime.now(UTC)
        rejections = [
            quarantine.rejection(payload, problems, received_at=received_at, keep=self._max_bytes, format=format)
            for payload, problems in items
        ]
        await self._writer.write((), rejections, wait=True)
        return _counted(Verdict.rejected(rejection.id, rejection.problems) for rejection in rejections)

    def _prepare(self, item: Line, received_at: datetime) -> Row | Rejection:
        if isinstance(item, Oversized):
            problems = (Problem("", f"is larger than {self._max_bytes} bytes"),)
            return quarantine.rejection(
                item.head, problems, received_at=received_at, keep=self._max_bytes, size=item.size
            )
        try:
            return self._row(item, received_at)
        except RejectedInteraction as error:
            return quarantine.rejection(item, error.problems, received_at=received_at, keep=self._max_bytes)

    def _row(self, raw: bytes, received_at: datetime) -> Row:
        event = parse(raw, now=received_at, max_future=self._max_future, max_bytes=self._max_bytes)
        identifiers = self._identifiers.of(event["customer"])
        occurred_at = event.get("occurred_at")
        sender_id = event.get("id")
        document = raw
        if occurred_at is None or sender_id is None:
            sender_id = sender_id or secrets.token_hex(16)
            document = _completed(document, event, {"id": sender_id, "occurred_at": _rfc3339(received_at)})
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


def _counted(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """These verdicts, after they were counted for the metrics."""
    given = list(verdicts)
    for status, times in Counter(verdict.status for verdict in given).items():
        metrics.INTERACTIONS.labels(status).inc(times)
    return given


def _completed(document: bytes, event: Interaction, assigned: Mapping[str, str]) -> bytes:
    """The document with what percorso assigns where the sender said nothing, so that it is complete by itself."""
    missing = {name: value for name, value in assigned.items() if event.get(name) is None}
    if event.keys() & missing.keys():
        return json.dumps(json.loads(document) | missing, ensure_ascii=False).encode()
    return document.replace(b"{", b"{" + json.dumps(missing)[1:-1].encode() + b",", 1)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
