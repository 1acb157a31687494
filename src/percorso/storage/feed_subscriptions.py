"""Subscriptions of the feed: where each stands in it, and what it did not take.

A subscription follows the commit log by a place of its own, so that nothing is copied for it: what it is to be told is
read when it is told. Only what it did not take, and others passed by, is written down, by its place.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage import deliveries
from percorso.storage.database import WriteSession

PROTOCOL: Final = "feed"
MOST_OF_A_KEY: Final = 100
MOST_LETTERS: Final = 10_000
"""Events that a subscription did not take, beyond which it is paused: so none is lost."""

Paused = Literal["by_hand", "gone", "expired", "full"]
"""Why nothing is delivered: it was told to; 410; what comes next was dropped; too much was not taken."""


class Place(NamedTuple):
    """A place in the feed."""

    generation: int
    xid8: int
    number: int


class New(NamedTuple):
    """A new subscription."""

    subscription_id: UUID
    name: str | None
    callback: str
    query: str | None
    secret: str
    key_id: UUID
    created_at: datetime
    place: Place


class Letter(NamedTuple):
    """An event that was not taken; `next_at` is None where it is not tried again."""

    place: Place
    event: str
    at: datetime
    status: int | None
    next_at: datetime | None


async def add(session: WriteSession, new: New) -> bool:
    """Store a subscription; False where its key has as many as it may."""
    return bool(
        await session.fetchval(
            "INSERT INTO subscriptions (subscription_id, protocol, callback, query, secret, key_id, created_at, "
            "failures, next_at, name, generation, xid8, number) "
            "SELECT $1, $2, $3, $4, $5, $6, $7, 0, $7, $8, $9, $10, $11 WHERE "
            "(SELECT count(*) FROM subscriptions WHERE protocol = $2 AND key_id = $6) < $12 RETURNING true",
            new.subscription_id,
            PROTOCOL,
            new.callback,
            new.query,
            new.secret,
            new.key_id,
            new.created_at,
            new.name,
            *new.place,
            MOST_OF_A_KEY,
        )
    )


async def change(
    session: WriteSession,
    subscription_id: UUID,
    *,
    name: str | None,
    callback: str,
    query: str | None,
    paused: Paused | None,
) -> None:
    """Say what a subscription is from now on. Where it is not paused, it is tried at once."""
    await session.execute(
        "UPDATE subscriptions SET name = $2, callback = $3, query = $4, paused = $5, failures = 0, "
        "failing_since = NULL, next_at = now() WHERE subscription_id = $1",
        subscription_id,
        name,
        callback,
        query,
        paused,
    )


async def rotate(session: WriteSession, subscription_id: UUID, secret: str, *, until: datetime) -> None:
    """Sign with this secret from now on, and with the one before it too for a while."""
    await session.execute(
        "UPDATE subscriptions SET earlier_secret = secret, earlier_until = $3, secret = $2 WHERE subscription_id = $1",
        subscription_id,
        secret,
        until,
    )


async def end(session: WriteSession, subscription_id: UUID, *, key_id: UUID | None) -> bool:
    """Forget a subscription with what it did not take; with `key_id`, only one of that key. Whether there was one."""
    if not await deliveries.unsubscribe(session, subscription_id, protocol=PROTOCOL, key_id=key_id):
        return False
    await session.execute("DELETE FROM dead_letters WHERE subscription_id = $1", subscription_id)
    return True


async def replay(session: WriteSession, subscription_id: UUID, place: Place) -> None:
    """Go on from this place, and be tried at once."""
    await session.execute(
        "UPDATE subscriptions SET generation = $2, xid8 = $3, number = $4, paused = NULL, failures = 0, "
        "failing_since = NULL, next_at = now() WHERE subscription_id = $1",
        subscription_id,
        *place,
    )


async def replay_letters(session: WriteSession, subscription_id: UUID) -> int:
    """Try again, as if for the first time, what was given up; how many there are. Relies on the primary key."""
    done = await session.execute(
        "UPDATE dead_letters SET next_at = now(), first_failed_at = now(), tries = 0 "
        "WHERE subscription_id = $1 AND next_at IS NULL",
        subscription_id,
    )
    return int(done.rpartition(" ")[2])


async def advance(
    session: WriteSession, subscription_id: UUID, before: Place, after: Place, *, due: datetime, taken: bool = False
) -> bool:
    """Go on from one place to another; False where it was changed meanwhile, or set back, be it to the same place.

    `due` is the `next_at` that it was read with, which each change makes another.
    """
    return bool(
        await session.fetchval(
            "UPDATE subscriptions SET generation = $5, xid8 = $6, number = $7, "
            "failures = CASE WHEN $8 THEN 0 ELSE failures END, "
            "failing_since = CASE WHEN $8 THEN NULL ELSE failing_since END, "
            "taken_at = CASE WHEN $8 THEN now() ELSE taken_at END WHERE subscription_id = $1 "
            "AND (generation, xid8, number) = ($2, $3, $4) AND next_at = $9 AND paused IS NULL RETURNING true",
            subscription_id,
            *before,
            *after,
            taken,
            due,
        )
    )


async def put_off(session: WriteSession, subscription_id: UUID, *, until: datetime) -> None:
    """It failed: try it again then."""
    await session.execute(
        "UPDATE subscriptions SET failures = failures + 1, failing_since = coalesce(failing_since, now()), "
        "next_at = $2 WHERE subscription_id = $1",
        subscription_id,
        until,
    )


async def pause(session: WriteSession, subscription_id: UUID, why: Paused) -> None:
    """Deliver nothing until someone says otherwise."""
    await session.execute(
        "UPDATE subscriptions SET paused = coalesce(paused, $2) WHERE subscription_id = $1", subscription_id, why
    )


async def set_aside(session: WriteSession, subscription_id: UUID, letters: Sequence[Letter]) -> bool:
    """Write down what was not taken; False, and nothing is, where that is too much. Relies on the primary key."""
    held = await session.fetchval("SELECT count(*) FROM dead_letters WHERE subscription_id = $1", subscription_id)
    if held + len(letters) > MOST_LETTERS:
        return False
    await session.executemany(
        "INSERT INTO dead_letters (subscription_id, generation, xid8, number, event, at, first_failed_at, tries, "
        "status, next_at) VALUES ($1, $2, $3, $4, $5, $6, now(), 1, $7, $8) ON CONFLICT DO NOTHING",
        [(subscription_id, *each.place, *each[1:]) for each in letters],
    )
    return True


async def letter_failed(
    session: WriteSession, subscription_id: UUID, place: Place, *, status: int | None, next_at: datetime | None
) -> None:
    """It was tried again, in vain. Relies on the primary key."""
    await session.execute(
        "UPDATE dead_letters SET tries = tries + 1, status = $5, next_at = $6 "
        "WHERE subscription_id = $1 AND (generation, xid8, number) = ($2, $3, $4)",
        subscription_id,
        *place,
        status,
        next_at,
    )


async def letter_done(session: WriteSession, subscription_id: UUID, place: Place) -> None:
    """It was taken, or is no longer in the feed. Relies on the primary key."""
    await session.execute(
        "DELETE FROM dead_letters WHERE subscription_id = $1 AND (generation, xid8, number) = ($2, $3, $4)",
        subscription_id,
        *place,
    )


async def sweep(session: WriteSession) -> None:
    """Forget what was not taken by subscriptions that are gone, or was dropped from the log. Reads all there is."""
    await session.execute(
        "DELETE FROM dead_letters l WHERE NOT EXISTS "
        "(SELECT FROM subscriptions s WHERE s.subscription_id = l.subscription_id) OR EXISTS "
        "(SELECT FROM commit_floor f WHERE (l.generation, l.xid8) <= (f.generation, f.xid8))"
    )
