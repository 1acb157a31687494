"""Series: the figures of intervals, of all together or by what most interactions have."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from percorso.analytics import cells, intervals
from percorso.analytics.arrays import Ints
from percorso.analytics.cells import Cells, Totals


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The figures of a range: of all, of each group, and of each interval of each group, one group after the other.

    Group i is of `keys[i]`; the last one is of all other keys, where there are more groups than keys.
    """

    keys: list[int]
    groups: int
    all: Totals
    each: Totals
    points: Totals


def of(found: Cells, hours: Ints, begun: list[datetime], top: int | None) -> Series:
    """The series of cells, each of which is of the hour that begins at that Unix time, in the intervals that begin so.

    By key, those with most interactions first, at most `top` of them; where that is None, all are one group.
    """
    keys, group, groups = _grouped(found, top)
    point = intervals.places(hours, begun)
    return Series(
        keys,
        groups,
        cells.totals(found, np.zeros(len(found), np.int64), 1),
        cells.totals(found, group, groups),
        cells.totals(found, group * len(begun) + point, groups * len(begun)),
    )


def _grouped(found: Cells, top: int | None) -> tuple[list[int], Ints, int]:
    """The keys of groups, the group of each cell, and how many groups there are."""
    if top is None:
        return [0], np.zeros(len(found), np.int64), 1
    keys, of_key = np.unique(found.key, return_inverse=True)
    interactions = np.bincount(of_key, weights=found.counts[:, cells.COUNT["interactions"]], minlength=len(keys))
    order = np.argsort(-interactions, kind="stable")
    group_of = np.empty(len(keys), np.int64)
    group_of[order] = np.minimum(np.arange(len(keys)), top)
    return keys[order[:top]].tolist(), group_of[of_key], min(len(keys), top + 1)
