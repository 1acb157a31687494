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
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from percorso import ids
from percorso.analytics import sketches
from percorso.analytics.cells import COUNT, SUM
from percorso.analytics.sketches import Floats, Ints
from percorso.analytics.steps import CHANNEL_CODES, DIRECTION_CODES, FLAGS, FUNCTION_CODES
from percorso.details import EmailEvent, PurchaseStatus, SocialAction, VisitPurpose
from percorso.interaction import DEFAULT_DIRECTNESS, Directness, Outcome, Resolution
from percorso.measures import buying, contacts, feelings, roles
from percorso.measures.contacts import Feedback, Money, Rating, Sentiment


class Found(Protocol):
    """What came of a contact (`measures.outcomes.Outcome`)."""

    @property
    def response_seconds(self) -> float | None: ...  # noqa: D102 - as there
    @property
    def waiting(self) -> bool: ...  # noqa: D102
    @property
    def resolved_first(self) -> bool | None: ...  # noqa: D102
    @property
    def repeat(self) -> bool: ...  # noqa: D102
    @property
    def hand_offs(self) -> int: ...  # noqa: D102
    @property
    def switched(self) -> bool: ...  # noqa: D102


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


class _Said(msgspec.Struct, gc=False):
    """Of a document, what is not in the columns beside it and is counted."""

    ended_at: str | None = None
    directness: Directness | None = None
    agent: str | None = None
    location: str | None = None
    campaign: str | None = None
    outcome: Outcome | None = None
    resolution: Resolution | None = None
    sentiment: Sentiment | None = None
    feedback: list[Feedback] | None = None
    topics: tuple[str, ...] | None = None
    details: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct, gc=False):
    wait_seconds: float | None = None
    duration_seconds: float | None = None


class _Chat(msgspec.Struct, gc=False):
    duration_seconds: float | None = None


class _Placement(msgspec.Struct, gc=False):
    cost: Money | None = None


class _Mail(msgspec.Struct, gc=False):
    event: EmailEvent | None = None


class _Social(msgspec.Struct, gc=False):
    action: SocialAction | None = None


class _Site(msgspec.Struct, gc=False):
    rating: Rating | None = None


class _Visit(msgspec.Struct, gc=False):
    purpose: VisitPurpose | None = None
    basket: Money | None = None


class _Purchase(msgspec.Struct, gc=False):
    status: PurchaseStatus | None = None


_said = msgspec.json.Decoder(_Said).decode
_call = msgspec.json.Decoder(_Call | None).decode
_chat = msgspec.json.Decoder(_Chat | None).decode
_placement = msgspec.json.Decoder(_Placement | None).decode
_mail = msgspec.json.Decoder(_Mail | None).decode
_social = msgspec.json.Decoder(_Social | None).decode
_site = msgspec.json.Decoder(_Site | None).decode
_visit = msgspec.json.Decoder(_Visit | None).decode
_purchase = msgspec.json.Decoder(_Purchase | None).decode

CALLS: Final = frozenset(("phone", "video"))
PLACED: Final = frozenset(("mail", "fax", "signage", "ad"))
SITES: Final = frozenset(("review", "community"))
_QUEUED: Final = CALLS | {"chat"}
_BOUGHT: Final = (None, "placed", "paid")

_LONGEST_SECONDS: Final = 1e9
"""30 years: what is said to have lasted longer did not, and its square must not outgrow a double."""

_BIT: Final = {name: 1 << number for name, number in COUNT.items()}
_SCORED: Final = _BIT["scored"] | _BIT["felt"]
_ABANDONED: Final = _BIT["abandoned"]
_QUEUE: Final = _BIT["queued"]
_REACHED_OUT: Final = _BIT["reached_out"]
_RESOLUTIONS: Final[Mapping[str | None, int]] = {
    None: 0,
    "not_applicable": 0,
    "resolved": _BIT["settled"],
    **dict.fromkeys(("unresolved", "escalated", "follow_up"), _BIT["settled"] | _BIT["unresolved"]),
}
_UNRESOLVED: Final = _BIT["unresolved"]
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
            bits |= _QUEUE if channel in _QUEUED else 0
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
        words, usual, directions = self.words, self._usual, DIRECTION_CODES
        channels: Mapping[str, int] = CHANNEL_CODES
        functions: Mapping[str | None, int] = {None: 0, **FUNCTION_CODES}
        numbers = []
        entry = self.rows - 1
        interactions, customers = [], []
        for entry, row in enumerate(rows, self.rows):
            interaction, identity, customer, touchpoint, channel, kind, function, direction, document = row
            said = _said(document)
            outcome = said.outcome
            flags = usual[channel, direction, said.directness] | _RESOLUTIONS[said.resolution]
            step = FLAGS["unresolved"] if flags & _UNRESOLVED else 0
            rating = None
            if said.details:
                flags, step, rating = self._detailed(entry, channel, said, flags, step)
            if flags & _QUEUE and outcome == "abandoned":
                flags |= _ABANDONED
            if said.ended_at and channel in _QUEUED and not flags & _BIT["handled"]:
                flags |= self._ended(entry, interaction, said.ended_at)
            if roles.is_complaint(direction, kind, outcome, rating):
                flags |= _BIT["complaints"]
                step |= FLAGS["complaint"]
            if (sentiment := said.sentiment) is not None:
                score, label = sentiment.score, sentiment.label
                if score is not None:
                    flags |= _SCORED
                    self._add_sums(entry, _SENTIMENT, score)
                if label is not None:
                    flags |= _BIT["felt"]
                if label == "negative" or (label is None and score is not None and score < 0):
                    flags |= _BIT["negative"]
                    step |= FLAGS["negative"]
            if said.feedback:
                self._answered(entry, said.feedback)
            if said.topics:
                self._topics.extend((entry, words[topic]) for topic in set(contacts.topics_of(said.topics)) if topic)
            if (found := outcomes.get((interaction, identity))) is not None:
                flags, step = self._came_of(entry, interaction, found, flags, step)
            interactions.append(interaction.bytes)
            customers.append(customer.bytes)
            numbers.append((
                touchpoint, channels[channel], functions[function], directions[direction], words[kind],
                words[said.location], words[said.agent], words[said.campaign], flags, step,
            ))  # fmt: skip
        self.rows = entry + 1
        self._ids += b"".join(interactions)
        self._customers += b"".join(customers)
        for column, values in zip(self._plain.values(), zip(*numbers, strict=True), strict=False):
            column.extend(values)

    def _detailed(self, entry: int, channel: str, said: _Said, flags: int, step: int) -> tuple[int, int, float | None]:
        """What the details of a channel say: bits, bits of the step, a rating."""
        rating = None
        details = said.details
        if channel in CALLS:
            if call := _call(details):
                if call.wait_seconds is not None and call.wait_seconds <= _LONGEST_SECONDS:
                    flags |= _BIT["waited"]
                    self._add_sums(entry, _WAIT, call.wait_seconds)
                flags |= self._handled(entry, call.duration_seconds)
        elif channel == "chat":
            if chat := _chat(details):
                flags |= self._handled(entry, chat.duration_seconds)
        elif channel == "email":
            if (mail := _mail(details)) and mail.event in contacts.REACTIONS:
                flags &= ~_REACHED_OUT
        elif channel == "social":
            if (social := _social(details)) and social.action in contacts.REACTIONS:
                flags &= ~_REACHED_OUT
        elif channel in SITES:
            if (site := _site(details)) and site.rating:
                rating = contacts.rated(site.rating)
        elif channel in PLACED:
            if (placed := _placement(details)) and (cost := placed.cost) and cost.amount is not None:
                self._costs.append((entry, cost.amount, self.words[cost.currency or contacts.NO_CURRENCY]))
        elif channel in buying.VISITS:
            if (visit := _visit(details)) and buying.bought(
                visit.basket and visit.basket.amount, visit.purpose, said.outcome
            ):
                step |= FLAGS["purchase"]
        elif channel == "purchase" and (purchase := _purchase(details)) and purchase.status in _BOUGHT:
            step |= FLAGS["purchase"]
        return flags, step, rating

    def _add_sums(self, entry: int, columns: tuple[int, int], value: float) -> None:
        """Add a value to a sum, and its square to another."""
        self._sums += ((entry, columns[0]), (entry, columns[1]))
        self._amounts.append(value)
        self._amounts.append(value * value)

    def _handled(self, entry: int, seconds: float | None) -> int:
        if seconds is None or seconds > _LONGEST_SECONDS:
            return 0
        self._add_sums(entry, _HANDLING, seconds)
        return _BIT["handled"]

    def _ended(self, entry: int, interaction: Any, ended_at: str) -> int:
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

    def _came_of(self, entry: int, interaction: Any, found: Found, flags: int, step: int) -> tuple[int, int]:
        """What came of a contact: bits, and bits of the step."""
        if found.response_seconds is not None:
            flags |= _BIT["asked"] | _BIT["answered"]
            self._responses.append((entry, found.response_seconds))
        elif found.waiting:
            flags |= _BIT["asked"] | _BIT["waiting"]
            self._sums.append((entry, SUM["waiting_since"]))
            self._amounts.append(ids.occurred_ms(interaction.bytes) / 1000)
        if found.resolved_first is not None:
            flags |= _BIT["first_contacts"] | (_BIT["resolved_first"] if found.resolved_first else 0)
        if found.repeat:
            flags |= _BIT["repeats"]
            step |= FLAGS["repeat"]
        if found.hand_offs:
            self._more.append((entry, COUNT["hand_offs"], found.hand_offs))
        if found.switched:
            flags |= _BIT["switches"]
        return flags, step

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
            customer=sketches.mixed(bytes(self._customers))[order],
            more=more,
            sums=sums[:, in_order],
            sum_amounts=np.array(self._amounts, np.float64)[in_order],
            response=response,
            cost=cost,
            currency=currency,
            topics=topics,
            **plain,
        )
