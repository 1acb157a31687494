"""Contact quality of a period: read from rollups, for touchpoints, channels or kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import COUNT
from percorso.analytics.dimensions import Dimension
from percorso.queries import naming
from percorso.queries.counted import Range, Run, counted
from percorso.storage.database import ReadSession

By = Literal["touchpoint", "channel", "kind"]

_DIMENSIONS: Final[Mapping[By, Dimension]] = {
    "touchpoint": Dimension.TOUCHPOINT,
    "channel": Dimension.CHANNEL,
    "kind": Dimension.KIND,
}
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Counts and sums of the period and of the one before, of the same length.

    `everything`: shapes (2, 1, COUNTS) and (2, 1, SUMS), that before being the second. `counts` and `sums`: (2, items,
    …), those with the most contacts first, whose `names` are None where an interaction says no kind. `series` is of the
    intervals: (intervals, items, …). `number` is how many items there are in all.
    """

    before_from: datetime
    everything: tuple[Ints, Floats]
    counts: Ints
    sums: Floats
    names: Sequence[str | None]
    number: int
    series: tuple[Ints, Floats] | None


async def find(
    session: ReadSession,
    start: datetime,
    end: datetime,
    *,
    by: By,
    top: int,
    begins: Sequence[datetime] | None,
    run: Run,
) -> Found:
    """The `top` items by contacts from `start` to before `end`, both whole hours.

    `begins` are the moments at which the intervals of a series begin, the first not after `start`; an hour is in the
    one in which it begins.
    """
    before_from = start - (end - start)
    both = [(start, end), (before_from, start)]
    everything = (await counted(session, Dimension.ALL, both, run=run)).table(2, np.zeros(1, np.int64))
    dimension = _DIMENSIONS[by]
    groups = await naming.groups(session, dimension)
    found = (await counted(session, dimension, both, run=run)).grouped(groups)
    keys = found.keys()
    contacts = found.table(2, keys)[0][0, :, COUNT["reached_out"]]
    order = np.lexsort((keys, -contacts))
    ranked = keys[order[contacts[order] > 0]]
    chosen = ranked[:top]
    keys = np.sort(chosen)
    at = np.searchsorted(keys, chosen)
    counts, sums = found.table(2, keys)
    names = await naming.names(session, dimension, chosen.tolist())
    series = None
    if begins is not None:
        ranges = _ranges(begins, start, end)
        members = np.array(naming.members(groups, keys.tolist()), np.int64)
        of_intervals = await counted(session, dimension, ranges, keys=members, run=run)
        series_counts, series_sums = of_intervals.grouped(groups).table(len(ranges), keys)
        series = series_counts[:, at], series_sums[:, at]
    return Found(
        before_from,
        everything,
        counts[:, at],
        sums[:, at],
        [names.get(key) for key in chosen.tolist()],
        len(ranked),
        series,
    )


def _ranges(begins: Sequence[datetime], start: datetime, end: datetime) -> list[Range]:
    """The whole hours of each interval, as far as they are in the range."""
    edges = [start, *(_whole_hour(moment) for moment in begins[1:]), end]
    return list(pairwise(edges))


def _whole_hour(moment: datetime) -> datetime:
    """The whole hour of UTC, which it is or the next one."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if hour == moment else hour + _HOUR
