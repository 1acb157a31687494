"""Funnels: how many customers get how far along some nodes.

*In order*: a customer passes node k where there are steps e1 … ek of theirs, each after the one before it, each at its
node, with ek no more than `within` after e1. Of all e1 that one counts from which most nodes are reached, the earliest
of those; and after it for each node the first step that can be taken. One step stands for one node.

*In any order*: a customer passes node k where, no more than `within` after one of their steps at any of the nodes,
there are steps at each of the first k nodes. Of all such times that one counts with most nodes, the earliest of those.
A step that is at several of the nodes stands for each of them. When a node is passed is when it and all before it are
there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.histograms import Ragged, bins, percentiles
from percorso.analytics.journeys import Journeys, Node

_NEVER: Final = np.iinfo(np.int64).max // 2
_BINS: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """Of each node: how many customers passed it, and their median time in s from passing the one before it (or NaN).

    The median is within 2 % (`histograms`).
    """

    customers: Ints
    median_seconds: Floats


class Funnel:
    """What is counted of a funnel, bucket by bucket."""

    def __init__(self, nodes: Sequence[Node], groups: Mapping[int, int], *, within_ms: int, ordered: bool) -> None:
        self._nodes = nodes
        self._groups = groups
        self._within_ms = within_ms
        self._ordered = ordered
        self._customers = np.zeros(len(nodes), np.int64)
        self._times = np.zeros((len(nodes), _BINS))

    def add(self, journeys: Journeys) -> None:
        """Count the steps of customers who were not counted yet."""
        if not len(journeys):
            return
        at_node = [node.matches(journeys.steps, self._groups) for node in self._nodes]
        starts, passed_at = self._in_order(journeys, at_node) if self._ordered else self._in_any(journeys, at_node)
        reach = (passed_at < _NEVER).sum(axis=1)
        best = _best(journeys.customer[starts], reach)
        for step in range(len(self._nodes)):
            there = best[reach[best] > step]
            self._customers[step] += len(there)
            if step:
                seconds = (passed_at[there, step] - passed_at[there, step - 1]) / 1000
                self._times[step] += np.bincount(bins(seconds), minlength=_BINS)

    def _in_order(self, journeys: Journeys, at_node: list[NDArray[np.bool_]]) -> tuple[Ints, Ints]:
        """Where customers may have begun, and when each node was then passed (starts, nodes), or `_NEVER`."""
        starts = np.flatnonzero(at_node[0])
        passed_at = np.full((len(starts), len(at_node)), _NEVER)
        passed_at[:, 0] = journeys.at[starts]
        going = np.arange(len(starts))
        place = starts
        for step, here in enumerate(at_node[1:], 1):
            following = np.append(_next(here), len(here))[place + 1]
            reached = self._reached(journeys, starts[going], following)
            going, place = going[reached], following[reached]
            passed_at[going, step] = journeys.at[place]
        return starts, passed_at

    def _in_any(self, journeys: Journeys, at_node: list[NDArray[np.bool_]]) -> tuple[Ints, Ints]:
        """As `_in_order`, but for the order."""
        starts = np.flatnonzero(np.logical_or.reduce(at_node))
        passed_at = np.full((len(starts), len(at_node)), _NEVER)
        for step, here in enumerate(at_node):
            following = _next(here)[starts]
            reached = self._reached(journeys, starts, following)
            passed_at[reached, step] = journeys.at[following[reached]]
        return starts, np.maximum.accumulate(passed_at, axis=1)

    def _reached(self, journeys: Journeys, starts: Ints, places: Ints) -> NDArray[np.bool_]:
        """Which places there are, are the same customer's as the start, and in time after it."""
        there = places < len(journeys)
        at = np.where(there, places, 0)
        near = journeys.at[at] - journeys.at[starts] <= self._within_ms
        return np.asarray(there & near & (journeys.customer[at] == journeys.customer[starts]))

    def passed(self) -> Passed:
        """How far customers got."""
        step, number = np.nonzero(self._times)
        times = Ragged.of(step, number, self._times[step, number], len(self._nodes))
        return Passed(self._customers, percentiles(times, (0.5,))[:, 0])


def _next(here: NDArray[np.bool_]) -> Ints:
    """For each place the first one, from it on, that is `here`; the length where there is none."""
    places = np.where(here, np.arange(len(here)), len(here))
    return np.minimum.accumulate(places[::-1])[::-1]


def _best(customer: Ints, reach: Ints) -> Ints:
    """For each customer, whose starts are together, the first of those that reach furthest; none that reach nothing."""
    if not len(customer):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.concatenate(([True], customer[1:] != customer[:-1])))
    most = np.maximum.reduceat(reach, first)
    own = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(customer))))
    best = np.flatnonzero(reach == most[own])
    best = best[np.concatenate(([True], own[best][1:] != own[best][:-1]))]
    return best[reach[best] > 0]
