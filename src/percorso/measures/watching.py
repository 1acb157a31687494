"""Finds what a watch rule says in a customer's history: a pure function of the rule, the history and the moment.

**A match** of a rule are interactions, in the order of the journey, that fit its steps one after the other. Those of
the first step are no more than its `within` apart; the last of each later step is no more than `within` after that of
the step before. All have in common what the rule's `same` names.

**Each interaction is part of one match at most.** A match is made as soon as its last interaction is there; where
several could be made with that interaction, the one whose interactions are the latest. So a fourth contact begins anew
after three were a match.

**A match fires** with its last interaction; with `then_absent`, at the end of the span that follows the last, unless
something in that span, its end included, fits and has in common with the last what `same` names there. What
interactions fired before is told to it (`used`): they are part of no match again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.measures.watch_rules import Absent, Rule, Seen, Step, alike, fits, groups, span_ms

_Group = tuple[str, ...]


class Firing(NamedTuple):
    """The interactions of a match, in the order of the journey, and when it fired, Unix time in ms."""

    interactions: tuple[Seen, ...]
    at: int

    @property
    def last(self) -> Seen:
        """The interaction that completed the match."""
        return self.interactions[-1]


class Found(NamedTuple):
    """What fired, in the order in which matches were made; how many wait for what must not follow.

    `due` is the first moment at which there may be more without anything new, Unix time in ms; None: there is none.
    """

    firings: list[Firing]
    waiting: int
    due: int | None


def find(rule: Rule, history: Sequence[Seen], *, as_of: int, used: Collection[UUID] = ()) -> Found:
    """What a rule has fired by this moment (Unix time in ms) in a history in the order of the journey.

    What occurs later than `as_of` is not there yet.
    """
    matches, due = _matches(rule, history, as_of, used)
    absent = rule.then_absent
    if absent is None:
        return Found([Firing(tuple(history[i] for i in each), history[each[-1]].at) for each in matches], 0, due)
    answers = [i for i, one in enumerate(history) if one.at <= as_of and fits(absent.match, one)] if matches else []
    firings, waiting = [], 0
    for each in matches:
        end = history[each[-1]].at + span_ms(absent.within)
        if _answered(absent, history, each[-1], answers, end):
            continue
        decided = end + span_ms(absent.grace) + 1  # what is at the very end is still in time
        if decided <= as_of:
            firings.append(Firing(tuple(history[i] for i in each), end))
        else:
            waiting += 1
            due = decided if due is None else min(due, decided)
    return Found(firings, waiting, due)


def key(watch_id: UUID, version: int, firing: Firing) -> UUID:
    """The id of a firing: the same for the same interactions and version of a rule, whenever it is found."""
    ids = b"".join(sorted(each.id.bytes for each in firing.interactions))
    digest = blake2b(watch_id.bytes + version.to_bytes(4, "big") + ids, digest_size=16, person=b"watch").digest()
    return UUID(digest)


def _matches(
    rule: Rule, history: Sequence[Seen], as_of: int, used: Collection[UUID]
) -> tuple[list[list[int]], int | None]:
    """The matches, each as places in the history; and when the first interaction is that is not there yet."""
    lines: dict[_Group, _Line] = {}
    found: list[list[int]] = []
    for i, one in enumerate(history):
        if one.at > as_of:
            return found, one.at
        taken = [k for k, step in enumerate(rule.when) if fits(step.match, one)]
        if not taken or one.id in used:
            continue
        best: list[int] = []
        for group in groups(rule.same, one):
            line = lines.get(group) or lines.setdefault(group, _Line(rule.when, history))
            line.add(i, taken)
            best = max(best, line.match(i), key=lambda places: places[::-1])
        if best:
            found.append(best)
            for group in {group for place in best for group in groups(rule.same, history[place])}:
                lines[group].remove(best)
    return found, None


def _answered(absent: Absent, history: Sequence[Seen], last: int, answers: Sequence[int], end: int) -> bool:
    """Whether one of the answers came after the last interaction of a match and no later than the end."""
    for i in answers[bisect_right(answers, last) :]:
        if history[i].at > end:
            return False
        if alike(absent.same, history[last], history[i]):
            return True
    return False


class _Line:
    """Interactions with something in common, of which matches are made: places in the history, in order.

    `fits` has, by step, those that fit it; `ends` those with which this step can be completed, all before it included.
    Of the interactions that could be those of a step, the latest leave most room to what is before them: so whether a
    step can be completed with an interaction, the latest tell.
    """

    __slots__ = ("_history", "_steps", "_withins", "ends", "fits")

    def __init__(self, steps: Sequence[Step], history: Sequence[Seen]) -> None:
        self._steps = steps
        self._withins = [span_ms(step.within) for step in steps]
        self._history = history
        self.fits: list[list[int]] = [[] for _ in steps]
        self.ends: list[list[int]] = [[] for _ in steps]

    def add(self, i: int, taken: Sequence[int]) -> None:
        """Add the interaction at this place, after all others; it fits the steps of these numbers."""
        for k in taken:
            fit = self.fits[k]
            fit.append(i)
            if len(fit) < self._steps[k].count:
                continue
            first = fit[-self._steps[k].count]
            begun = first if k == 0 else self._before(k, first)
            if begun is not None and self._history[i].at - self._history[begun].at <= self._withins[k]:
                self.ends[k].append(i)

    def match(self, i: int) -> list[int]:
        """The match that is made with the interaction at this place, the last that was added; else none."""
        if self.ends[-1][-1:] != [i]:
            return []
        places: list[int] = []
        end: int | None = i
        for k in reversed(range(len(self._steps))):
            assert end is not None  # noqa: S101 - only what can be completed is among the ends
            high = bisect_right(self.fits[k], end)
            places[:0] = self.fits[k][high - self._steps[k].count : high]
            end = self._before(k, places[0]) if k else None
        return places

    def remove(self, places: Sequence[int]) -> None:
        """Take these out: what came after the first of them is looked at again."""
        gone = set(places)
        left: dict[int, list[int]] = {}
        for k, fit in enumerate(self.fits):
            low = bisect_left(fit, places[0])
            for i in fit[low:]:
                if i not in gone:
                    left.setdefault(i, []).append(k)
            del fit[low:]
            del self.ends[k][bisect_left(self.ends[k], places[0]) :]
        for i in sorted(left):
            self.add(i, left[i])

    def _before(self, k: int, i: int) -> int | None:
        """The latest interaction before this place with which the step before can be completed."""
        ends = self.ends[k - 1]
        at = bisect_left(ends, i)
        return ends[at - 1] if at else None
