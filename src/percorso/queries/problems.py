"""The problems of a period: read from rollups, judged, and shown by examples."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np

from percorso.analytics import problems
from percorso.analytics.arrays import Ints
from percorso.analytics.cells import COUNTS
from percorso.analytics.dimensions import NO_WORD, Dimension
from percorso.analytics.problems import HISTORY, Problems
from percorso.measures import roles
from percorso.queries import examples, naming
from percorso.queries.counted import Run, counted
from percorso.queries.examples import Example
from percorso.storage.database import ReadSession

By = Literal["topic", "kind", "touchpoint"]

_DIMENSIONS: Final[Mapping[By, Dimension]] = {
    "topic": Dimension.TOPIC,
    "kind": Dimension.KIND,
    "touchpoint": Dimension.TOUCHPOINT,
}


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A problem: its name, and which entry of `Found.judged` and `Found.counts` it is."""

    by: By
    name: str
    entry: int
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The problems of a period, the worst first, with what they were found by.

    `counts` has shape (entries, COUNTS), `everything` (COUNTS): of all interactions of the period.
    """

    history_from: datetime
    everything: Ints
    counts: Ints
    judged: Problems
    number: int
    items: Sequence[Item]


async def find(
    session: ReadSession, start: datetime, end: datetime, *, by: Collection[By], top: int, run: Run
) -> Found:
    """The `top` problems from `start` to before `end`, both whole hours, among topics, kinds and touchpoints.

    Compared with the four periods of the same length before. Touchpoints that were merged are one.
    """
    since = start - HISTORY * (end - start)
    every = await counted(session, Dimension.ALL, [(start, end)], run=run)
    everything, _ = every.table(1, np.zeros(1, np.int64))
    keys: list[tuple[By, int]] = []
    parts = [np.empty((2, 0, len(COUNTS)), np.int64)]
    merged = await naming.groups(session, Dimension.TOUCHPOINT)
    for dimension in by:
        both = await counted(session, _DIMENSIONS[dimension], [(start, end), (since, start)], run=run)
        if dimension == "touchpoint":
            both = both.grouped(merged)
        of_dimension = both.keys()
        keys += [(dimension, key) for key in of_dimension.tolist()]
        parts.append(both.table(2, of_dimension)[0])
    counts, before = np.concatenate(parts, axis=1)
    names = await _names(session, keys)
    judged = await run(
        problems.find,
        counts,
        before,
        np.array([_DIMENSIONS[dimension] for dimension, _ in keys], np.int64),
        complaining=np.array(
            [key[0] == "kind" and roles.is_kind_of_complaint(names.get(key)) for key in keys], np.bool_
        ),
    )
    # What says no kind is none, though others are compared with it.
    order = [entry for entry in judged.order.tolist() if keys[entry] in names]
    wanted = [
        examples.Item(
            _DIMENSIONS[dimension],
            naming.members(merged, [key]) if dimension == "touchpoint" else [key],
            names[dimension, key] if dimension == "topic" else None,
            [signal for signal, each in judged.signals.items() if each.flagged[entry]],
        )
        for entry, (dimension, key) in ((entry, keys[entry]) for entry in order[:top])
    ]
    shown = await examples.newest(session, wanted, start, end, run=run)
    items = [
        Item(keys[entry][0], names[keys[entry]], entry, some) for entry, some in zip(order[:top], shown, strict=True)
    ]
    return Found(since, everything[0, 0], counts, judged, len(order), items)


async def _names(session: ReadSession, keys: Sequence[tuple[By, int]]) -> dict[tuple[By, int], str]:
    """What these are called; that of no kind has no name."""
    found: dict[tuple[By, int], str] = {}
    for by in dict.fromkeys(by for by, _ in keys):
        of_dimension = [key for each, key in keys if each == by and (by == "touchpoint" or key != NO_WORD)]
        names = await naming.names(session, _DIMENSIONS[by], of_dimension)
        found |= {(by, key): name for key, name in names.items()}
    return found
