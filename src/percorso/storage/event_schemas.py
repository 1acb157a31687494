"""Schemas of interactions: which is in force, its versions, and what came of checking by them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from percorso.errors import InvalidRequest, Outdated, Problem
from percorso.storage.database import WriteSession

Mode = Literal["report", "enforce"]
ANY_KIND: Final = "*"
"""In the place of a kind: every kind of the channel that has no schema of its own."""
MOST: Final = 1_000
"""Schemas in force: each process has them all in memory."""

_LOCK: Final = 0x70657263_73636865
"""Advisory lock: one change of schemas at a time, which are rare."""


@dataclass(frozen=True, slots=True)
class Put:
    """What a change made: the version in force, whether there was none before, and whether anything changed."""

    version: int
    new: bool
    changed: bool


class Version(NamedTuple):
    """One version of the schema of a channel and kind."""

    channel: str
    kind: str
    number: int


class InForce(NamedTuple):
    """A version that is in force; its text is None where the reader has it already."""

    version: Version
    mode: Mode
    text: str | None


class Counted(NamedTuple):
    """What came of checking by a version; `places` in the schema have a count and a sentence."""

    channel: str
    kind: str
    version: int
    checked: int
    reported: int
    refused: int
    places: Mapping[str, tuple[int, str]]


async def put(
    session: WriteSession,
    channel: str,
    kind: str,
    schema: Mapping[str, Any],
    *,
    mode: str,
    by: str,
    expected: str | None = None,
) -> Put:
    """Put a schema in force, in a transaction; one that says something else than what is in force is a new version.

    Raises Outdated where `expected` is not the tag of what is in force, InvalidRequest where there are too many.
    """
    now = await _locked(session, channel, kind, expected)
    if now is not None and _normal(json.loads(now["schema"])) == _normal(schema):
        changed = now["mode"] != mode
        if changed:
            await _set(session, channel, kind, now["version"], mode, by)
        return Put(now["version"], new=False, changed=changed)
    if now is None and await session.fetchval("SELECT count(*) FROM event_schemas") >= MOST:
        detail = f"is one too many: {MOST} may be in force"
        raise InvalidRequest("There are too many schemas.", problems=[Problem("", detail)])
    version = await session.fetchval(
        "INSERT INTO event_schema_versions (channel, kind, version, schema, created_at, created_by) "
        "SELECT $1, $2, coalesce(max(version), 0) + 1, $3, now(), $4 FROM event_schema_versions "
        "WHERE channel = $1 AND kind = $2 RETURNING version",
        channel,
        kind,
        json.dumps(schema, ensure_ascii=False),
        by,
    )
    await _set(session, channel, kind, version, mode, by)
    return Put(version, new=now is None, changed=True)


async def activate(
    session: WriteSession, channel: str, kind: str, version: int, *, mode: str, by: str, expected: str | None = None
) -> bool:
    """Put a version in force that was so before, in a transaction; False where there is none of this number."""
    await _locked(session, channel, kind, expected)
    known = await session.fetchval(
        "SELECT true FROM event_schema_versions WHERE channel = $1 AND kind = $2 AND version = $3",
        channel,
        kind,
        version,
    )
    if known:
        await _set(session, channel, kind, version, mode, by)
    return bool(known)


async def delete(session: WriteSession, channel: str, kind: str, *, expected: str | None = None) -> int | None:
    """Check by no schema any more, in a transaction; the version that was in force, None where none was."""
    await _locked(session, channel, kind, expected)
    version: int | None = await session.fetchval(
        "DELETE FROM event_schemas WHERE channel = $1 AND kind = $2 RETURNING version", channel, kind
    )
    return version


async def count(session: WriteSession, counted: Sequence[Counted]) -> None:
    """Add these counts, which are in order: so that no two processes wait for each other."""
    await session.executemany(
        "INSERT INTO event_schema_tallies (channel, kind, version, checked, reported, refused) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (channel, kind, version) DO UPDATE SET last_at = now(), "
        "checked = event_schema_tallies.checked + excluded.checked, "
        "reported = event_schema_tallies.reported + excluded.reported, "
        "refused = event_schema_tallies.refused + excluded.refused",
        [each[:6] for each in counted],
    )
    await session.executemany(
        "INSERT INTO event_schema_faults (channel, kind, version, place, detail, interactions) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (channel, kind, version, place) DO UPDATE SET last_at = now(), "
        "interactions = event_schema_faults.interactions + excluded.interactions",
        [
            (each.channel, each.kind, each.version, place, detail, times)
            for each in counted
            for place, (times, detail) in sorted(each.places.items())
        ],
    )


def tag(version: int, mode: str) -> str:
    """What names the state of a schema: its version and mode."""
    return f"{version}-{mode}"


async def _locked(session: WriteSession, channel: str, kind: str, expected: str | None) -> Any:
    """What is in force, which no one else changes before the transaction ends."""
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    now = await session.fetchrow(
        "SELECT s.version, s.mode, v.schema::text AS schema FROM event_schemas s "
        "JOIN event_schema_versions v USING (channel, kind, version) WHERE channel = $1 AND kind = $2",
        channel,
        kind,
    )
    if expected is not None and (now is None or expected not in {"*", tag(now["version"], now["mode"])}):
        raise Outdated("The schema is not what If-Match says: read it again.")
    return now


async def _set(session: WriteSession, channel: str, kind: str, version: int, mode: str, by: str) -> None:
    await session.execute(
        "INSERT INTO event_schemas (channel, kind, version, mode, changed_at, changed_by) "
        "VALUES ($1, $2, $3, $4, now(), $5) ON CONFLICT (channel, kind) DO UPDATE SET version = excluded.version, "
        "mode = excluded.mode, changed_at = excluded.changed_at, changed_by = excluded.changed_by",
        channel,
        kind,
        version,
        mode,
        by,
    )


def _normal(schema: Any) -> str:
    """Equal for schemas that say the same, whatever the order of their members; 1, 1.0 and true are not the same."""
    return json.dumps(schema, sort_keys=True)
