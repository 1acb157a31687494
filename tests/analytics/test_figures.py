"""What figures are made of: ranges out of few rows, rows unpacked together, intervals of zones, changes told apart."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percorso.analytics import cells, figures, intervals, mixes
from percorso.analytics.cells import COUNT, COUNTS, SUMS, Cells, Totals
from percorso.analytics.dimensions import Level
from percorso.analytics.intervals import Interval
from percorso.analytics.mixes import Mixes
from percorso.queries.rollups import Kept, Piece, pieces

HOUR = timedelta(hours=1)
BEGIN = datetime(2023, 12, 28, 3, tzinfo=UTC)
HOURS = 24 * 800


def hours_of(piece: Piece) -> set[datetime]:
    """The hours that a piece of a row stands for."""
    if piece.level == Level.HOUR:
        return {piece.start + slot * HOUR for slot in range(piece.first, piece.last)}
    if piece.level == Level.DAY:
        begin = piece.start + timedelta(days=piece.first - 1)
        return {begin + number * HOUR for number in range(24 * (piece.last - piece.first))}
    begin, end = (
        datetime(piece.start.year + (slot - 1) // 12, (slot - 1) % 12 + 1, 1, tzinfo=UTC)
        for slot in (piece.first, piece.last)
    )
    return {begin + number * HOUR for number in range((end - begin) // HOUR)}


@given(st.integers(0, HOURS), st.integers(1, HOURS))
def test_pieces_are_the_range_each_hour_of_it_once_in_few_rows(first: int, length: int) -> None:
    start = BEGIN + first * HOUR
    end = start + length * HOUR
    found = list(pieces(start, end))
    hours = [hour for piece in found for hour in hours_of(piece)]
    assert len(hours) == len(set(hours)) == length
    assert min(hours) == start
    assert max(hours) == end - HOUR
    rows = [(piece.level, piece.start) for piece in found]
    assert len(rows) == len(set(rows)) <= 4 + 4


def some_cells(seed: int, n: int) -> Cells:
    random = np.random.default_rng(seed)
    entries = random.integers(1, 40 * n + 1) if n else 0
    counts = random.integers(0, random.choice([2, 300, 70_000]), (entries, len(COUNTS)))
    counts[:, random.random(len(COUNTS)) < 0.5] = 0
    sums = random.random((entries, len(SUMS))) * (random.random(len(SUMS)) < 0.5)
    return cells.of(
        random.integers(0, n, entries) if n else np.zeros(0, np.int64),
        random.integers(0, 3, entries),
        counts,
        sums,
        customers=random.integers(0, 2**63, entries).astype(np.uint64) * np.uint64(2),
        response_seconds=np.where(random.random(entries) < 0.3, random.lognormal(5, 2, entries), np.nan),
        cost=np.where(random.random(entries) < 0.1, random.random(entries), np.nan),
        currency=random.integers(1, 3, entries),
    )


@given(st.lists(st.integers(0, 24), max_size=6), st.integers(0, 99))
def test_rows_unpacked_together_are_what_each_is(sizes: list[int], seed: int) -> None:
    rows = [cells.pack(some_cells(seed + number, size)) for number, size in enumerate(sizes)]
    found, row = cells.unpack_all(rows)
    parts = [cells.unpack(each) for each in rows]
    one_by_one = cells.joined(parts)
    assert row.tolist() == [number for number, part in enumerate(parts) for _ in range(len(part))]
    for name in ("slot", "key", "counts", "sums"):
        assert np.array_equal(getattr(found, name), getattr(one_by_one, name))
    for name in ("customers", "responses", "costs"):
        assert getattr(found, name).pack() == getattr(one_by_one, name).pack()


def test_a_row_with_many_customers_is_unpacked_among_those_with_few() -> None:
    random = np.random.default_rng(3)
    n = 5000
    plain = np.zeros(n, np.int64)
    many = cells.of(
        plain, plain, np.ones((n, len(COUNTS)), np.int64), np.zeros((n, len(SUMS))),
        customers=random.integers(0, 2**63, n).astype(np.uint64), response_seconds=np.full(n, np.nan),
        cost=np.full(n, np.nan), currency=plain,
    )  # fmt: skip
    rows = [some_cells(1, 5), many, some_cells(2, 0), some_cells(3, 5)]
    found, _ = cells.unpack_all([cells.pack(each) for each in rows])
    assert found.customers.pack() == cells.joined(rows).customers.pack()


@given(st.integers(0, 50))
def test_cells_are_taken_as_often_and_in_the_order_they_are_asked_for(seed: int) -> None:
    all_ = some_cells(seed, 10)
    chosen = np.random.default_rng(seed).integers(0, len(all_), 12)
    taken = all_.take(chosen)
    one_by_one = cells.joined([all_.take(np.array([each])) for each in chosen])
    for name in ("customers", "responses", "costs"):
        assert getattr(taken, name).pack() == getattr(one_by_one, name).pack()


def test_a_sample_of_many_rows_is_that_of_all_their_customers() -> None:
    random = np.random.default_rng(7)
    pool = random.integers(0, 2**63, 30_000).astype(np.uint64) * np.uint64(2)
    parts, everyone = [], []
    for size in (100, 9000, 3000, 20_000, 3000):
        slots, chosen = random.integers(0, 3, size), random.choice(pool, size)
        channels = np.uint32(1) << random.integers(1, 9, size).astype(np.uint32)
        parts.append(Mixes.of(slots, chosen, channels))
        everyone.append((chosen, channels))
    found = mixes.whole(parts)
    customers, channels = (np.concatenate(each) for each in zip(*everyone, strict=True))
    plain = Mixes.of(np.zeros(len(customers), np.int64), customers, channels)
    assert np.array_equal(found.customers, plain.customers)
    assert np.array_equal(found.channels, plain.channels)
    few = mixes.whole(parts[:1])
    assert len(few.customers) == len(np.unique(everyone[0][0]))
    assert len(mixes.whole([]).customers) == 0


@pytest.mark.parametrize("zone", ["Europe/Rome", "Asia/Kolkata", "Africa/Cairo", "Pacific/Apia", "America/St_Johns"])
@pytest.mark.parametrize("interval", intervals.INTERVALS)
def test_every_hour_is_in_the_interval_in_which_it_begins_by_the_clocks_of_the_zone(
    zone: str, interval: Interval
) -> None:
    place = ZoneInfo(zone)
    start = datetime(2011, 12, 20, 5, tzinfo=UTC)
    hours = [start + number * HOUR for number in range(24 * 200)]
    begun = intervals.begins(start, hours[-1] + HOUR, interval, place)
    assert begun[0] <= start
    assert len(begun) >= intervals.about(start, hours[-1] + HOUR, interval)
    found = intervals.places(np.array([int(hour.timestamp()) for hour in hours]), begun)
    assert sorted(set(found.tolist())) == list(range(len(begun)))
    for hour, number in zip(hours, found.tolist(), strict=True):
        local, first = hour.astimezone(place), begun[number]
        if interval == "hour":
            assert hour.timestamp() == first.timestamp()
        elif interval == "day":
            assert local.date() == first.date()
        elif interval == "week":
            assert local.isocalendar()[:2] == first.isocalendar()[:2]
        else:
            assert (local.year, local.month) == (first.year, first.month)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Rome", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"])
def test_weekdays_and_hours_are_those_that_clocks_show(zone: str) -> None:
    place = ZoneInfo(zone)
    hours = [datetime(2011, 12, 20, tzinfo=UTC) + number * HOUR for number in range(24 * 365)]
    weekday, hour = intervals.of_week(np.array([int(each.timestamp()) for each in hours]), place)
    local = [each.astimezone(place) for each in hours]
    assert weekday.tolist() == [each.weekday() for each in local]
    assert hour.tolist() == [each.hour for each in local]


def test_rows_that_were_read_before_are_kept_as_far_as_there_is_room() -> None:
    packed = cells.Packed(b"x" * 10, b"", b"", b"")
    kept = Kept(30)
    places = [(1, 2, BEGIN + number * HOUR) for number in range(4)]
    for place in places[:3]:
        kept.put(place, "a", packed)
    kept.put(places[2], "b", packed)
    assert kept.get(places[0]) == ("a", packed)
    kept.put(places[3], "a", packed)
    assert kept.get(places[1]) is None
    assert kept.get(places[0]) == ("a", packed)
    assert kept.get(places[2]) == ("b", packed)
    kept.put(places[1], "a", cells.Packed(b"x" * 31, b"", b"", b""))
    assert all(kept.get(place) is None for place in places)


def totals(**counts: int) -> Totals:
    row = np.zeros((1, len(COUNTS)), np.int64)
    for name, count in counts.items():
        row[0, COUNT[name]] = count
    nothing = cells.joined([])
    return Totals(row, np.zeros((1, len(SUMS))), np.zeros(1), *[nothing.responses.merged(np.zeros(0, np.int64), 1)] * 2)


def test_figures_are_nested_by_their_names_and_null_where_there_is_nothing_to_tell() -> None:
    now, before = totals(interactions=10, nps=4, promoters=3, detractors=1), totals(interactions=4, unresolved=1)
    [found] = figures.documents(figures.columns(now))
    assert found["nps"] == {"answers": 4, "score": 50.0}
    assert found["csat"] == {"answers": 0, "score": None}
    assert found["response_time"] == {"responses": 0, "p50": None, "p90": None, "p99": None}
    [change] = figures.documents(figures.compared(now, before))
    assert change["interactions"] == {"before": 4, "difference": 6, "significant": None, "test": None}
    assert change["unresolved_per_100"] == {"before": 25.0, "difference": -25.0, "significant": None, "test": None}
    assert change["nps"]["score"] == {"before": None, "difference": None, "significant": None, "test": None}
    assert figures.documents({}) == []
