"""Examples of what goes wrong: the newest interactions with a signal at a topic, of a kind or at a touchpoint.

Nothing says of an interaction in the facts that it, say, repeats an earlier one, and an index for it would be made for
a few examples alone. So rollups say in which hours there were any, steps say at which moment and touchpoint, and there
the facts have them.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec
import numpy as np
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.analytics.cells import COUNT, Cells
from percorso.analytics.dimensions import EVERYWHERE, Dimension, Level
from percorso.analytics.distinct import mixed
from percorso.analytics.steps import BUCKETS, FLAGS, STEP, Steps
from percorso.queries import customers
from percorso.queries.counted import Run, unpacked
from percorso.storage.database import ReadSession

MOST: Final = 3
"""Examples of each item."""

_FLAG: Final = {"complaints": "complaint", "negative": "negative", "repeats": "repeat", "unresolved": "unresolved"}
"""The flag of a step for each signal, by its name in `cells.COUNTS`."""
_STRIDES: Final = (2, 8, 32)
"""Days that are looked through together, the last ones first; most problems are of today."""
_LOOKED_UP: Final = (12, 88, 400, 500)
"""Steps that are looked up among the facts together: of a topic, those before may all be of others."""


class Item(NamedTuple):
    """What examples are wanted of: `keys` of a dimension that count as one, a topic's word, and signals it has."""

    dimension: Dimension
    keys: Collection[int]
    word: str | None
    signals: Sequence[str]


class Example(NamedTuple):
    """An interaction, and which of the signals it has."""

    interaction_id: UUID
    signals: list[str]


async def newest(
    session: ReadSession, items: Sequence[Item], start: datetime, end: datetime, *, run: Run
) -> list[list[Example]]:
    """For each item at most `MOST` interactions from `start` to before `end`, both whole hours, the newest first.

    Of a topic they are looked for among the newest 1,000 with such a signal in each of its hours.
    """
    hours: list[list[datetime]] = [[] for _ in items]
    for dimension in {item.dimension for item in items}:
        places = [place for place, item in enumerate(items) if item.dimension == dimension]
        found = await _hours(session, dimension, [items[place] for place in places], start, end, run=run)
        for place, some in zip(places, found, strict=True):
            hours[place] = some
    steps: list[list[Steps]] = [[np.empty(0, STEP)] for _ in items]
    for hour in sorted({hour for some in hours for hour in some}, reverse=True):
        places = [place for place, some in enumerate(hours) if hour in some]
        found_steps = await _steps(session, hour, [items[place] for place in places], run=run)
        for place, some_steps in zip(places, found_steps, strict=True):
            steps[place].append(some_steps)
    return [await _examples(session, item, np.concatenate(some)) for item, some in zip(items, steps, strict=True)]


async def _hours(
    session: ReadSession, dimension: Dimension, items: Sequence[Item], start: datetime, end: datetime, *, run: Run
) -> list[list[datetime]]:
    """For each item the newest hours in which it had one of its signals, at most `MOST`. Relies on the primary key."""
    found: list[list[datetime]] = [[] for _ in items]
    until, strides = end, iter(_STRIDES)
    stride = next(strides)
    while until > start and any(len(hours) < MOST for hours in found):
        since = max(start, until - timedelta(days=stride))
        rows = await session.fetch(
            "SELECT start, cells FROM rollups WHERE scope = $1 AND dimension = $2 AND level = $3 "
            "AND start > $4 AND start < $5 ORDER BY start DESC",
            EVERYWHERE,
            dimension,
            Level.HOUR,
            since - timedelta(days=1),
            until,
        )
        some = await run(_among, [(row["start"], row["cells"]) for row in rows], items, since, until)
        for hours, more in zip(found, some, strict=True):
            hours.extend(more[: MOST - len(hours)])
        until, stride = since, next(strides, stride)
    return found


def _among(
    days: Sequence[tuple[datetime, bytes]], items: Sequence[Item], since: datetime, until: datetime
) -> list[list[datetime]]:
    """For each item its newest hours in these days, of which the newest come first."""
    found: list[list[datetime]] = [[] for _ in items]
    for begins, packed in days:
        day = unpacked(packed)
        for item, hours in zip(items, found, strict=True):
            if len(hours) < MOST:
                hours.extend(_within(day, item, begins, since, until))
    return found


def _within(day: Cells, item: Item, begins: datetime, since: datetime, until: datetime) -> list[datetime]:
    """The hours of a day, of those in the range, in which an item had one of its signals, the newest first."""
    signals = day.counts[:, [COUNT[signal] for signal in item.signals]]
    slots = day.slot[np.isin(day.key, list(item.keys)) & signals.any(axis=1)]
    hours = [begins + timedelta(hours=slot) for slot in np.unique(slots)[::-1].tolist()]
    return [hour for hour in hours if since <= hour < until]


async def _steps(session: ReadSession, hour: datetime, items: Sequence[Item], *, run: Run) -> list[Steps]:
    """For each item the newest steps of an hour that may be an example. Relies on the primary key."""
    rows = await session.fetch(
        "SELECT steps FROM steps WHERE bucket = ANY($1) AND hour = $2", list(range(BUCKETS)), hour
    )
    return await run(_chosen, [row["steps"] for row in rows], items)


def _chosen(packed: Sequence[bytes], items: Sequence[Item]) -> list[Steps]:
    """For each item those with one of its signals, the newest first; topics are not known of steps."""
    steps = np.frombuffer(b"".join(packed), STEP)
    steps = steps[steps["flags"] & sum(FLAGS[flag] for flag in _FLAG.values()) != 0]
    steps = steps[np.argsort(-steps["at"], kind="stable")]
    found = []
    for item in items:
        keep = steps["flags"] & sum(FLAGS[_FLAG[signal]] for signal in item.signals) != 0
        if item.dimension != Dimension.TOPIC:
            keep &= np.isin(steps[_FIELD[item.dimension]], list(item.keys))
        found.append(steps[keep][: sum(_LOOKED_UP)])
    return found


async def _examples(session: ReadSession, item: Item, steps: Steps) -> list[Example]:
    """At most `MOST` of an item, from what may be examples, the newest first."""
    found: dict[UUID, Example] = {}
    sizes = iter(_LOOKED_UP)
    while len(steps) and len(found) < MOST:
        many = next(sizes, _LOOKED_UP[-1])
        for example in await _looked_up(session, item, steps[:many]):
            found.setdefault(example.interaction_id, example)
        steps = steps[many:]
    return list(found.values())[:MOST]


async def _looked_up(session: ReadSession, item: Item, steps: Steps) -> list[Example]:
    """The interactions that these steps are of. Relies on the index on `(touchpoint_id, id)`.

    At one moment and touchpoint there may be several: it is the one with the customer of the step.
    """
    rows = await session.fetch(
        "SELECT wanted.number, i.* FROM unnest($1::integer[], $2::uuid[], $3::uuid[]) WITH ORDINALITY "
        "AS wanted (touchpoint_id, low, high, number) CROSS JOIN LATERAL ("
        "SELECT id, identity_id, (document->'topics')::text AS topics FROM interactions "
        # Not to be joined otherwise than step by step.
        "WHERE touchpoint_id = wanted.touchpoint_id AND id >= wanted.low AND id < wanted.high OFFSET 0) AS i "
        "ORDER BY wanted.number",
        steps["touchpoint"].tolist(),
        [_first_id(at) for at in steps["at"].tolist()],
        [_first_id(at + 1) for at in steps["at"].tolist()],
    )
    if item.word is not None:
        rows = [row for row in rows if _has(row["topics"], item.word)]
    owners = await customers.customer_ids(session, [row["identity_id"] for row in rows])
    return [
        Example(row["id"], [signal for signal, flag in _FLAG.items() if step["flags"] & FLAGS[flag]])
        for row, step in ((row, steps[row["number"] - 1]) for row in rows)
        if mixed(owners.get(row["identity_id"], row["identity_id"]).bytes)[0] == step["customer"]
    ]


_FIELD: Final = {Dimension.TOUCHPOINT: "touchpoint", Dimension.KIND: "kind"}


def _first_id(at: int) -> UUID:
    return ids.first_id_at(ids.from_unix_ms(at))


def _has(topics: str | None, word: str) -> bool:
    """Whether topics, as JSON has them, name this one, without regard to case."""
    given = msgspec.json.decode(topics) if topics is not None else None
    return isinstance(given, list) and word.casefold() in {topic.casefold() for topic in given}
