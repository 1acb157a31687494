"""What is kept of touchpoints over any range of whole hours: read from few rows.

Of all touchpoints there are cells of hours, days and months: the hours at the ends of a range are read from days, the
days from months, and what is between from years. Of a single touchpoint there are hours.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from percorso.analytics import cells, mixes, volumes
from percorso.analytics.arrays import Ints
from percorso.analytics.cells import Cells, Packed, Totals
from percorso.analytics.dimensions import EVERYWHERE, Dimension, Level
from percorso.analytics.mixes import Mixes
from percorso.storage.database import ReadSession

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_HOURS: Final = 24
_DECEMBER: Final = 12
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_Place = tuple[int, int, datetime]
"""Dimension, level and beginning of a row of all touchpoints."""


class Piece(NamedTuple):
    """Slots of one row, the last one exclusive."""

    level: Level
    start: datetime
    first: int
    last: int


def pieces(start: datetime, end: datetime) -> Iterator[Piece]:
    """The fewest slots that together are a range of whole hours, both ends in UTC."""
    day, last_day = _midnight(start + _DAY - _HOUR), _midnight(end)
    if day > last_day:
        yield Piece(Level.HOUR, last_day, start.hour, end.hour)
        return
    if start < day:
        yield Piece(Level.HOUR, day - _DAY, start.hour, _HOURS)
    yield from _whole_days(day, last_day)
    if last_day < end:
        yield Piece(Level.HOUR, last_day, 0, end.hour)


def _whole_days(start: datetime, end: datetime) -> Iterator[Piece]:
    month, last_month = _next_month(start - _DAY), end.replace(day=1)
    if month > last_month:
        if start < end:
            yield Piece(Level.DAY, last_month, start.day, end.day)
        return
    if start < month:
        yield Piece(Level.DAY, start.replace(day=1), start.day, (month - _DAY).day + 1)
    while month < last_month:
        of_year = last_month.month if month.year == last_month.year else _DECEMBER + 1
        yield Piece(Level.MONTH, month.replace(month=1), month.month, of_year)
        month = last_month if month.year == last_month.year else datetime(month.year + 1, 1, 1, tzinfo=UTC)
    if last_month < end:
        yield Piece(Level.DAY, last_month, 1, end.day)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0)


def _next_month(day: datetime) -> datetime:
    return (day.replace(day=1) + 31 * _DAY).replace(day=1)


@dataclass(slots=True)
class Kept:
    """Rows of all touchpoints that were read before, with the version that each had; the bytes of all are bounded.

    A year of many touchpoints is several MB, which is not sent again while it stays as it is.
    """

    most: int
    _rows: OrderedDict[_Place, tuple[str, Packed]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, place: _Place) -> tuple[str, Packed] | None:
        """The version of a row, and what it holds."""
        found = self._rows.get(place)
        if found is not None:
            self._rows.move_to_end(place)
        return found

    def put(self, place: _Place, version: str, packed: Packed) -> None:
        """Keep a row, in the place of those that were not asked for longest."""
        if (before := self._rows.pop(place, None)) is not None:
            self._bytes -= _size(before[1])
        self._rows[place] = version, packed
        self._bytes += _size(packed)
        while self._bytes > self.most:
            _, (_, oldest) = self._rows.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(packed: Packed) -> int:
    return len(packed.cells) + len(packed.customers) + len(packed.responses) + len(packed.costs)


@dataclass(frozen=True, slots=True)
class Parts:
    """What was read of all touchpoints: the packed cells of rows, and those of them that were needed unpacked."""

    rows: Mapping[tuple[Level, datetime], Packed]
    _unpacked: dict[tuple[Level, datetime], Cells] = field(default_factory=dict)

    def counts(self, start: datetime, end: datetime, name: str) -> tuple[Ints, Ints]:
        """The keys there are in a range, and one of `cells.COUNTS` of each, without a look at the sketches."""
        keys, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for found, keep in self._cells(start, end):
            keys.append(found.key[keep].astype(np.int64))
            counts.append(found.counts[keep, cells.COUNT[name]])
        distinct, of = np.unique(np.concatenate(keys), return_inverse=True)
        return distinct, np.bincount(of, weights=np.concatenate(counts), minlength=len(distinct)).astype(np.int64)

    def totals(self, start: datetime, end: datetime, keys: Ints, group: Ints, groups: int) -> Totals:
        """The figures of groups in a range: `group[i]` is that of `keys[i]`; other keys do not count."""
        order = np.argsort(keys)
        chosen = [
            found.take(np.flatnonzero(keep & np.isin(found.key, keys))) for found, keep in self._cells(start, end)
        ]
        all_ = cells.joined(chosen)
        at = np.searchsorted(keys[order], all_.key) if len(keys) else np.zeros(0, np.int64)
        return cells.totals(all_, group[order][at], groups)

    def _cells(self, start: datetime, end: datetime) -> Iterator[tuple[Cells, NDArray[np.bool_]]]:
        """The cells of each row that has some of a range, and which of them are in it; it must be one of those read."""
        for level, begun, first, last in pieces(start, end):
            row = level, begun
            if row in self.rows:
                found = self._unpacked.get(row)
                if found is None:
                    found = self._unpacked[row] = cells.unpack(self.rows[row])
                yield found, (found.slot >= first) & (found.slot < last)


async def everywhere(
    session: ReadSession, dimension: Dimension, ranges: Sequence[tuple[datetime, datetime]], kept: Kept
) -> Parts:
    """What happened at all touchpoints in these ranges, by this dimension, as of one moment.

    Relies on the primary key.
    """
    wanted = dict.fromkeys((piece.level, piece.start) for start, end in ranges for piece in pieces(start, end))
    places = [(int(dimension), int(level), start) for level, start in wanted]
    known = [kept.get(place) for place in places]
    rows = await session.fetch(
        "SELECT r.level, r.start, v.version, v.version = wanted.known AS same, "
        "CASE WHEN v.version IS DISTINCT FROM wanted.known THEN r.cells END AS cells, "
        "CASE WHEN v.version IS DISTINCT FROM wanted.known THEN r.customers END AS customers, "
        "CASE WHEN v.version IS DISTINCT FROM wanted.known THEN r.responses END AS responses, "
        "CASE WHEN v.version IS DISTINCT FROM wanted.known THEN r.costs END AS costs "
        "FROM unnest($2::int[], $3::timestamptz[], $4::text[]) AS wanted(level, start, known) "
        "CROSS JOIN LATERAL (SELECT *, xmin, ctid FROM rollups WHERE scope = $5 AND dimension = $1 "
        "AND rollups.level = wanted.level AND rollups.start = wanted.start) AS r "
        "CROSS JOIN LATERAL (SELECT r.xmin::text || r.ctid::text AS version) AS v",
        int(dimension),
        [level for _, level, _ in places],
        [start for _, _, start in places],
        [None if one is None else one[0] for one in known],
        EVERYWHERE,
    )
    before = dict(zip(places, known, strict=True))
    found: dict[tuple[Level, datetime], Packed] = {}
    for level, start, version, same, *data in rows:
        place = (int(dimension), level, start)
        was = before[place] if same else None
        packed = Packed(*data) if was is None else was[1]
        if was is None:
            kept.put(place, version, packed)
        found[Level(level), start] = packed
    return Parts(found)


class Hours(NamedTuple):
    """Cells of hours, and when the hour of each begins: Unix times in s."""

    cells: Cells
    hours: Ints


class HourRows(NamedTuple):
    """Rows of hours as they were read; a range of whole hours."""

    days: Sequence[datetime]
    rows: Sequence[Packed]
    start: datetime
    end: datetime

    def hours(self) -> Hours:
        """The cells of the range."""
        found, row = cells.unpack_all(self.rows)
        days = np.array([_unix(day) for day in self.days], np.int64)
        hours = days[row] + 3600 * found.slot.astype(np.int64)
        keep = (hours >= _unix(self.start)) & (hours < _unix(self.end))
        if keep.all():
            return Hours(found, hours)
        return Hours(found.take(np.flatnonzero(keep)), hours[keep])


async def at_one(
    session: ReadSession, touchpoint_ids: Sequence[int], dimension: Dimension, start: datetime, end: datetime
) -> HourRows:
    """What happened at a touchpoint, which these ids are, in each hour of a range, by this dimension.

    Relies on the primary key.
    """
    rows = await session.fetch(
        "SELECT start, cells, customers, responses, costs FROM rollups "
        "WHERE scope = ANY($1::int[]) AND dimension = $2 AND level = $3 AND start >= $4 AND start < $5",
        list(touchpoint_ids),
        int(dimension),
        int(Level.HOUR),
        _midnight(start),
        end,
    )
    return HourRows([row[0] for row in rows], [Packed(*row[1:]) for row in rows], start, end)


async def volume(session: ReadSession, start: datetime, end: datetime) -> tuple[Ints, Ints]:
    """How many interactions there were in each hour of a range: Unix times in s, and counts by channel's code.

    Shapes (n) and (n, volumes.WIDTH). Hours of days without any are left out. Relies on the primary key.
    """
    rows = await session.fetch(
        "SELECT start, cells FROM rollups WHERE scope = $1 AND dimension = $2 AND level = $3 "
        "AND start >= $4 AND start < $5 ORDER BY start",
        EVERYWHERE,
        int(Dimension.VOLUME),
        int(Level.HOUR),
        _midnight(start),
        end,
    )
    days = np.array([_unix(row[0]) for row in rows], np.int64)
    counts = np.frombuffer(b"".join([row[1] for row in rows]), "<u4").reshape(-1, volumes.WIDTH).astype(np.int64)
    hours = (days[:, None] + 3600 * np.arange(volumes.HOURS)).reshape(-1)
    keep = (hours >= _unix(start)) & (hours < _unix(end))
    return hours[keep], counts[keep]


class MixRows(NamedTuple):
    """Samples of customers as they were read, and the slots of each that count."""

    rows: Sequence[tuple[Piece, bytes]]

    def sample(self) -> Mixes:
        """One sample of the range."""
        found = []
        for piece, packed in self.rows:
            mix = Mixes.unpack(packed)
            found.append(mix.keep((mix.slot >= piece.first) & (mix.slot < piece.last)))
        return mixes.whole(found)


async def mix(session: ReadSession, start: datetime, end: datetime) -> MixRows:
    """The sample of customers of a range, with the channels of each. Relies on the primary key."""
    wanted = {(int(piece.level), piece.start): piece for piece in pieces(start, end)}
    rows = await session.fetch(
        "SELECT r.level, r.start, r.mix FROM unnest($2::int[], $3::timestamptz[]) AS wanted(level, start) "
        "CROSS JOIN LATERAL (SELECT * FROM rollups WHERE scope = $4 AND dimension = $1 "
        "AND rollups.level = wanted.level AND rollups.start = wanted.start) AS r WHERE r.mix IS NOT NULL",
        int(Dimension.ALL),
        [level for level, _ in wanted],
        [begun for _, begun in wanted],
        EVERYWHERE,
    )
    return MixRows([(wanted[row[0], row[1]], row[2]) for row in rows])


def _unix(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds())
