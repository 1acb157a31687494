"""What a UTC day comes to, of what was observed in it: cells, a mix, volumes and steps."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics import steps, volumes
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import COUNTS, SUMS, Cells
from percorso.analytics.dimensions import Dimension
from percorso.analytics.distinct import Distinct
from percorso.analytics.histograms import Ragged, bins
from percorso.analytics.mixes import Mixes
from percorso.analytics.observe import Observed
from percorso.analytics.steps import STEP
from percorso.analytics.volumes import Volumes

HOUR_MS: Final = 3_600_000
HOURS: Final = 24
DAY_MS: Final = HOURS * HOUR_MS

_SLOT_BITS: Final = 8
_KEY_BITS: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """A day, or some hours of it. `cells` by scope and dimension, `steps` by bucket and hour; none of them is empty."""

    cells: dict[tuple[int, Dimension], Cells]
    mix: Mixes
    volumes: Volumes
    steps: dict[tuple[int, int], bytes]


def between(observed: Observed, low_ms: int, high_ms: int) -> Observed:
    """What was observed in this time, its end excluded."""
    low, high = np.searchsorted(observed.at, (low_ms, high_ms))

    def part(entries: Ints) -> slice:
        return slice(*np.searchsorted(entries, (low, high)))

    more, sums, topics = part(observed.more[0]), part(observed.sums[0]), part(observed.topics[0])
    sparse = {
        "more": observed.more[:, more] - [[low], [0], [0]],
        "sums": observed.sums[:, sums] - [[low], [0]],
        "sum_amounts": observed.sum_amounts[sums],
        "topics": observed.topics[:, topics] - [[low], [0]],
    }
    plain = {name: values[low:high] for name, values in observed._asdict().items() if name not in sparse}
    return Observed(**plain, **sparse)


def day_of(observed: Observed, start_ms: int) -> Day:
    """What these interactions, all of the day that begins then, come to."""
    hour = (observed.at - start_ms) // HOUR_MS
    cells: dict[tuple[int, Dimension], Cells] = {}
    facts = _Facts.of(observed)
    nowhere = np.zeros(len(hour), np.int64)
    for dimension, key in (
        (Dimension.ALL, nowhere),
        (Dimension.TOUCHPOINT, observed.touchpoint),
        (Dimension.CHANNEL, observed.channel),
        (Dimension.KIND, observed.kind),
    ):
        cells |= _by_scope(facts, dimension, nowhere, hour, key)
    of, topic = observed.topics
    cells |= _by_scope(facts.take(of), Dimension.TOPIC, nowhere[of], hour[of], topic)
    for dimension, key in (
        (Dimension.ALL, nowhere),
        (Dimension.CHANNEL, observed.channel),
        (Dimension.FUNCTION, observed.function),
        (Dimension.KIND, observed.kind),
        (Dimension.LOCATION, observed.location),
        (Dimension.AGENT, observed.agent),
        (Dimension.CAMPAIGN, observed.campaign),
    ):
        cells |= _by_scope(facts, dimension, observed.touchpoint, hour, key)
    channel = observed.channel.astype(np.int64)
    mix = Mixes.of(hour, observed.customer, np.left_shift(1, channel).astype(np.uint32))
    return Day(cells, mix, volumes.of(hour, channel), _steps(observed, hour))


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """What is added up, of each entry: so many of what does not come to nothing, the others' numbers and amounts.

    Entry i has the next `counts[i]` of `columns` and `amounts`, and the next `sums[i]` of `sum_columns` and
    `sum_amounts`.
    """

    counts: Ints
    columns: Ints
    amounts: Ints
    sums: Ints
    sum_columns: Ints
    sum_amounts: Floats
    customer: NDArray[np.uint64]
    response: Floats
    cost: Floats
    currency: NDArray[np.int32]

    @classmethod
    def of(cls, observed: Observed) -> "_Facts":
        """The facts of what was observed."""
        bits = (observed.flags[:, None] >> np.arange(len(COUNTS))) & 1
        row, column = np.nonzero(bits)
        row, column = np.concatenate((row, observed.more[0])), np.concatenate((column, observed.more[1]))
        amount = np.ones(len(row), np.int64)
        amount[len(row) - observed.more.shape[1] :] = observed.more[2]
        order = np.argsort(row, kind="stable")
        entries = len(observed.at)
        return cls(
            np.bincount(row, minlength=entries),
            column[order],
            amount[order],
            np.bincount(observed.sums[0], minlength=entries),
            observed.sums[1],
            observed.sum_amounts,
            observed.customer,
            observed.response,
            observed.cost,
            observed.currency,
        )

    def take(self, entries: Ints) -> "_Facts":
        """Those of these entries, each as often as it is given."""
        counts, sums = _places(self.counts, entries), _places(self.sums, entries)
        return _Facts(
            self.counts[entries],
            self.columns[counts],
            self.amounts[counts],
            self.sums[entries],
            self.sum_columns[sums],
            self.sum_amounts[sums],
            self.customer[entries],
            self.response[entries],
            self.cost[entries],
            self.currency[entries],
        )


def _places(counts: Ints, entries: Ints) -> Ints:
    """Where what belongs to these entries stands, of which each has the next so many."""
    first = np.concatenate(([0], np.cumsum(counts)))[entries]
    wanted = counts[entries]
    ends = np.cumsum(wanted)
    total = int(ends[-1]) if len(ends) else 0
    places: Ints = np.arange(total) - np.repeat(ends - wanted, wanted) + np.repeat(first, wanted)
    return places


def _by_scope(
    facts: _Facts, dimension: Dimension, scope: NDArray[Any], slot: Ints, key: NDArray[Any]
) -> dict[tuple[int, Dimension], Cells]:
    """The cells of each scope, of entries each with its scope, slot and key."""
    if not len(slot):
        return {}
    where = (scope.astype(np.int64) << _SLOT_BITS | slot) << _KEY_BITS | key
    distinct, group = np.unique(where, return_inverse=True)
    n = len(distinct)
    flat = np.repeat(group, facts.counts) * len(COUNTS) + facts.columns
    counted = np.bincount(flat, weights=facts.amounts, minlength=n * len(COUNTS)).astype(np.int64)
    flat = np.repeat(group, facts.sums) * len(SUMS) + facts.sum_columns
    summed = np.bincount(flat, weights=facts.sum_amounts, minlength=n * len(SUMS)).astype(np.float64)
    answered, paid = ~np.isnan(facts.response), ~np.isnan(facts.cost)
    cells = Cells(
        (distinct >> _KEY_BITS & (1 << _SLOT_BITS) - 1).astype(np.uint8),
        (distinct & (1 << _KEY_BITS) - 1).astype(np.int32),
        counted.reshape(n, -1),
        summed.reshape(n, -1),
        Distinct.of(group, facts.customer, n),
        Ragged.of(group[answered], bins(facts.response[answered]), np.ones(int(answered.sum())), n),
        Ragged.of(group[paid], facts.currency[paid], facts.cost[paid], n),
    )
    scopes, first = np.unique(distinct >> (_SLOT_BITS + _KEY_BITS), return_index=True)
    if len(scopes) == 1:
        return {(int(scopes[0]), dimension): cells}
    parts = cells.parts(np.append(first, n))
    return {(each, dimension): part for each, part in zip(scopes.tolist(), parts, strict=True)}


def _steps(observed: Observed, hour: Ints) -> dict[tuple[int, int], bytes]:
    """The steps by bucket and hour, those of each in order of ids."""
    made = np.empty(len(hour), STEP)
    for name, values in (
        ("customer", observed.customer),
        ("at", observed.at),
        ("touchpoint", observed.touchpoint),
        ("kind", observed.kind),
        ("channel", observed.channel),
        ("function", observed.function),
        ("direction", observed.direction),
        ("flags", observed.step_flags),
    ):
        made[name] = values
    where = steps.bucket(observed.customer) * HOURS + hour
    order = np.argsort(where, kind="stable")
    made, where = made[order], where[order]
    places, first = np.unique(where, return_index=True)
    ends = np.append(first, len(where)).tolist()
    return {
        divmod(place, HOURS): made[ends[number] : ends[number + 1]].tobytes()
        for number, place in enumerate(places.tolist())
    }
