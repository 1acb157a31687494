"""Cells: what happened in one hour, day or month, by touchpoint, channel, topic … : counts, sums and sketches.

Cells add up (`merged`), so that those of any range are merged from few stored ones, and the figures of an answer are
`Totals` of groups of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.distinct import Distinct
from percorso.analytics.histograms import Ragged, bins

COUNTS: Final = (
    "interactions",
    "inbound",
    "outbound",
    "direct",
    "indirect",
    "scored",  # with a sentiment that has a score
    "felt",  # with a sentiment that has a score or a label
    "negative",  # of those felt: labelled negative, or without a label and scored below zero
    "nps",  # answers on the scale of 0 to 10
    "promoters",
    "detractors",
    "csat",
    "satisfied",
    "ces",  # answers brought to the scale of 1 to 7
    "complaints",
    "settled",  # with a resolution that is resolved, unresolved, escalated or follow_up
    "unresolved",  # of those settled: any but resolved
    "waited",  # with a time in the queue
    "handled",  # with a duration
    "queued",  # inbound calls and chats: those that can be abandoned
    "abandoned",
    "asked",  # inbound contacts of which it is known whether they were answered
    "answered",
    "waiting",
    "first_contacts",  # contacts of which it is known whether they were resolved at first contact
    "resolved_first",
    "reached_out",  # contacts that can be a repeat: what shares of repeats and hand-offs are taken of
    "repeats",
    "hand_offs",
    "switches",
)
"""Whole numbers of a cell, in the order in which they are stored; a new one goes to the end."""

SUMS: Final = (
    "sentiment",
    "sentiment_squared",
    "ces",
    "ces_squared",
    "wait_seconds",
    "wait_seconds_squared",
    "handling_seconds",
    "handling_seconds_squared",
    "waiting_since",  # Unix times in s of those that still wait
)
"""Sums of a cell, in the order in which they are stored; a new one goes to the end."""

COUNT: Final = {name: number for number, name in enumerate(COUNTS)}
SUM: Final = {name: number for number, name in enumerate(SUMS)}

_WIDTHS: Final = (np.uint8, np.uint16, np.uint32)
_UNUSED: Final = 255


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Many cells. `slot` says which hour (0 to 23), day or month (from 1), `key` by what: an id, a code; else 0.

    Shapes: `slot` and `key` (n), `counts` (n, COUNTS), `sums` (n, SUMS). `customers` are distinct customers,
    `responses` histograms of response times by `histograms.bins`, `costs` amounts by the id of the currency's word.
    """

    slot: NDArray[np.uint8]
    key: NDArray[np.int32]
    counts: Ints
    sums: Floats
    customers: Distinct
    responses: Ragged
    costs: Ragged

    def __len__(self) -> int:
        """How many there are."""
        return len(self.slot)

    def take(self, cells: Ints) -> "Cells":
        """These cells, in the order given."""
        return Cells(
            self.slot[cells],
            self.key[cells],
            self.counts[cells],
            self.sums[cells],
            self.customers.take(cells),
            self.responses.take(cells),
            self.costs.take(cells),
        )

    def parts(self, bounds: Ints) -> "list[Cells]":
        """Those from each of these positions to the next, of which there is one more than parts."""
        customers = self.customers.parts(bounds)
        responses, costs = self.responses.parts(bounds), self.costs.parts(bounds)
        return [
            Cells(
                self.slot[low:high],
                self.key[low:high],
                self.counts[low:high],
                self.sums[low:high],
                customers[number],
                responses[number],
                costs[number],
            )
            for number, (low, high) in enumerate(pairwise(bounds.tolist()))
        ]

    def merged(self, slot: Ints, key: Ints) -> "Cells":
        """These cells with another slot and key each; those that then have the same are one."""
        both, group = np.unique((slot << 32) + key, return_inverse=True)
        counts, sums = _added(self.counts, self.sums, group, len(both))
        return Cells(
            (both >> 32).astype(np.uint8),
            (both & 0xFFFFFFFF).astype(np.int32),
            counts,
            sums,
            self.customers.merged(group, len(both)),
            self.responses.merged(group, len(both)),
            self.costs.merged(group, len(both)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """Figures of groups: `counts` (groups, COUNTS), `sums` (groups, SUMS), estimated `customers` (groups), the rest."""

    counts: Ints
    sums: Floats
    customers: Floats
    responses: Ragged
    costs: Ragged

    def count(self, name: str) -> Ints:
        """One of `COUNTS`, of each group."""
        return self.counts[:, COUNT[name]]

    def sum(self, name: str) -> Floats:
        """One of `SUMS`, of each group."""
        return self.sums[:, SUM[name]]


def of(
    slot: Ints,
    key: Ints,
    counts: Ints,
    sums: Floats,
    *,
    customers: NDArray[np.uint64],
    response_seconds: Floats,
    cost: Floats,
    currency: Ints,
) -> Cells:
    """The cells of interactions: each with its slot, key, counts, sums and customer's hash.

    `response_seconds` and `cost` are NaN where there is none; `currency` is the id of a word.
    """
    both, group = np.unique((slot.astype(np.int64) << 32) + key, return_inverse=True)
    cells = len(both)
    counted, summed = _added(counts, sums, group, cells)
    answered, paid = ~np.isnan(response_seconds), ~np.isnan(cost)
    return Cells(
        (both >> 32).astype(np.uint8),
        (both & 0xFFFFFFFF).astype(np.int32),
        counted,
        summed,
        Distinct.of(group, customers, cells),
        Ragged.of(group[answered], bins(response_seconds[answered]), np.ones(int(answered.sum())), cells),
        Ragged.of(group[paid], currency[paid], cost[paid], cells),
    )


def totals(cells: Cells, group: Ints, groups: int) -> Totals:
    """The figures of groups of cells: `group[i]` is that of cell i."""
    counts, sums = _added(cells.counts, cells.sums, group, groups)
    return Totals(
        counts,
        sums,
        cells.customers.estimates(group, groups),
        cells.responses.merged(group, groups),
        cells.costs.merged(group, groups),
    )


def joined(parts: Sequence[Cells]) -> Cells:
    """All cells of these, in their order."""
    return Cells(
        np.concatenate([np.empty(0, np.uint8), *(part.slot for part in parts)]),
        np.concatenate([np.empty(0, np.int32), *(part.key for part in parts)]),
        np.concatenate([np.empty((0, len(COUNTS)), np.int64), *(part.counts for part in parts)]),
        np.concatenate([np.empty((0, len(SUMS))), *(part.sums for part in parts)]),
        Distinct.joined([part.customers for part in parts]),
        Ragged.joined([part.responses for part in parts]),
        Ragged.joined([part.costs for part in parts]),
    )


def _added(counts: Ints, sums: Floats, group: Ints, groups: int) -> tuple[Ints, Floats]:
    """Counts and sums of groups of rows."""
    if not len(group):
        return np.zeros((groups, counts.shape[1]), np.int64), np.zeros((groups, sums.shape[1]))
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counted = np.zeros((groups, counts.shape[1]), np.int64)
    counted[ordered[first]] = np.add.reduceat(counts[order], first, axis=0)
    summed = np.zeros((groups, sums.shape[1]))
    summed[ordered[first]] = np.add.reduceat(sums[order], first, axis=0)
    return counted, summed


@dataclass(frozen=True, slots=True)
class Packed:
    """Cells as they are stored: so that what is not asked for need not be read."""

    cells: bytes
    customers: bytes
    responses: bytes
    costs: bytes


def pack(cells: Cells) -> Packed:
    """Cells as bytes: columns without anything are left out, the others as narrow as they can be."""
    n = len(cells)
    widest = cells.counts.max(axis=0, initial=0)
    width = np.where(widest == 0, _UNUSED, np.searchsorted([2**8, 2**16], widest, side="right")).astype(np.uint8)
    used = (cells.sums != 0).any(axis=0).astype(np.uint8)
    parts = [
        np.array([n, len(COUNTS), len(SUMS)], np.uint32).tobytes(),
        width.tobytes(),
        used.tobytes(),
        cells.slot.astype(np.uint8).tobytes(),
        cells.key.astype(np.int32).tobytes(),
        *(cells.counts[:, width == which].astype(type_).tobytes() for which, type_ in enumerate(_WIDTHS)),
        cells.sums[:, used == 1].tobytes(),
    ]
    return Packed(b"".join(parts), cells.customers.pack(), cells.responses.pack(), cells.costs.pack())


def unpack(packed: Packed) -> Cells:
    """What `pack` made; columns that came later are zero."""
    data = packed.cells
    n, counted, summed = map(int, np.frombuffer(data, np.uint32, 3))
    at = 12
    width = np.frombuffer(data, np.uint8, counted, at)
    used = np.frombuffer(data, np.uint8, summed, at + counted)
    at += counted + summed
    slot = np.frombuffer(data, np.uint8, n, at)
    key = np.frombuffer(data, np.int32, n, at + n)
    at += 5 * n
    counts = np.zeros((n, len(COUNTS)), np.int64)
    for which, type_ in enumerate(_WIDTHS):
        columns = np.flatnonzero(width == which)
        if len(columns):
            counts[:, columns] = np.frombuffer(data, type_, n * len(columns), at).reshape(n, -1)
            at += n * len(columns) * np.dtype(type_).itemsize
    sums = np.zeros((n, len(SUMS)))
    columns = np.flatnonzero(used)
    if len(columns):
        sums[:, columns] = np.frombuffer(data, np.float64, n * len(columns), at).reshape(n, -1)
    return Cells(
        slot,
        key,
        counts,
        sums,
        Distinct.unpack(packed.customers, n),
        Ragged.unpack(packed.responses, n),
        Ragged.unpack(packed.costs, n),
    )


def unpack_all(rows: Sequence[Packed]) -> tuple[Cells, Ints]:
    """The cells of all these rows in their order, and the row of each: quicker than one by one where rows are small."""
    if not rows:
        return joined([]), np.zeros(0, np.int64)
    data = [row.cells for row in rows]
    heads = np.frombuffer(b"".join([each[:12] for each in data]), np.uint32).reshape(-1, 3).astype(np.int64)
    if (heads[:, 1:] != (len(COUNTS), len(SUMS))).any():
        parts = [unpack(row) for row in rows]
        return joined(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    n = heads[:, 0].tolist()
    first = 12 + len(COUNTS) + len(SUMS)
    width = np.frombuffer(b"".join([each[12 : 12 + len(COUNTS)] for each in data]), np.uint8).reshape(len(rows), -1)
    used = np.frombuffer(b"".join([each[12 + len(COUNTS) : first] for each in data]), np.uint8).reshape(len(rows), -1)
    row = np.repeat(np.arange(len(rows)), heads[:, 0])
    slot = b"".join([each[first : first + m] for each, m in zip(data, n, strict=True)])
    key = b"".join([each[first + m : first + 5 * m] for each, m in zip(data, n, strict=True)])
    at = [first + 5 * m for m in n]
    counts = np.zeros((len(row), len(COUNTS)), np.int64)
    for which, type_ in enumerate(_WIDTHS):
        at = _placed(counts, data, at, width == which, row, type_)
    sums = np.zeros((len(row), len(SUMS)))
    _placed(sums, data, at, used == 1, row, np.float64)
    return (
        Cells(
            np.frombuffer(slot, np.uint8),
            np.frombuffer(key, np.int32),
            counts,
            sums,
            Distinct.unpack_all([each.customers for each in rows], n),
            Ragged.unpack_all([each.responses for each in rows], n),
            Ragged.unpack_all([each.costs for each in rows], n),
        ),
        row,
    )


def _placed(
    table: Ints | Floats, data: list[bytes], at: list[int], columns: NDArray[np.bool_], row: Ints, type_: type
) -> list[int]:
    """Put what begins at `at` of each row into these columns of the table; where it ends."""
    many = columns.sum(axis=1)
    sizes = np.bincount(row, minlength=len(data)) * many * np.dtype(type_).itemsize
    ends: list[int] = (np.array(at) + sizes).tolist()
    values: NDArray[Any] = np.frombuffer(
        b"".join([each[a:b] for each, a, b in zip(data, at, ends, strict=True)]), type_
    )
    table[columns[row]] = values
    return ends
