"""What a watch rule says, as it is stored, and which interactions each of its parts fits.

A rule is made of steps that one customer's interactions must take in this order, each one or several interactions that
fit a match; and it may end with something that must not follow. `watching` finds what it says in a history.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import product
from typing import Any, Final, Literal, get_args

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso.measures.contacts import Contact, read
from percorso.measures.roles import complains

Shared = Literal["conversation", "case", "thread", "topic", "channel", "touchpoint", "agent"]
"""What interactions may have in common; a thread is a case or a conversation."""
SHARED: Final[tuple[Shared, ...]] = get_args(Shared)

MOST_STEPS: Final = 8
MOST_COUNT: Final = 50
LONGEST: Final = timedelta(days=90)
"""All spans of a rule together."""
SPAN_PATTERN: Final = r"^[1-9][0-9]{0,6}[smhd]$"

_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MOST_GROUPS: Final = 50
"""Groups that one interaction may be in: it may have so many topics."""


def span_ms(given: str | None) -> int:
    """Milliseconds of a span such as `90s`, `15m`, `4h` or `7d`; 0 where there is none."""
    return int(given[:-1]) * _UNITS[given[-1]] if given else 0


def is_span(given: str) -> bool:
    """Whether this is a span, and none that is longer than a rule may be."""
    return re.fullmatch(SPAN_PATTERN, given) is not None and span_ms(given) <= LONGEST / timedelta(milliseconds=1)


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Scores from `min` to `max`, both included; of one of these labels, or of these metrics."""

    label: Sequence[str] = ()
    metric: Sequence[str] = ()
    min: float | None = None
    max: float | None = None

    def has(self, score: float | None) -> bool:
        """Whether a score lies within; one that is not there does where there are no bounds."""
        if self.min is None and self.max is None:
            return True
        return score is not None and not (
            (self.min is not None and score < self.min) or (self.max is not None and score > self.max)
        )


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an interaction must be: all that is said must hold, of several words one."""

    channel: Sequence[str] = ()
    kind: Sequence[str] = ()
    touchpoint: Sequence[str] = ()
    function: Sequence[str] = ()
    direction: Sequence[str] = ()
    status: Sequence[str] = ()
    outcome: Sequence[str] = ()
    resolution: Sequence[str] = ()
    topic: Sequence[str] = ()
    complaint: bool | None = None
    reaches_out: bool | None = None
    sentiment: Bounds | None = None
    feedback: Bounds | None = None
    attributes: Mapping[str, str | bool | int | float] = {}


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many interactions that fit; `within` counts from the step before, or from the first of the first step."""

    match: Match
    count: int = 1
    within: str | None = None


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must not follow the last step; it is waited for `grace` longer, since what happens is told later."""

    match: Match
    within: str
    same: Sequence[Shared] = ()
    grace: str | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pattern over one customer's interactions."""

    when: Sequence[Step]
    same: Sequence[Shared] = ()
    then_absent: Absent | None = None

    @property
    def before_ms(self) -> int:
        """The longest time from the first interaction of the pattern to its last."""
        return sum(span_ms(step.within) for step in self.when)

    @property
    def after_ms(self) -> int:
        """The time from its last interaction to where it is decided that nothing followed."""
        absent = self.then_absent
        return 0 if absent is None else span_ms(absent.within) + span_ms(absent.grace)


_rule = msgspec.json.Decoder(Rule).decode


def rule_of(stored: str) -> Rule:
    """A rule as it is stored."""
    return _rule(stored)


class _Felt(msgspec.Struct, gc=False):
    label: str | None = None


class _Document(msgspec.Struct, gc=False):
    """Of a document, what matches ask for and contacts do not have."""

    sentiment: _Felt | None = None
    attributes: dict[str, Any] | None = None


_document = msgspec.json.Decoder(_Document).decode


class Seen(msgspec.Struct, eq=False):
    """An interaction, as rules see it; `touchpoints` are the slug it was sent with and the one that this counts as."""

    contact: Contact
    touchpoints: tuple[str, ...]
    label: str | None
    attributes: Mapping[str, Any]

    @property
    def id(self) -> UUID:
        """Its id, which orders the journey."""
        return self.contact.id

    @property
    def at(self) -> int:
        """When it was, Unix time in ms."""
        return self.contact.at


def seen(
    identity_id: UUID,
    interaction_id: UUID,
    channel: str,
    kind: str | None,
    function: str | None,
    direction: str,
    document: str,
    *touchpoints: str | None,
) -> Seen:
    """A stored interaction: its columns, its document and its touchpoints."""
    said = _document(document)
    return Seen(
        read(identity_id, interaction_id, channel, kind, function, direction, document),
        tuple(slug for slug in touchpoints if slug is not None),
        None if said.sentiment is None else said.sentiment.label,
        said.attributes or {},
    )


def fits(match: Match, one: Seen) -> bool:
    """Whether an interaction is what a match says.

    Topics are compared without regard to their case. A feeling that was only put in a word has the score that the
    summary gives it. Of several answers one must fit. An attribute must be equal, of the same type of JSON.
    """
    of = one.contact
    return (
        _is(match.channel, of.channel)
        and _is(match.direction, of.direction)
        and _is(match.kind, of.kind)
        and _is(match.function, of.function)
        and _is(match.status, of.status)
        and _is(match.outcome, of.outcome)
        and _is(match.resolution, of.resolution)
        and (not match.touchpoint or any(slug in match.touchpoint for slug in one.touchpoints))
        and (not match.topic or any(topic.casefold() in of.topics for topic in match.topic))
        and (match.complaint is None or complains(of) == match.complaint)
        and (match.reaches_out is None or of.reaches_out == match.reaches_out)
        and (match.sentiment is None or _felt(match.sentiment, one))
        and (match.feedback is None or _answered(match.feedback, of))
        and all(_same(one.attributes.get(name), value) for name, value in match.attributes.items())
    )


def _is(words: Sequence[str], word: str | None) -> bool:
    return not words or word in words


def _felt(bounds: Bounds, one: Seen) -> bool:
    if one.contact.sentiment is None and one.label is None:
        return False
    return _is(bounds.label, one.label) and bounds.has(one.contact.sentiment)


def _answered(bounds: Bounds, of: Contact) -> bool:
    return any(_is(bounds.metric, answer.metric) and bounds.has(answer.score) for answer in of.answers)


def _same(given: Any, value: str | float) -> bool:
    # To Python, True is 1; to JSON it is not.
    return isinstance(given, bool) == isinstance(value, bool) and bool(given == value)


def _values(name: Shared, one: Seen) -> Sequence[str]:
    """What an interaction has of this: none, one, or several."""
    of = one.contact
    if name == "topic":
        return of.topics
    if name == "thread":
        return of.threads
    if name == "touchpoint":
        # The last is the one that it counts as.
        return one.touchpoints[-1:]
    value: str | None = getattr(of, name)
    return () if value is None else (value,)


def groups(names: Sequence[Shared], one: Seen) -> list[tuple[str, ...]]:
    """The groups that an interaction is in: with all others of one of them it has all this in common."""
    found = product(*(dict.fromkeys(_values(name, one)) for name in names))
    return [group for _, group in zip(range(_MOST_GROUPS), found, strict=False)]


def alike(names: Iterable[Shared], one: Seen, other: Seen) -> bool:
    """Whether `other` has in common with `one` what that has of these; what it does not have does not narrow."""
    for name in names:
        values = _values(name, one)
        if values and not any(value in values for value in _values(name, other)):
            return False
    return True
