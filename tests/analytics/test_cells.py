import numpy as np
import pytest
from numpy.typing import NDArray

from percorso.analytics import cells
from percorso.analytics.cells import COUNTS, SUMS, Cells
from percorso.analytics.distinct import STANDARD_ERROR, Distinct, mixed
from percorso.analytics.histograms import RELATIVE_ERROR, Ragged, bins, percentiles
from percorso.analytics.mixes import SAMPLE, Mixes
from percorso.analytics.mixes import joined as joined_mixes


def hashes(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    return mixed(b"".join(int(number).to_bytes(16, "big") for number in numbers))


def made(rng: np.random.Generator, rows: int, *, customers: int, slots: int = 24, keys: int = 5) -> Cells:
    slot, key = rng.integers(0, slots, rows), rng.integers(0, keys, rows)
    counts = rng.integers(0, 3, (rows, len(COUNTS)))
    seconds = np.where(rng.random(rows) < 0.5, np.nan, rng.lognormal(6, 2, rows))
    cost = np.where(rng.random(rows) < 0.9, np.nan, rng.integers(1, 100, rows).astype(float))
    return cells.of(
        slot,
        key,
        counts,
        rng.integers(-5, 5, (rows, len(SUMS))).astype(float),
        customers=hashes(rng.integers(0, customers, rows)),
        response_seconds=seconds,
        cost=cost,
        currency=rng.integers(1, 3, rows),
    )


def same(one: Cells, other: Cells) -> bool:
    a, b = cells.pack(one), cells.pack(other)
    return a == b


@pytest.mark.parametrize("rows", [0, 1, 50, 30_000])
def test_packed_cells_come_back_as_they_were(rows: int) -> None:
    one = made(np.random.default_rng(rows), rows, customers=20_000, slots=3, keys=2)
    back = cells.unpack(cells.pack(one))
    assert same(one, back)
    assert np.array_equal(one.counts, back.counts)
    assert np.array_equal(one.sums, back.sums)
    assert len(back) == len(one)


def test_cells_merged_in_steps_are_those_merged_at_once() -> None:
    rng = np.random.default_rng(1)
    parts = [made(rng, rows, customers=9_000) for rows in (10, 40_000, 3_000)]
    together = cells.joined(parts)
    none = np.zeros(len(together), np.int64)
    at_once = together.merged(none, together.key.astype(np.int64))
    by_part = cells.joined([part.merged(np.zeros(len(part), np.int64), part.key.astype(np.int64)) for part in parts])
    in_steps = by_part.merged(np.zeros(len(by_part), np.int64), by_part.key.astype(np.int64))
    assert same(at_once, in_steps)
    figures = cells.totals(together, together.key.astype(np.int64), 5)
    assert np.array_equal(figures.counts, at_once.counts)
    assert np.allclose(figures.customers, cells.totals(at_once, np.arange(5), 5).customers)


def test_taking_cells_keeps_each_with_its_own() -> None:
    one = made(np.random.default_rng(2), 60_000, customers=30_000, slots=4, keys=3)
    order = np.random.default_rng(3).permutation(len(one))[: len(one) // 2]
    taken = one.take(order)
    for number, place in enumerate(order):
        assert same(taken.take(np.array([number])), one.take(np.array([place])))


@pytest.mark.parametrize("customers", [0, 1, 10, 300, 683, 5_000, 100_000])
def test_distinct_customers_are_within_their_error(customers: int) -> None:
    found = []
    for seed in range(5):
        numbers = np.arange(customers) + seed * 1_000_000
        group = np.zeros(2 * customers, np.int64)
        found.append(Distinct.of(group, hashes(np.concatenate((numbers, numbers))), 1).estimates(np.array([0]), 1)[0])
    assert all(abs(each - customers) <= 4 * STANDARD_ERROR * customers + 0.5 for each in found)
    if customers <= 10:
        assert all(round(each) == customers for each in found)


def test_percentiles_are_within_their_error_of_the_value_at_that_rank() -> None:
    rng = np.random.default_rng(4)
    several = [np.sort(rng.lognormal(5, 2, n)) + 1 for n in (1, 7, 1_000, 30_000)]
    of = np.concatenate([np.full(len(each), number) for number, each in enumerate(several)])
    seconds = np.concatenate(several)
    found = percentiles(Ragged.of(of, bins(seconds), np.ones(len(seconds)), 5), (0.5, 0.9, 0.99))
    for number, each in enumerate(several):
        for place, percent in enumerate((50, 90, 99)):
            exact = each[-(-len(each) * percent // 100) - 1]
            assert found[number, place] == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-9)
    assert np.isnan(found[4]).all()


def test_mixes_are_exact_for_few_and_a_fair_sample_of_many() -> None:
    rng = np.random.default_rng(5)
    many = 40_000
    ids = hashes(np.arange(many))
    used = np.minimum(rng.geometric(0.6, many), 3)
    parts = []
    for step in range(3):
        seen = used > step
        slot = rng.integers(0, 6, int(seen.sum()))
        parts.append(Mixes.of(slot, ids[seen], np.full(int(seen.sum()), 1 << (step + 1), np.uint32)))
    all_ = joined_mixes([Mixes.unpack(part.pack()) for part in parts])
    sample = all_.merged(np.zeros(len(all_.slot), np.int64))
    assert len(sample.slot) == SAMPLE
    exact = np.bincount(used, minlength=4)[1:] / many
    assert np.abs(sample.shares() - exact).max() < 0.03
    few = Mixes.of(np.zeros(3, np.int64), ids[:3], np.array([2, 6, 14], np.uint32))
    assert few.shares().tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
