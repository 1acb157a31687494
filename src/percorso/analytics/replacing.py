"""Hours, days and months put in the place of what stood for them: rows as they are stored, in and out."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from percorso.analytics import cells as of_cells
from percorso.analytics import mixes, volumes
from percorso.analytics.cells import Cells, Packed
from percorso.analytics.days import HOURS, Day
from percorso.analytics.dimensions import EVERYWHERE, OF_ALL, Dimension
from percorso.analytics.mixes import Mixes

Place = tuple[int, Dimension]
"""Scope and dimension of a row; its level and its beginning are known."""


class Stored(NamedTuple):
    """A row: cells in the four parts of `cells.Packed`, and the mix where there is one."""

    cells: bytes
    customers: bytes
    responses: bytes
    costs: bytes
    mix: bytes | None


class Whole(NamedTuple):
    """All that a day or a month came to, at all touchpoints."""

    cells: dict[Dimension, Cells]
    mix: Mixes


Changes = dict[Place, Stored | None]
"""Rows to be stored; None: to be deleted."""

_ALL = (EVERYWHERE, Dimension.ALL)
_VOLUME = (EVERYWHERE, Dimension.VOLUME)


def day(stored: Mapping[Place, Stored], hours: Collection[int], made: Day) -> tuple[Changes, Whole]:
    """What changes where these hours of a day came to `made`, and all that the day then came to.

    `stored` are all its rows.
    """
    gone = np.array(sorted(hours))
    changes: Changes = {}
    whole: dict[Dimension, Cells] = {}
    mix, changes[_ALL] = made.mix, None
    if (row := stored.get(_ALL)) is not None:
        before = Mixes.unpack(row.mix or b"")
        mix = mixes.joined([before.keep(~np.isin(before.slot, gone)), made.mix])
    for place in {**stored, **made.cells}:
        if place == _VOLUME:
            continue
        new, row = made.cells.get(place), stored.get(place)
        cells = None if row is None else of_cells.unpack(Packed(*row[:4]))
        if cells is not None:
            left = np.flatnonzero(~np.isin(cells.slot, gone))
            if new is None and len(left) == len(cells):
                # Nothing of it is of these hours.
                if place in _WHOLE:
                    whole[place[1]] = cells
                if place != _ALL:
                    continue
            cells = cells.take(left)
        parts = [part for part in (cells, new) if part is not None and len(part)]
        cells = parts[0] if len(parts) == 1 else of_cells.joined(parts)
        changes[place] = _stored(cells, mix if place == _ALL else None) if len(cells) else None
        if place in _WHOLE and len(cells):
            whole[place[1]] = cells
    changes[_VOLUME] = _volumes(stored.get(_VOLUME), gone, made)
    return changes, Whole(whole, mix)


_WHOLE = frozenset((EVERYWHERE, dimension) for dimension in OF_ALL)


def _stored(cells: Cells, mix: Mixes | None) -> Stored:
    packed = of_cells.pack(cells)
    return Stored(packed.cells, packed.customers, packed.responses, packed.costs, None if mix is None else mix.pack())


def _volumes(row: Stored | None, gone: "np.typing.NDArray[np.int64]", made: Day) -> Stored | None:
    """The volumes of a day, with these hours anew."""
    matrix = np.zeros((HOURS, volumes.WIDTH), np.uint32) if row is None else volumes.unpack(row.cells).copy()
    matrix[gone] = made.volumes[gone]
    return Stored(volumes.pack(matrix), b"", b"", b"", None) if matrix.any() else None


def above(stored: Mapping[Place, Stored], slots: Mapping[int, Whole]) -> tuple[Changes, Whole]:
    """What changes in the rows of a month or a year where these of its days or months came to this; and the whole.

    `stored` are its rows.
    """
    gone = np.array(sorted(slots))
    changes: Changes = {}
    whole: dict[Dimension, Cells] = {}
    before = Mixes.unpack(row.mix or b"") if (row := stored.get(_ALL)) is not None else None
    parts = [] if before is None else [before.keep(~np.isin(before.slot, gone))]
    for slot, each in slots.items():
        parts.append(each.mix.merged(np.full(len(each.mix.slot), slot)))
    mix = mixes.joined(parts)
    for dimension in OF_ALL:
        place = EVERYWHERE, dimension
        found = []
        if (row := stored.get(place)) is not None:
            old = of_cells.unpack(Packed(*row[:4]))
            found.append(old.take(np.flatnonzero(~np.isin(old.slot, gone))))
        for slot, each in slots.items():
            if (cells := each.cells.get(dimension)) is not None:
                found.append(cells.merged(np.full(len(cells), slot, np.int64), cells.key.astype(np.int64)))
        cells = of_cells.joined(found)
        if len(cells):
            whole[dimension] = cells
            changes[place] = _stored(cells, mix if dimension == Dimension.ALL else None)
        elif row is not None:
            changes[place] = None
    return changes, Whole(whole, mix)
