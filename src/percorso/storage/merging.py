"""Touchpoints that are one: merged, and parted again.

What people said is `joined_to`: a touchpoint and the one that it was merged into. What follows is `merged_into`: where
all that leads to ends, the touchpoint that it counts as. So whatever the order of merges, taking one back leaves what
the others alone would have made; and no interaction is touched by either.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asyncpg import Record

from percorso.errors import CannotMergeTouchpoints, NotFound
from percorso.storage.database import WriteSession

_LOCK: Final = 0x70657263_746F7563
"""Advisory lock: the registry's groups change by one transaction at a time."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who changes it, and why."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The ids of the touchpoint that was merged or parted, and of the one that it was merged into."""

    touchpoint_id: int
    into_id: int


async def merge(session: WriteSession, slug: str, into: str, act: Act) -> Changed | None:
    """Let a touchpoint count as another from now on; None where it was merged into just that before.

    NotFound where there is none of the slug `slug`, ValueError where there is none of `into`, CannotMergeTouchpoints
    where it is merged into another already, or the other counts as it.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    this = await _named(session, slug)
    if this is None:
        raise NotFound("No touchpoint has this slug.")
    target = await _named(session, into)
    if target is None:
        raise ValueError("is not the slug of a touchpoint")
    if this["joined_to"] == target["touchpoint_id"]:
        return None
    if this["joined_to"] is not None:
        raise CannotMergeTouchpoints(f"It is merged into {await _slug(session, this['joined_to'])}: unmerge it first.")
    if this["touchpoint_id"] in {target["touchpoint_id"], target["merged_into"]}:
        raise CannotMergeTouchpoints("The other counts as it already: they are one.")
    changed = Changed(this["touchpoint_id"], target["touchpoint_id"])
    await _join(session, changed.touchpoint_id, changed.into_id)
    await _note(session, changed, "merged", act)
    return changed


async def unmerge(session: WriteSession, slug: str, act: Act) -> Changed:
    """Let a touchpoint count as itself again, and those that were merged into it follow.

    NotFound where there is none of this slug, CannotMergeTouchpoints where it was not merged into another.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    this = await _named(session, slug)
    if this is None:
        raise NotFound("No touchpoint has this slug.")
    if this["joined_to"] is None:
        raise CannotMergeTouchpoints("It was not merged into another; unmerge those that were merged into it.")
    changed = Changed(this["touchpoint_id"], this["joined_to"])
    await _join(session, changed.touchpoint_id, None)
    await _note(session, changed, "unmerged", act)
    return changed


async def _named(session: WriteSession, slug: str) -> Record | None:
    return await session.fetchrow("SELECT touchpoint_id, joined_to, merged_into FROM touchpoints WHERE slug = $1", slug)


async def _slug(session: WriteSession, touchpoint_id: int) -> str:
    return str(await session.fetchval("SELECT slug FROM touchpoints WHERE touchpoint_id = $1", touchpoint_id))


async def _join(session: WriteSession, touchpoint_id: int, into: int | None) -> None:
    """Say what a touchpoint is merged into, and let all that leads to it follow.

    Relies on the primary key, and on the index on `merged_into` for those of its group, among whom all that lead to it
    are.
    """
    group = "coalesce((SELECT merged_into FROM touchpoints WHERE touchpoint_id = $1), $1)"
    await session.execute(
        "WITH RECURSIVE grouped AS MATERIALIZED ("
        f"SELECT touchpoint_id, joined_to FROM touchpoints WHERE merged_into = {group}), "
        "below AS (SELECT $1::int AS touchpoint_id UNION "
        "SELECT g.touchpoint_id FROM grouped g JOIN below ON g.joined_to = below.touchpoint_id), "
        "root AS (SELECT coalesce((SELECT coalesce(merged_into, touchpoint_id) FROM touchpoints "
        "WHERE touchpoint_id = $2), $1) AS touchpoint_id) "
        "UPDATE touchpoints t SET merged_into = nullif(root.touchpoint_id, t.touchpoint_id), "
        "joined_to = CASE WHEN t.touchpoint_id = $1 THEN $2::int ELSE t.joined_to END "
        "FROM below, root WHERE t.touchpoint_id = below.touchpoint_id",
        touchpoint_id,
        into,
    )


async def _note(session: WriteSession, changed: Changed, what: str, act: Act) -> None:
    await session.execute(
        "INSERT INTO touchpoint_changes (touchpoint_id, into_id, what, at, by, reason) VALUES ($1, $2, $3, $4, $5, $6)",
        changed.touchpoint_id,
        changed.into_id,
        what,
        datetime.now(UTC),
        act.by,
        act.reason,
    )
