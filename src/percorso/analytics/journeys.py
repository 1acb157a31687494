"""Journeys: the steps of many customers, each customer's together and in order of time, with numbers for their nodes.

A *node* is what a step is seen as: its touchpoint, its kind or its channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Ints
from percorso.analytics.steps import Steps

By = Literal["touchpoint", "kind", "channel"]

OTHER: Final = 0
"""The number of all nodes that have none of their own."""
_IN_TABLE: Final = 2**22
"""Ids below are looked up in a table, which then takes 16 MiB at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Journeys:
    """Steps of whole customers, in order: `customer` is 0, 0, 1, 1, 1, 2 …, `at` Unix time in ms, and the steps."""

    customer: Ints
    at: Ints
    steps: Steps

    def __len__(self) -> int:
        """How many steps there are."""
        return len(self.at)

    @property
    def customers(self) -> int:
        """How many customers there are."""
        return int(self.customer[-1]) + 1 if len(self) else 0

    def linked(self, within_ms: int) -> NDArray[np.bool_]:
        """Whether the step before is the same customer's, and no more than `within_ms` earlier."""
        if not len(self):
            return np.zeros(0, np.bool_)
        near = (self.customer[1:] == self.customer[:-1]) & (self.at[1:] - self.at[:-1] <= within_ms)
        return np.concatenate(([False], near))


def of(steps: Steps) -> Journeys:
    """The journeys of steps that are in order of time."""
    # By whole records: numpy else goes through them field by field.
    steps = np.take(steps, _by_customer(np.ascontiguousarray(steps["customer"])))
    customers = steps["customer"]
    new = customers[1:] != customers[:-1]
    customer = np.concatenate(([0], np.cumsum(new))) if len(steps) else np.zeros(0, np.int64)
    return Journeys(customer, steps["at"].astype(np.int64), steps)


def _by_customer(customers: NDArray[np.uint64]) -> Ints:
    """An order in which those of a customer are together, and as they were."""
    # Sorting numbers is many times as quick as sorting by them: so each hash carries its place, in lieu of its last
    # bits. Where two customers are then the same, the slow way is taken.
    bits = np.uint64(len(customers).bit_length())
    packed = (customers >> bits << bits) | np.arange(len(customers), dtype=np.uint64)
    packed.sort()
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    ordered = customers[order]
    met = (packed[1:] >> bits == packed[:-1] >> bits) & (ordered[1:] != ordered[:-1])
    return np.argsort(customers, kind="stable") if met.any() else order


class Nodes:
    """Numbers for nodes, given as they are met, the commonest first: `OTHER` where all `most` numbers are given.

    The ids of touchpoints may stand for others (`groups`). `ids[number]` is the id of a node, `ids[OTHER]` is -1.
    """

    def __init__(self, by: By, *, most: int, groups: Mapping[int, int] | None = None) -> None:
        self.by = by
        self.ids = [-1]
        self._most = most
        self._groups = groups if groups is not None and by == "touchpoint" else {}
        self._numbers: dict[int, int] = {}

    def number(self, of: int) -> int:
        """The number of a node, by its id."""
        of = self._groups.get(of, of)
        if of not in self._numbers and len(self.ids) <= self._most:
            self._numbers[of] = len(self.ids)
            self.ids.append(of)
        return self._numbers.get(of, OTHER)

    def numbers(self, steps: Steps) -> Ints:
        """The numbers of the nodes of steps."""
        given = steps[self.by].astype(np.int64)
        present, counts = np.unique_counts(given)
        numbers = np.zeros(len(present), np.int64)
        for place in np.argsort(-counts, kind="stable"):
            numbers[place] = self.number(int(present[place]))
        if not len(present) or present[-1] >= _IN_TABLE:
            return numbers[np.searchsorted(present, given)]
        table = np.zeros(int(present[-1]) + 1, np.int64)
        table[present] = numbers
        return table[given]

    @property
    def bits(self) -> int:
        """How many bits the numbers given so far take."""
        return (len(self.ids) - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Node:
    """One node, by its id: what a step may be asked for, whatever the others are seen as."""

    by: By
    id: int

    def matches(self, steps: Steps, groups: Mapping[int, int]) -> NDArray[np.bool_]:
        """Which of the steps are at this node."""
        if self.by != "touchpoint" or not groups:
            return np.asarray(steps[self.by] == self.id)
        own = groups.get(self.id, self.id)
        as_it = [self.id, own] + [member for member, group in groups.items() if group == own]
        return np.isin(steps["touchpoint"], [each for each in as_it if groups.get(each, each) == own])
