"""Intervals: the hours, days, weeks and months of a time zone, and the hours of UTC that each is made of.

What is kept is kept by hours of UTC. An hour counts where it begins: exactly, wherever the zone is whole hours away
from UTC; elsewhere, as in India, an hour that midnight cuts is in the day before.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np

from percorso.analytics.arrays import Ints

Interval = Literal["hour", "day", "week", "month"]
INTERVALS: Final[tuple[Interval, ...]] = get_args(Interval)

HOUR: Final = 3600
"""Seconds."""
_DAY: Final = 24 * HOUR
_EPOCH: Final = date(1970, 1, 1)
_EPOCH_WEEKDAY: Final = 3
"""1 January 1970 was a Thursday; Monday is 0."""


def about(start: datetime, end: datetime, interval: Interval) -> int:
    """About how many intervals there are between these moments, never far more than there are."""
    days = (end - start) / timedelta(days=1)
    return int(days * 24) if interval == "hour" else int(days / {"day": 1, "week": 7, "month": 31}[interval])


def begins(start: datetime, end: datetime, interval: Interval, zone: ZoneInfo) -> list[datetime]:
    """When the intervals begin that have a moment in this range, in order, in the zone; the first not after `start`.

    A day begins at midnight, or where clocks skip midnight when they do so; a week on Monday. A day of 23 or 25 hours
    is one, and of an hour that is there twice each is one.
    """
    if interval == "hour":
        first = start.astimezone(UTC)
        return [(first + timedelta(hours=n)).astimezone(zone) for n in range(-int((start - end) // timedelta(hours=1)))]
    found: list[datetime] = []
    for day in _days(start.astimezone(zone).date(), interval):
        moment = datetime.combine(day, time(), zone).astimezone(UTC)
        if moment >= end:
            break
        # Where clocks skipped a whole day, it and the next begin at once.
        if not found or moment > found[-1]:
            found.append(moment)
    later = [moment for moment in found if moment > start]
    return [moment.astimezone(zone) for moment in found[len(found) - len(later) - 1 :]]


def _days(first: date, interval: Interval) -> Iterator[date]:
    """The days on which intervals begin, from that of this day on."""
    if interval == "month":
        year, month = first.year, first.month
        while True:
            yield date(year, month, 1)
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)  # noqa: PLR2004 - of a year
    step = timedelta(days=7 if interval == "week" else 1)
    day = first - timedelta(days=first.weekday() if interval == "week" else 0)
    while True:
        yield day
        day += step


def places(hours: Ints, begun: list[datetime]) -> Ints:
    """Which of the intervals that begin at these moments each hour begins in; hours are Unix times in s."""
    edges = np.array([int(moment.timestamp()) for moment in begun], np.int64)
    return np.asarray(np.searchsorted(edges, hours, side="right") - 1, np.int64)


def of_week(hours: Ints, zone: ZoneInfo) -> tuple[Ints, Ints]:
    """The weekday (Monday is 0) and the hour of the day in the zone at which each of these hours begins."""
    local = hours + offsets(hours, zone)
    return (local // _DAY + _EPOCH_WEEKDAY) % 7, local % _DAY // HOUR


def offsets(hours: Ints, zone: ZoneInfo) -> Ints:
    """How many seconds the zone is ahead of UTC when each of these hours begins, which are Unix times in s."""
    days, day_of = np.unique(hours // _DAY, return_inverse=True)
    known = {int(day): _offset(int(day) * _DAY, zone) for day in {*days.tolist(), *(days + 1).tolist()}}
    before, after = (np.array([known[day + step] for day in days.tolist()], np.int64) for step in (0, 1))
    found = before[day_of]
    for number in np.flatnonzero((before != after)[day_of]).tolist():
        found[number] = _offset(int(hours[number]), zone)
    return found


def _offset(unix: int, zone: ZoneInfo) -> int:
    offset = (datetime.combine(_EPOCH, time(), UTC) + timedelta(seconds=unix)).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
