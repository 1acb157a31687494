"""What is counted of each interaction, read from what is stored of it into arrays.

What the numbers mean is said at `cells.COUNTS` and `cells.SUMS`, and they are those of a customer's summary:

- direct and indirect: as said, else what is usual in the channel (`interaction.DEFAULT_DIRECTNESS`).
- negative: labelled negative, or without a label and with a score below zero.
- NPS, CSAT and CES: answers brought to their metric's scale, judged as in `measures.feelings`.
- complaints: `measures.roles.is_complaint`, each interaction that complains being one.
- settled, unresolved: by `resolution`, unless it is `not_applicable`.
- waiting time: `details.wait_seconds` of calls. Handling time: `details.duration_seconds` of calls and chats, else
  the time from `occurred_at` to `ended_at`.
- queued: inbound calls and chats; abandoned: those of them with that outcome.
- cost: `details.cost` of letters, faxes, signs and advertisements.
- reached out: inbound on a channel in which one turns to the other, but for mere reactions (`measures.contacts`).
- what came of contacts (answered, waiting, repeats …): `measures.outcomes`, as it stands beside the interaction.
- a purchase: an order placed or paid, or a visit on which something was bought (`measures.buying`).
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from asyncpg.pgproto.pgproto import UUID
from numpy.typing import NDArray

from percorso import ids
from percorso.analytics import distinct
from percorso.analytics.arrays import Floats, Ints
from percorso.analytics.cells import COUNT, SUM
from percorso.analytics.said import QUEUED, Told, read, tell
from percorso.analytics.steps import CHANNEL_CODES, DIRECTION_CODES, FLAGS, FUNCTION_CODES
from percorso.interaction import DEFAULT_DIRECTNESS
from percorso.measures import contacts, feelings, roles
from percorso.measures.contacts import Feedback, Sentiment
from percorso.storage.outcomes import Outcome as Found


class Observed(NamedTuple):
    """Interactions, in order of their ids: one entry of each array for each.

    `id` is in two halves (n, 2), `at` Unix time in ms; words are by their ids, 0 where there is none; `response` and
    `cost` NaN where there is none. `flags` has a bit for each of `cells.COUNTS`, and `more` adds to them (rows (3, m):
    entry, number of the count, amount); `sums` likewise to `cells.SUMS` (entry, number; amounts). `topics` are of
    entries (2, t: entry, word), each topic once.
    """

    id: NDArray[np.uint64]
    at: Ints
    customer: NDArray[np.uint64]
    touchpoint: NDArray[np.int32]
    channel: NDArray[np.uint8]
    function: NDArray[np.uint8]
    direction: NDArray[np.uint8]
    kind: NDArray[np.int32]
    location: NDArray[np.int32]
    agent: NDArray[np.int32]
    campaign: NDArray[np.int32]
    flags: Ints
    step_flags: NDArray[np.uint8]
    more: Ints
    sums: Ints
    sum_amounts: Floats
    response: Floats
    cost: Floats
    currency: NDArray[np.int32]
    topics: Ints


_LONGEST_SECONDS: Final = 1e9
"""30 years: what is said to have lasted longer did not, and its square must not outgrow a double."""

_BIT: Final = {name: 1 << number for name, number in COUNT.items()}
_SCORED: Final = _BIT["scored"] | _BIT["felt"]
_ABANDONED: Final = _BIT["abandoned"]
_QUEUE: Final = _BIT["queued"]
_HANDLED: Final = _BIT["handled"]
_COMPLAINTS: Final = _BIT["complaints"]
_NEGATIVE: Final = _BIT["negative"]
_REPEATS: Final = _BIT["repeats"]
_REACHED_OUT: Final = _BIT["reached_out"]
_RESOLUTIONS: Final[Mapping[str | None, int]] = {
    None: 0,
    "not_applicable": 0,
    "resolved": _BIT["settled"],
    **dict.fromkeys(("unresolved", "escalated", "follow_up"), _BIT["settled"] | _BIT["unresolved"]),
}
_UNRESOLVED: Final = _BIT["unresolved"]
_STEP_COMPLAINT: Final = FLAGS["complaint"]
_STEP_NEGATIVE: Final = FLAGS["negative"]
_STEP_UNRESOLVED: Final = FLAGS["unresolved"]
_STEP_REPEAT: Final = FLAGS["repeat"]
_STEP_PURCHASE: Final = FLAGS["purchase"]
_CHANNELS: Final[dict[str, int]] = {str(name): code for name, code in CHANNEL_CODES.items()}
_FUNCTIONS: Final[dict[str | None, int]] = {None: 0, **{str(name): code for name, code in FUNCTION_CODES.items()}}
_DIRECTIONS: Final[dict[str, int]] = {str(name): code for name, code in DIRECTION_CODES.items()}
_SENTIMENT: Final = SUM["sentiment"], SUM["sentiment_squared"]
_WAIT: Final = SUM["wait_seconds"], SUM["wait_seconds_squared"]
_HANDLING: Final = SUM["handling_seconds"], SUM["handling_seconds_squared"]
_CES: Final = SUM["ces"], SUM["ces_squared"]


class _Usual(dict[tuple[str, str, str | None], int]):
    """The bits that follow from channel, direction and directness."""

    def __missing__(self, said: tuple[str, str, str | None]) -> int:
        channel, direction, directness = said
        bits = _BIT["interactions"] | _BIT[directness or DEFAULT_DIRECTNESS[channel]]  # type: ignore[index] # stored ones are known
        if direction in {"inbound", "outbound"}:
            bits |= _BIT[direction]
        if direction == "inbound":
            bits |= _QUEUE if channel in QUEUED else 0
            bits |= _REACHED_OUT if channel in contacts.ADDRESSED else 0
        self[said] = bits
        return bits


class Words(dict[str | None, int]):
    """Numbers for words in the order in which they are met; 0 for none, which an empty one is too."""

    def __init__(self) -> None:
        super().__init__({None: 0, "": 0})
        self.met: list[str] = []

    def __missing__(self, word: str | None) -> int:
        assert word is not None  # noqa: S101 - it is there from the beginning
        self.met.append(word)
        number = self[word] = len(self.met)
        return number

    def ids(self, known: Mapping[str, int]) -> NDArray[np.int32]:
        """The ids of the words, by their numbers."""
        return np.array([0, *(known[word] for word in self.met)], np.int32)


class Observer:
    """Reads interactions: `add` them, some at a time, then `observed`; `words.met` must have ids by then.

    A row is id, identity's and customer's id, touchpoint's id, channel, kind, function, direction, and document.
    """

    def __init__(self) -> None:
        self.words = Words()
        self.rows = 0
        self._usual = _Usual()
        self._ids = bytearray()
        self._customers = bytearray()
        self._plain: dict[str, array[int]] = {
            name: array(type_)
            for name, type_ in (
                ("touchpoint", "i"), ("channel", "B"), ("function", "B"), ("direction", "B"), ("kind", "i"),
                ("location", "i"), ("agent", "i"), ("campaign", "i"), ("flags", "q"), ("step_flags", "B"),
            )
        }  # fmt: skip
        self._more: list[tuple[int, int, int]] = []
        self._sums: list[tuple[int, int]] = []
        self._amounts = array("d")
        self._responses: list[tuple[int, float]] = []
        self._costs: list[tuple[int, float, int]] = []
        self._topics: list[tuple[int, int]] = []

    def add(self, rows: Iterable[Any], outcomes: Mapping[Any, Found]) -> None:
        """Read these rows, with the outcomes there are by interaction and identity: some 5 µs each."""
        interactions, customers, numbers = [], [], []
        entry = self.rows
        for row in rows:
            interactions.append(row[0].bytes)
            customers.append(row[2].bytes)
            numbers.append(self._read(entry, row, outcomes.get((row[0], row[1]))))
            entry += 1
        self.rows = entry
        self._ids += b"".join(interactions)
        self._customers += b"".join(customers)
        for column, values in zip(self._plain.values(), zip(*numbers, strict=True), strict=False):
            column.extend(values)

    def _read(self, entry: int, row: Any, found: Found | None) -> tuple[int, ...]:
        """What `_plain` holds of one row, in that order."""
        interaction, _, _, touchpoint, channel, kind, function, direction, document = row
        said, words = read(document), self.words
        flags = self._usual[channel, direction, said.directness] | _RESOLUTIONS[said.resolution]
        step, rating = _STEP_UNRESOLVED if flags & _UNRESOLVED else 0, None
        if (told := tell(channel, said)) is not None:
            flags = (flags & ~_REACHED_OUT if told.reacts else flags) | self._detailed(entry, told)
            step, rating = step | (_STEP_PURCHASE if told.bought else 0), told.rating
        if flags & _QUEUE and said.outcome == "abandoned":
            flags |= _ABANDONED
        if said.ended_at and channel in QUEUED and not flags & _HANDLED:
            flags |= self._ended(entry, interaction, said.ended_at)
        if roles.is_complaint(direction, kind, said.outcome, rating):
            flags, step = flags | _COMPLAINTS, step | _STEP_COMPLAINT
        if said.sentiment is not None:
            felt = self._felt(entry, said.sentiment)
            flags, step = flags | felt, step | (_STEP_NEGATIVE if felt & _NEGATIVE else 0)
        if said.feedback:
            self._answered(entry, said.feedback)
        if said.topics:
            self._topics.extend((entry, words[topic]) for topic in set(contacts.topics_of(said.topics)) if topic)
        if found is not None:
            flags |= self._came_of(entry, interaction, found)
            step |= _STEP_REPEAT if found.repeat else 0
        return (
            touchpoint, _CHANNELS[channel], _FUNCTIONS[function], _DIRECTIONS[direction], words[kind],
            words[said.location], words[said.agent], words[said.campaign], flags, step,
        )  # fmt: skip

    def _detailed(self, entry: int, told: Told) -> int:
        """What details say, in numbers."""
        flags = 0
        if told.wait is not None and told.wait <= _LONGEST_SECONDS:
            flags = _BIT["waited"]
            self._add_sums(entry, _WAIT, told.wait)
        if told.handling is not None:
            flags |= self._handled(entry, told.handling)
        if (cost := told.cost) is not None and cost.amount is not None:
            self._costs.append((entry, cost.amount, self.words[cost.currency or contacts.NO_CURRENCY]))
        return flags

    def _felt(self, entry: int, sentiment: Sentiment) -> int:
        score, label, flags = sentiment.score, sentiment.label, 0
        if score is not None:
            flags = _SCORED
            self._add_sums(entry, _SENTIMENT, score)
        if label is not None:
            flags |= _BIT["felt"]
        if label == "negative" or (label is None and score is not None and score < 0):
            flags |= _NEGATIVE
        return flags

    def _add_sums(self, entry: int, columns: tuple[int, int], value: float) -> None:
        """Add a value to a sum, and its square to another."""
        self._sums += ((entry, columns[0]), (entry, columns[1]))
        self._amounts.append(value)
        self._amounts.append(value * value)

    def _handled(self, entry: int, seconds: float | None) -> int:
        if seconds is None or seconds > _LONGEST_SECONDS:
            return 0
        self._add_sums(entry, _HANDLING, seconds)
        return _HANDLED

    def _ended(self, entry: int, interaction: UUID, ended_at: str) -> int:
        """A duration by when it ended, where that is not before it began."""
        seconds = (ids.unix_ms(datetime.fromisoformat(ended_at.upper())) - ids.occurred_ms(interaction.bytes)) / 1000
        return self._handled(entry, seconds if seconds >= 0 else None)

    def _answered(self, entry: int, given: list[Feedback]) -> None:
        """Answers to questions about satisfaction, which may be several."""
        for answer in contacts.answers_of(given):
            scaled = answer.scaled
            names: tuple[str, ...] = ()
            if answer.metric == "nps":
                names = ("nps", *(("promoters",) if feelings.promotes(scaled) else ())) + (
                    ("detractors",) if feelings.detracts(scaled) else ()
                )
            elif answer.metric == "csat":
                names = ("csat", "satisfied") if feelings.satisfied(scaled) else ("csat",)
            elif answer.metric == "ces":
                names = ("ces",)
                self._add_sums(entry, _CES, feelings.effort(scaled))
            self._more.extend((entry, COUNT[name], 1) for name in names)

    def _came_of(self, entry: int, interaction: UUID, found: Found) -> int:
        """What came of a contact."""
        flags = _REPEATS if found.repeat else 0
        if found.response_seconds is not None:
            flags |= _BIT["asked"] | _BIT["answered"]
            self._responses.append((entry, found.response_seconds))
        elif found.waiting:
            flags |= _BIT["asked"] | _BIT["waiting"]
            self._sums.append((entry, SUM["waiting_since"]))
            self._amounts.append(ids.occurred_ms(interaction.bytes) / 1000)
        if found.resolved_first is not None:
            flags |= _BIT["first_contacts"] | (_BIT["resolved_first"] if found.resolved_first else 0)
        if found.hand_offs:
            self._more.append((entry, COUNT["hand_offs"], found.hand_offs))
        return flags | (_BIT["switches"] if found.switched else 0)

    def observed(self, known: Mapping[str, int]) -> Observed:
        """What was read, in order of ids; `known` are the ids of all words that were met."""
        words = self.words.ids(known)
        halves = np.frombuffer(bytes(self._ids), ">u8").astype(np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        place = np.empty(self.rows, np.int64)
        place[order] = np.arange(self.rows)
        plain = {
            name: np.frombuffer(column, column.typecode)[order] if self.rows else np.empty(0, column.typecode)
            for name, column in self._plain.items()
        }
        for name in ("kind", "location", "agent", "campaign"):
            plain[name] = words[plain[name]]
        plain["flags"] = plain["flags"].astype(np.int64)
        halves = halves[order]
        more = np.array(self._more, np.int64).reshape(-1, 3).T
        more[0] = place[more[0]]
        more = more[:, np.argsort(more[0], kind="stable")]
        sums = np.array(self._sums, np.int64).reshape(-1, 2).T
        sums[0] = place[sums[0]]
        in_order = np.argsort(sums[0], kind="stable")
        topics = np.array(self._topics, np.int64).reshape(-1, 2).T
        topics[0], topics[1] = place[topics[0]], words[topics[1]]
        topics = topics[:, np.argsort(topics[0], kind="stable")]
        response, cost = np.full(self.rows, np.nan), np.full(self.rows, np.nan)
        currency = np.zeros(self.rows, np.int32)
        for entry, seconds in self._responses:
            response[place[entry]] = seconds
        for entry, amount, number in self._costs:
            cost[place[entry]], currency[place[entry]] = amount, words[number]
        return Observed(
            id=halves,
            at=(halves[:, 0] >> np.uint64(16)).astype(np.int64),
            customer=distinct.mixed(bytes(self._customers))[order],
            more=more,
            sums=sums[:, in_order],
            sum_amounts=np.array(self._amounts, np.float64)[in_order],
            response=response,
            cost=cost,
            currency=currency,
            topics=topics,
            **plain,
        )


def without(observed: Observed, interaction_ids: Iterable[UUID]) -> Observed:
    """What was observed but for these interactions."""
    gone = np.frombuffer(b"".join(each.bytes for each in interaction_ids), ">u8").astype(np.uint64).reshape(-1, 2)
    both = set(map(tuple, gone.tolist()))
    keep = np.ones(len(observed.at), np.bool_)
    for entry in np.flatnonzero(np.isin(observed.id[:, 0], gone[:, 0])).tolist():
        keep[entry] = tuple(observed.id[entry].tolist()) not in both
    return only(observed, keep)


def only(observed: Observed, entries: NDArray[np.bool_]) -> Observed:
    """These entries of what was observed."""
    place = np.cumsum(entries) - 1
    more, sums, topics = (entries[each[0]] for each in (observed.more, observed.sums, observed.topics))
    sparse = {
        "more": observed.more[:, more],
        "sums": observed.sums[:, sums],
        "sum_amounts": observed.sum_amounts[sums],
        "topics": observed.topics[:, topics],
    }
    for name in ("more", "sums", "topics"):
        sparse[name][0] = place[sparse[name][0]]
    plain = {name: values[entries] for name, values in observed._asdict().items() if name not in sparse}
    return Observed(**plain, **sparse)


def joined(parts: Sequence[Observed]) -> Observed:
    """All of these, of which no two have the same, in order of ids."""
    if len(parts) == 1:
        return parts[0]
    ids_ = np.concatenate([part.id for part in parts])
    order = np.lexsort((ids_[:, 1], ids_[:, 0]))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first = np.cumsum([0, *(len(part.at) for part in parts)])
    sparse: dict[str, Any] = {}
    for name in ("more", "sums", "topics"):
        rows = [getattr(part, name).copy() for part in parts]
        for number, each in enumerate(rows):
            each[0] = place[each[0] + first[number]]
        both = np.concatenate(rows, axis=1)
        in_order = np.argsort(both[0], kind="stable")
        sparse[name] = both[:, in_order]
        if name == "sums":
            sparse["sum_amounts"] = np.concatenate([part.sum_amounts for part in parts])[in_order]
    plain = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in Observed._fields
        if name not in sparse
    }
    return Observed(**plain, **sparse)
