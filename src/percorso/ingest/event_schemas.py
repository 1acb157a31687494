"""The schemas that are in force in this process, and what came of checking interactions by them.

A schema is of one kind of interaction of a channel, or of all of its kinds that have none of their own (`*`, those
without a kind too). It is asked of the interaction as it was sent, or as it was mapped from another format, null for
null. Where it is enforced, what does not fit is refused; where it is reported, that is counted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import jiter
import structlog

from percorso.errors import InvalidRequest, RejectedInteraction, Unavailable
from percorso.ingest import faults
from percorso.ingest.faults import Fault
from percorso.ingest.json_schema import JsonSchema, compiled
from percorso.ops import logs, metrics
from percorso.storage.database import is_away
from percorso.storage.event_schemas import ANY_KIND, InForce, Mode, Version

_log = structlog.get_logger("percorso.schemas")

_MOST_PLACES: Final = 200
"""Places in a schema whose failures are counted at once, before they are written."""


@dataclass(slots=True)
class Tally:
    """What came of checking by a version: how many were checked, counted as wrong or refused, and where they failed.

    `places` are pointers into the schema, with how many interactions failed there and the sentence that says how.
    """

    checked: int = 0
    reported: int = 0
    refused: int = 0
    places: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, found: Sequence[Fault]) -> None:
        """Count an interaction that failed at these places."""
        for place, detail in {fault.place: fault.detail for fault in found}.items():
            times, _ = self.places.get(place, (0, ""))
            if times or len(self.places) < _MOST_PLACES:
                self.places[place] = times + 1, detail


@dataclass(frozen=True, slots=True, eq=False)
class EventSchema:
    """A schema in force."""

    version: Version
    mode: Mode
    schema: JsonSchema
    tally: Tally

    def check(self, raw: bytes, interaction: Mapping[str, Any]) -> None:
        """Check a valid interaction, given as JSON and as validated. Raises RejectedInteraction where it must fit.

        Most fit, which can be seen of what was validated, in a third of the time, where no moment is asked for.
        """
        self.tally.checked += 1
        if not self.schema.moments and self._fits(interaction):
            return
        # By the reader that validated it, so that both have read the same.
        document = jiter.from_json(raw)
        if not self.schema.validator.is_valid(document):
            self._failed(document, len(raw))

    def _fits(self, interaction: Mapping[str, Any]) -> bool:
        """Whether this is known to fit as validated; False is no proof."""
        try:
            return self.schema.validator.is_valid(interaction)
        except ValueError:
            # It came to a moment after all.
            return False

    def _failed(self, document: Any, size: int) -> None:
        found = faults.find(self.schema, document, size)
        self.tally.add(found)
        metrics.SCHEMA_FAILURES.labels(self.version.channel, self.version.kind, self.mode).inc()
        if self.mode == "report":
            self.tally.reported += 1
            return
        self.tally.refused += 1
        version = self.version
        judge = f"schema {version.channel}/{version.kind}, version {version.number}"
        problems = faults.problems(found, judge)
        raise RejectedInteraction(f"{problems[0].pointer or 'The body'} {problems[0].detail}", problems=problems)


Load = Callable[[Collection[Version]], Awaitable[Sequence[InForce]]]
"""Reads which versions are in force; of those that are given the text is known."""


class EventSchemas:
    """One a process. It knows what was in force at most `seconds` ago, and asks anew before that is too old.

    Without `load` there are no schemas.
    """

    def __init__(self, load: Load | None = None, seconds: float = 0) -> None:
        self._load = load
        self._seconds = seconds
        self._of: dict[str, dict[str, EventSchema]] = {}
        self._tallies: dict[Version, Tally] = {}
        self._until = float("inf") if load is None else 0.0
        self._asking: asyncio.Task[None] | None = None

    def of(self, channel: str, kind: str | None) -> EventSchema | None:
        """The schema that an interaction of this channel and kind must fit."""
        kinds = self._of.get(channel)
        return None if kinds is None else kinds.get(kind or ANY_KIND) or kinds.get(ANY_KIND)

    @property
    def due(self) -> bool:
        """Whether to `refresh` before what is known is used."""
        return self._until - monotonic() <= self._seconds / 2

    async def refresh(self) -> None:
        """Ask what is in force. Waits for the answer only where what is known is too old. Raises Unavailable."""
        asking = self._asking or self._ask()
        if self._until <= monotonic():
            try:
                await asyncio.shield(asking)
            except Exception as error:
                if is_away(error):
                    raise Unavailable("The database cannot be reached.", retry_after=2) from None
                raise

    async def forget(self) -> None:
        """Ask anew, after a change in this process."""
        self._until = 0.0
        self._asking = None
        await self.refresh()

    def take_tallies(self) -> Mapping[Version, Tally]:
        """What was counted since this was called last."""
        taken = {version: tally for version, tally in self._tallies.items() if tally.checked}
        for version in taken:
            # Schemas in force hold on to theirs.
            now = self._tallies[version]
            taken[version] = Tally(now.checked, now.reported, now.refused, now.places)
            now.checked = now.reported = now.refused = 0
            now.places = {}
        return taken

    def give_back(self, tallies: Mapping[Version, Tally]) -> None:
        """Count again what was taken and could not be written."""
        for version, tally in tallies.items():
            now = self._tallies.setdefault(version, Tally())
            now.checked += tally.checked
            now.reported += tally.reported
            now.refused += tally.refused
            for place, (times, detail) in tally.places.items():
                now.places[place] = now.places.get(place, (0, detail))[0] + times, detail

    def _ask(self) -> "asyncio.Task[None]":
        asking = self._asking = asyncio.create_task(self._asked())
        asking.add_done_callback(self._answered)
        return asking

    async def _asked(self) -> None:
        assert self._load is not None  # noqa: S101 - nothing is ever due without
        until = monotonic() + self._seconds
        known = {each.version: each for kinds in self._of.values() for each in kinds.values()}
        found = await self._load(known)
        if self._asking is not asyncio.current_task():
            return
        of: dict[str, dict[str, EventSchema]] = {}
        for version, mode, text in found:
            schema = known[version].schema if text is None else _read(version, text)
            if schema is None:
                continue
            tally = self._tallies.setdefault(version, Tally())
            of.setdefault(version.channel, {})[version.kind] = EventSchema(version, mode, schema, tally)
        self._of, self._until = of, until

    def _answered(self, asking: "asyncio.Task[None]") -> None:
        if self._asking is asking:
            self._asking = None
        if not asking.cancelled():
            # Where it failed, whoever waits is told; where no one does, the next chunk asks again.
            asking.exception()


def _read(version: Version, text: str) -> JsonSchema | None:
    """A schema that was taken once; None, with a line in the log, where this release takes it no more."""
    try:
        return compiled(jiter.from_json(text.encode()))
    except InvalidRequest as error:
        _log.error(
            "a schema in force cannot be read, so nothing is checked by it",
            **version._asdict(),
            **logs.described(error),
        )
        return None
