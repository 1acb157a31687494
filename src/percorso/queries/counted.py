"""Counts and sums of rollups by ranges of time, without their sketches: where customers and percentiles are not asked.

Those make up most of what is stored, so that this reads a small part of it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, ParamSpec, Protocol, TypeVar

import numpy as np

from percorso.analytics import cells
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import COUNTS, SUMS, Packed
from percorso.analytics.dimensions import EVERYWHERE, Dimension
from percorso.queries.rollups import Piece, pieces
from percorso.storage.database import ReadSession

_TOGETHER: Final = 32
"""Rows read together: each holds up to some hundreds of KB."""
_SLOTS: Final = 32
"""More than there are in any row."""

Range = tuple[datetime, datetime]
"""From a whole hour, inclusive, to another, exclusive."""

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class Run(Protocol):
    """What computes in a thread, as `http.analysing.Analysis.run` does for a call of analytics."""

    def __call__(self, work: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> Awaitable[_Made]:
        """What `work` makes of what it is given."""


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Counts and sums, each of one of the ranges and of a key: shapes (n), (n), (n, COUNTS) and (n, SUMS)."""

    place: Ints
    key: Ints
    counts: Ints
    sums: Floats

    def keys(self) -> Ints:
        """Every key, once."""
        return np.unique(self.key)

    def grouped(self, groups: Mapping[int, int]) -> "Counted":
        """With what each key counts as in its place; those that are not in `groups` count as themselves."""
        if not groups:
            return self
        key = np.array([groups.get(key, key) for key in self.key.tolist()], np.int64)
        return Counted(self.place, key, self.counts, self.sums)

    def table(self, ranges: int, keys: Ints) -> tuple[Ints, Floats]:
        """All counts (ranges, keys, COUNTS) and sums (ranges, keys, SUMS) of so many ranges and of these keys.

        Keys must be in order; what is not there is 0.
        """
        known = np.isin(self.key, keys)
        at = self.place[known], np.searchsorted(keys, self.key[known])
        counts = np.zeros((ranges, len(keys), len(COUNTS)), np.int64)
        np.add.at(counts, at, self.counts[known])
        sums = np.zeros((ranges, len(keys), len(SUMS)))
        np.add.at(sums, at, self.sums[known])
        return counts, sums


async def counted(
    session: ReadSession, dimension: Dimension, ranges: Sequence[Range], *, run: Run, keys: Ints | None = None
) -> Counted:
    """What happened at all touchpoints in each of these ranges, which do not overlap, by a dimension.

    With `keys` of these alone. Relies on the primary key.
    """
    wanted: dict[tuple[int, datetime], list[tuple[Piece, int]]] = {}
    for place, (start, end) in enumerate(ranges):
        for piece in pieces(start, end):
            wanted.setdefault((int(piece.level), piece.start), []).append((piece, place))
    found = [_NOTHING]
    places = list(wanted)
    for first in range(0, len(places), _TOGETHER):
        some = places[first : first + _TOGETHER]
        rows = await session.fetch(
            "SELECT r.level, r.start, r.cells FROM unnest($3::int[], $4::timestamptz[]) AS wanted(level, start) "
            "CROSS JOIN LATERAL (SELECT * FROM rollups WHERE scope = $1 AND dimension = $2 "
            "AND rollups.level = wanted.level AND rollups.start = wanted.start) AS r",
            EVERYWHERE,
            int(dimension),
            [level for level, _ in some],
            [start for _, start in some],
        )
        packed = [(row["cells"], wanted[row["level"], row["start"]]) for row in rows]
        found.append(await run(_read, packed, keys))
    return await run(_added, found)


def unpacked(packed: bytes) -> cells.Cells:
    """Packed cells, whose sketches were not read, without them."""
    n = int.from_bytes(packed[:4], "little")
    return cells.unpack(Packed(packed, bytes(2 * n), bytes(4 * n), bytes(4 * n)))


def _read(rows: Sequence[tuple[bytes, Sequence[tuple[Piece, int]]]], keys: Ints | None) -> Counted:
    """The cells of rows, each with the slots that belong to ranges."""
    found = [_NOTHING]
    for packed, wanted in rows:
        place_of = np.full(_SLOTS, -1, np.int64)
        for piece, number in wanted:
            place_of[piece.first : piece.last] = number
        some = unpacked(packed)
        place, key = place_of[some.slot], some.key.astype(np.int64)
        keep = np.flatnonzero((place >= 0) & (np.isin(key, keys) if keys is not None else True))
        found.append(Counted(place[keep], key[keep], some.counts[keep], some.sums[keep]))
    return _added(found)


def _added(parts: Sequence[Counted]) -> Counted:
    """What these have together, each range and key once."""
    place, key = (np.concatenate([getattr(part, name) for part in parts]) for name in ("place", "key"))
    counts = np.concatenate([part.counts for part in parts])
    sums = np.concatenate([part.sums for part in parts])
    if not len(place):
        return _NOTHING
    both = (place << 32) + key
    order = np.argsort(both, kind="stable")
    both = both[order]
    first = np.flatnonzero(np.concatenate(([True], both[1:] != both[:-1])))
    return Counted(
        both[first] >> 32,
        both[first] & 0xFFFFFFFF,
        np.add.reduceat(counts[order], first, axis=0),
        np.add.reduceat(sums[order], first, axis=0),
    )


_NOTHING: Final = Counted(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, len(COUNTS)), np.int64), np.empty((0, len(SUMS)))
)
