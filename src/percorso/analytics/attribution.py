"""Attribution: which nodes conversions are owed to.

The *path* to a conversion are the customer's steps before it, no more than `lookback` earlier and after the conversion
before it. Each conversion is one credit, which the nodes of its path share; one without a path is owed to none of them.

- `first`, `last`: all to the first or the last step.
- `linear`: the same to each step.
- `position`: 40 % to the first step, 40 % to the last, 20 % to those between in equal parts; half to each of two.
- `time_decay`: to each step in proportion to 2^(-t / half-life), where t is the time from it to the conversion. These
  five as Kaushik describes them (Multi-channel attribution modeling: the good, bad and ugly models, 2013).
- `markov`: by removal effects in a Markov chain of first order (Anderl, Becker, von Wangenheim & Schumann, Mapping the
  customer journey, International Journal of Research in Marketing 33, 2016): see `removal_effects`.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.journeys import Journeys, Nodes

Model = Literal["first", "last", "linear", "position", "time_decay", "markov"]

MOST_NODES: Final = 1021
"""Nodes that are told apart, those met first; the others are `OTHER` together. What a Markov chain of them takes grows
with the third power of their number."""
_ENDS: Final = 0.4
_START, _CONVERTED, _LOST, _STATES = MOST_NODES + 1, MOST_NODES + 2, MOST_NODES + 3, MOST_NODES + 4


@dataclass(frozen=True, slots=True, eq=False)
class Credits:
    """By number of a node: the conversions owed to it, how many steps of paths were at it, on the paths of how many.

    `without` conversions of `conversions` have no path; so many `customers` converted.
    """

    credits: Floats
    steps: Ints
    conversions_with: Ints
    conversions: int
    customers: int
    without: int


@dataclass(frozen=True, slots=True)
class _Paths:
    """Paths of conversions.

    `step` are places of steps of paths, in order, each of path `of`; of each path `first` is the place of its first
    step, `length` how many there are, `to` the place of its conversion.
    """

    step: Ints
    of: Ints
    first: Ints
    length: Ints
    to: Ints


class Attribution:
    """What is counted of conversions, bucket by bucket. Those before `since_ms` only end paths."""

    def __init__(self, nodes: Nodes, model: Model, *, since_ms: int, lookback_ms: int, half_life_ms: int) -> None:
        self._nodes = nodes
        self._model = model
        self._since_ms = since_ms
        self._lookback_ms = lookback_ms
        self._half_life_ms = half_life_ms
        self._credits = np.zeros(MOST_NODES + 1)
        self._steps = np.zeros(MOST_NODES + 1, np.int64)
        self._with = np.zeros(MOST_NODES + 1, np.int64)
        self._conversions = self._customers = self._without = 0
        # Only of the model that needs it, since it takes 8 MB.
        self._moves = np.zeros((_STATES, _STATES), np.int64) if model == "markov" else np.zeros((0, 0), np.int64)

    def add(self, journeys: Journeys, converts: NDArray[np.bool_]) -> None:
        """Count the steps of customers who were not counted yet; `converts` says which are conversions."""
        if not len(journeys):
            return
        node = self._nodes.numbers(journeys.steps)
        counted = np.flatnonzero(converts & (journeys.at >= self._since_ms))
        paths = self._paths(journeys, converts, counted)
        self._conversions += len(counted)
        self._customers += len(np.unique(journeys.customer[counted]))
        self._without += len(counted) - len(paths.first)
        at = node[paths.step]
        self._steps += np.bincount(at, minlength=MOST_NODES + 1)
        self._with += np.bincount(np.unique(paths.of * _STATES + at) % _STATES, minlength=MOST_NODES + 1)
        if self._model == "markov":
            self._moves += self._moved(journeys, converts, node, paths)
        else:
            shares = self._shares(journeys, paths)
            self._credits += np.bincount(at, weights=shares, minlength=MOST_NODES + 1)

    def _paths(self, journeys: Journeys, converts: NDArray[np.bool_], counted: Ints) -> _Paths:
        places = np.where(converts, np.arange(len(converts)), len(converts))
        following = np.minimum.accumulate(places[::-1])[::-1]
        step = np.flatnonzero(~converts & (following < len(converts)))
        to = following[step]
        on_path = (journeys.customer[to] == journeys.customer[step]) & (journeys.at[to] >= self._since_ms)
        on_path &= journeys.at[to] - journeys.at[step] <= self._lookback_ms
        step, to = step[on_path], to[on_path]
        number = np.searchsorted(counted, to)
        length = np.bincount(number, minlength=len(counted))
        some = np.flatnonzero(length)
        of = np.searchsorted(some, number)
        return _Paths(step, of, counted[some] - length[some], length[some], counted[some])

    def _shares(self, journeys: Journeys, paths: _Paths) -> Floats:
        """The part of its conversion that each step of a path is owed."""
        place = paths.step - paths.first[paths.of]
        length = paths.length[paths.of]
        if self._model == "first":
            return np.asarray(place == 0, np.float64)
        if self._model == "last":
            return np.asarray(place == length - 1, np.float64)
        if self._model == "linear":
            return np.asarray(1 / length)
        if self._model == "position":
            at_end = (place == 0) | (place == length - 1)
            several = np.where(at_end, _ENDS, (1 - 2 * _ENDS) / np.maximum(length - 2, 1))
            return np.asarray(np.where(length <= 2, 1 / length, several))  # noqa: PLR2004 - ends alone
        ago = journeys.at[paths.to][paths.of] - journeys.at[paths.step]
        # The last step of a path weighs one, so that none is too old to weigh anything.
        least = journeys.at[paths.to] - journeys.at[paths.first + paths.length - 1]
        weights = np.exp2(-(ago - least[paths.of]) / self._half_life_ms)
        return np.asarray(weights / np.bincount(paths.of, weights=weights, minlength=len(paths.first))[paths.of])

    def _moved(self, journeys: Journeys, converts: NDArray[np.bool_], node: Ints, paths: _Paths) -> Ints:
        """How often customers moved from one state of the chain to another (states, states).

        Steps in the range that are on the path of no conversion make up paths that are lost: from one step to the next
        where nothing else comes between and no more than `lookback` passes.
        """
        lost = ~converts & (journeys.at >= self._since_ms)
        lost[paths.step] = False
        on = journeys.linked(self._lookback_ms)
        on[1:] &= lost[1:] & lost[:-1]
        within = np.zeros(len(node), np.bool_)
        within[paths.step] = True
        within[paths.first] = False
        ends = lost & ~np.append(on[1:], False)
        moves = [
            (np.full(len(paths.first), _START), node[paths.first]),
            (node[np.flatnonzero(within) - 1], node[within]),
            (node[paths.to - 1], np.full(len(paths.to), _CONVERTED)),
            (np.full(int((lost & ~on).sum()), _START), node[lost & ~on]),
            (node[np.flatnonzero(on) - 1], node[on]),
            (node[ends], np.full(int(ends.sum()), _LOST)),
        ]
        whole = np.concatenate([source * _STATES + target for source, target in moves])
        return np.bincount(whole, minlength=_STATES**2).reshape(_STATES, _STATES)

    def credits(self) -> Credits:
        """What is owed to whom."""
        owed = self._credits
        if self._model == "markov":
            effects = removal_effects(self._moves)
            total = effects.sum()
            owed = effects / total * (self._conversions - self._without) if total else effects
        return Credits(owed, self._steps, self._with, self._conversions, self._customers, self._without)


def removal_effects(moves: Ints) -> Floats:
    """By which share conversions become fewer where a node leads nowhere, for each node.

    `moves` are counts of moves between states: the nodes, then start, converted, lost. Paths that do not come by a
    node are not changed by its removal; those that do are lost. So what is lost of the probability p to convert is that
    to ever reach the node, times that to convert from there: with N = (I - Q)^-1, the fundamental matrix of the
    absorbing chain (Kemeny & Snell, Finite Markov chains, 1960), start s and node i, it is N[s, i] / N[i, i] ×
    (N r)[i], where r are probabilities to convert at the next move. The effect is that divided by p = (N r)[s].
    """
    nodes = len(moves) - 3
    effects = np.zeros(nodes)
    met = np.append(np.flatnonzero(moves[:nodes].sum(axis=1)), nodes)
    leaving = moves[met].sum(axis=1)
    if not leaving[-1]:
        return effects
    inner = moves[np.ix_(met, met)] / leaving[:, None]
    fundamental = np.linalg.inv(np.eye(len(met)) - inner)
    converts = fundamental @ (moves[met, nodes + 1] / leaving)
    if converts[-1] > 0:
        reached = fundamental[-1, :-1] / np.diag(fundamental)[:-1]
        effects[met[:-1]] = reached * converts[:-1] / converts[-1]
    return effects
