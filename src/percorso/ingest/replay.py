"""What stands in quarantine, stored after all: as it was received, or mended by a patch.

1. Ready: the patch is applied to what was received, which is then mapped as it was when it came, and validated. An item
   keeps its source and id; one without an id gets one made of its rejection's, one without a time that of its receipt.
2. Claimed: under which key it will be stored is put down, and committed.
3. Stored, by the writer, as whatever arrives.
4. Handled: what came of it is put down, with an entry in the audit log.

Whoever is killed before the end leaves an item that waits and says its key: under another it is not replayed any more,
and under this one it is stored once. So no item is ever stored twice, whatever patches it is tried with, and by whom.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.details import rfc3339
from percorso.errors import Problem, RejectedInteraction, Unavailable
from percorso.formats.merge_patch import merged
from percorso.formats.segment import Call
from percorso.ingest import foreign, judge, say
from percorso.ingest.changes import Change, changes
from percorso.ingest.document import read
from percorso.ingest.foreign import Received, Retold
from percorso.ingest.identity import Identifiers
from percorso.ingest.pipeline import Pipeline, completed
from percorso.ingest.verdict import Status, Verdict
from percorso.storage import audit, identities, interactions, rejected, tombstones
from percorso.storage.audit import Entry
from percorso.storage.database import writing
from percorso.storage.deployment import Deployment
from percorso.storage.interactions import Row, Stored
from percorso.storage.rejected import Handled

MOST: Final = 100
"""How many items are replayed at once: all that was received of them is held in memory."""
_KEEPS: Final = Problem("", "was to be replayed under another source and id before: it keeps these")
_REPEATED: Final = "must not be given more than once"


@dataclass(frozen=True, slots=True)
class Replayer:
    """What replaying needs of a process; `max_bytes` is the most that an interaction may have."""

    engine: AsyncEngine
    pipeline: Pipeline
    identifiers: Identifiers
    deployment: Deployment
    max_bytes: int


@dataclass(frozen=True, slots=True)
class By:
    """Who replays, by their name, and by the id of their key where they have one."""

    name: str
    key_id: UUID | None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an item, or would; `changes` are those of the patch to what was received.

    `document` is the interaction that would be stored, where nothing is.
    """

    rejection_id: UUID
    status: Status
    interaction_id: UUID | None = None
    problems: Sequence[Problem] = ()
    changes: Sequence[Change] = ()
    document: bytes | None = None


@dataclass(slots=True, eq=False)
class _Try:
    """An item on its way; its row once that is ready, else its problems; then what came of it."""

    item: Record
    changes: Sequence[Change] = ()
    row: Row | None = None
    retold: Retold = field(default=lambda problem: problem)
    call: Call | None = None
    verdict: Verdict = field(default=Verdict("retry"))

    def refused(self, *problems: Problem) -> None:
        """It cannot be stored, for these reasons."""
        self.verdict = Verdict.rejected(self.item["rejection_id"], problems)

    def judged(self, verdict: Verdict) -> None:
        """This came of it."""
        self.verdict = Verdict(
            verdict.status,
            interaction_id=verdict.interaction_id,
            problems=[self.retold(problem) for problem in verdict.problems],
            erased=verdict.erased,
        )


async def replay(replayer: Replayer, items: Sequence[Record], patch: Mapping[str, Any] | None, by: By) -> list[Result]:
    """Store these items of quarantine, at most `MOST`, and say of each, in order, what came of it.

    With a `patch` (RFC 7396) of what was received. Where the database takes nothing now they are to be tried again.
    """
    tries = _tries(replayer, items, patch)
    await _store(replayer, [each for each in tries if each.row is not None])
    await _handle(replayer, [each for each in tries if each.item["state"] != "replayed"], by, patched=bool(patch))
    return [_result(each) for each in tries]


async def rehearse(replayer: Replayer, items: Sequence[Record], patch: Mapping[str, Any] | None) -> list[Result]:
    """Say of each of these items what would come of it; nothing is stored."""
    tries = _tries(replayer, items, patch)
    ready = {each: row for each in tries if (row := each.row) is not None}
    first: dict[UUID, Row] = {}
    async with writing(replayer.engine) as session:
        standing = await interactions.stored_under(session, [row.key for row in ready.values()])
        erased = await tombstones.among(session, {each for row in ready.values() for each in judge.named(row)})
        customers = await identities.customers_of(session, [each.identity_id for each in standing.values()])
    for each, row in ready.items():
        if each.item["replay_key"] not in {None, row.key}:
            each.refused(_KEEPS)
        elif not erased.isdisjoint(judge.named(row)):
            each.judged(judge.as_erased(row, erased))
        elif stands := standing.get(row.key) or _as_standing(first.get(row.key)):
            each.judged(judge.as_repeated(row, stands, customers, frozenset()))
        else:
            first[row.key] = row
            each.judged(Verdict("stored", row.id))
    return [_result(each, told=True) for each in tries]


def _result(this: _Try, *, told: bool = False) -> Result:
    verdict = this.verdict
    document = this.row.document if told and this.row is not None and verdict.status != "rejected" else None
    problems = verdict.problems
    if verdict.status == "conflict":
        problems = (Problem("", "has the source and id of another interaction, which says something else"),)
    return Result(this.item["rejection_id"], verdict.status, verdict.interaction_id, problems, this.changes, document)


def _as_standing(row: Row | None) -> Stored | None:
    """A row as it stands once it is stored."""
    if row is None:
        return None
    return Stored(row.identifiers[0].id, row.id, row.received_at, row.document.decode(), None)


def _tries(replayer: Replayer, items: Sequence[Record], patch: Mapping[str, Any] | None) -> list[_Try]:
    """These items, ready to be stored as far as they can be."""
    now = datetime.now(UTC)
    tries = []
    for item in items:
        this = _Try(item)
        tries.append(this)
        if item["state"] == "replayed":
            this.verdict = Verdict("duplicate", item["interaction_id"])
            continue
        try:
            _make_ready(this, replayer, patch, now)
        except RejectedInteraction as error:
            this.refused(*map(this.retold, error.problems))
    return tries


def _make_ready(this: _Try, replayer: Replayer, patch: Mapping[str, Any] | None, now: datetime) -> None:
    item = this.item
    kept, size = len(item["payload"]), item["size"]
    if kept < size:
        raise _refusal(Problem("", f"was {size} bytes long, of which {kept} are kept: it must be sent again"))
    payload = item["payload"]
    if patch:
        payload, this.changes = _patched(payload, patch)
    received = Received(
        payload, item["source"], item["received_at"], f"rejected:{item['rejection_id']}", replayer.max_bytes
    )
    found = foreign.interaction(received, item["format"], replayer.identifiers)
    this.retold, this.call = found.retold, found.call
    document, timeless = _completed(found.document, received)
    row = replayer.pipeline.row(document, now)
    row.time_assigned |= timeless or found.estimated
    row.rejection_id = item["rejection_id"]
    this.row = row


def _completed(document: bytes, received: Received) -> tuple[bytes, bool]:
    """An interaction with an id and a time, which are the same whenever it is replayed; whether it had no time."""
    said, problems = read(document)
    if problems or not isinstance(said, dict) or not said:
        return document, False
    timeless = said.get("occurred_at") is None
    if timeless or said.get("id") is None:
        assigned = {"id": received.assigned, "occurred_at": rfc3339(received.received_at)}
        document = completed(document, said, assigned)
    return document, timeless


def _patched(payload: bytes, patch: Mapping[str, Any]) -> tuple[bytes, list[Change]]:
    """What was received, patched, and what that changes; RejectedInteraction where it cannot be patched."""
    before, problems = read(payload)
    if not isinstance(before, dict):
        raise _refusal(*(problems or [Problem("", "must be an object, if it is to be patched")]))
    # A member that is given twice has lost one of its values here: a patch must say which it is.
    if left := [each for each in problems if each.detail == _REPEATED and not _says(patch, each.pointer)]:
        raise _refusal(*left)
    after = merged(before, patch)
    try:
        return _spelt(after), changes(before, after)
    except RecursionError:
        raise _refusal(*problems) from None


def _spelt(document: dict[str, Any]) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which is then refused with a pointer to it.
        return json.dumps(document).encode()


def _says(patch: Any, pointer: str) -> bool:
    """Whether a patch says what stands at this place."""
    for step in pointer.split("/")[1:]:
        if not isinstance(patch, Mapping):
            return True
        name = step.replace("~1", "/").replace("~0", "~")
        if name not in patch:
            return False
        patch = patch[name]
    return not isinstance(patch, Mapping)


async def _store(replayer: Replayer, tries: Sequence[_Try]) -> None:
    """Claim what is ready, store it, and judge it; where the database cannot be reached it is to be tried again."""
    rows = {each.item["rejection_id"]: row for each in tries if (row := each.row) is not None}
    async with writing(replayer.engine) as session:
        had = await rejected.claim(session, {id_: row.key for id_, row in rows.items()}) if rows else {}
    claimed = [each for each in tries if each.item["rejection_id"] in had]
    for each in tries:
        row = each.row
        if each.item["rejection_id"] not in had and row and each.item["replay_key"] not in {None, row.key}:
            each.refused(_KEEPS)
    try:
        verdicts = await replayer.pipeline.store([rows[each.item["rejection_id"]] for each in claimed])
    except Unavailable:
        return
    for each, verdict in zip(claimed, verdicts, strict=True):
        each.judged(verdict)
    await _say(replayer, claimed)
    # What was just claimed and is surely not stored may be replayed under another source and id.
    free = [
        each.item["rejection_id"]
        for each in claimed
        if each.verdict.status in {"conflict", "rejected"} and had[each.item["rejection_id"]] is None
    ]
    if free:
        async with writing(replayer.engine) as session:
            await rejected.release(session, free)


async def _say(replayer: Replayer, tries: Sequence[_Try]) -> None:
    """Say the traits that calls say which are stored."""
    now = datetime.now(UTC)
    said = [
        trait
        for each in tries
        if each.call is not None
        for trait in say.traits_of_call(
            each.call, each.verdict, say.Told(each.item["source"], now, each.item["source"]), replayer.identifiers
        )
    ]
    if said:
        async with writing(replayer.engine) as session:
            await say.traits_of_several(session, said, at=now, generation=replayer.deployment.generation)


async def _handle(replayer: Replayer, tries: Sequence[_Try], by: By, *, patched: bool) -> None:
    """Put down what came of items, but for those that are to be tried again."""
    done = [each for each in tries if each.verdict.status != "retry"]
    if not done:
        return
    now = datetime.now(UTC)
    async with writing(replayer.engine) as session:
        await rejected.handle(session, [_handled(each) for each in done], at=now, by=by.name)
        await audit.record(session, [_entry(each, by, now, patched=patched) for each in done])


def _handled(this: _Try) -> Handled:
    verdict, rejection_id = this.verdict, this.item["rejection_id"]
    if this.row is None or verdict.status not in {"stored", "duplicate"}:
        return Handled(rejection_id, None, (), verdict.problems)
    return Handled(rejection_id, verdict.interaction_id, list(judge.named(this.row)), ())


def _entry(this: _Try, by: By, at: datetime, *, patched: bool) -> Entry:
    verdict = this.verdict
    details = {"rejection_id": str(this.item["rejection_id"]), "status": verdict.status, "patched": patched}
    subject = None
    if this.row is not None and verdict.status in {"stored", "duplicate"}:
        details["interaction_id"] = str(verdict.interaction_id)
        subject = this.row.identifiers[0].id
    return Entry("replayed", at, details, subject, actor=by.name, key_id=by.key_id)


def _refusal(*problems: Problem) -> RejectedInteraction:
    return RejectedInteraction("It cannot be replayed as it is.", problems=problems)
