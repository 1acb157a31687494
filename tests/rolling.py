"""What tests of rollups share: a worker that does all there is to do, and the same figures, plainly from the facts."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.analytics import cells, distinct, histograms, steps, volumes
from percorso.analytics.cells import COUNTS, SUMS, Packed
from percorso.analytics.dimensions import Dimension, Level
from percorso.analytics.mixes import Mixes
from percorso.http.services import Services
from percorso.interaction import DEFAULT_DIRECTNESS
from percorso.workers.rollups import Rollups
from writing import Database

Cell = tuple[int, Dimension, Level, datetime, int, int | str]
"""Scope, dimension, level, start, slot, key: words as words, None as an empty one."""

HIGHEST = {"nps": 10.0, "csat": 5.0, "ces": 7.0}
LOWEST = {"nps": 0.0, "csat": 1.0, "ces": 1.0}
REACTIONS = {
    "delivered", "opened", "clicked", "bounced", "subscribed", "unsubscribed", "share", "reaction", "ad_view",
    "ad_click", "follow",
}  # fmt: skip
MESSAGES = {"sms", "messaging", "email", "social", "mail", "fax", "review", "community"}
MEETINGS = {"phone", "video", "chat", "store_visit", "field_visit"}
WORDED = {Dimension.KIND, Dimension.LOCATION, Dimension.AGENT, Dimension.CAMPAIGN, Dimension.TOPIC}


def keeper(services: Services) -> Rollups:
    """What keeps the rollups; it does not wait for more to come before it looks again."""
    return Rollups(services.engine, generation=services.deployment.generation, rest=0.0)


async def roll(services: Services, worker: Rollups | None = None) -> None:
    """Make every hour anew that has to be, by a new worker or by this one."""
    worker = worker or keeper(services)
    while await worker.run():
        pass


@dataclass
class Figures:
    """What a cell must say."""

    counts: Counter[str] = field(default_factory=Counter)
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    customers: set[UUID] = field(default_factory=set)
    responses: list[float] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass
class Plain:
    """What everything must say: cells; bits of channels by level, start, slot and customer's hash; volumes; steps."""

    cells: dict[Cell, Figures]
    mix: dict[tuple[Level, datetime, int, int], int]
    volumes: dict[tuple[datetime, int, int], int]
    steps: dict[tuple[int, datetime], list[tuple[Any, ...]]]


def hash_of(customer_id: UUID) -> int:
    """The hash of a customer."""
    return int(distinct.mixed(customer_id.bytes)[0])


async def plainly(database: Database) -> Plain:
    """What everything must say, from the raw table."""
    rows = await database.fetch(
        "SELECT i.*, coalesce(c.customer_id, i.identity_id) AS customer_id, i.document::text AS said, "
        "o.response_seconds, o.waiting, o.resolved_first, o.repeat, o.hand_offs, o.switched "
        "FROM interactions i LEFT JOIN identities c USING (identity_id) "
        "LEFT JOIN contact_outcomes o ON o.interaction_id = i.id AND o.identity_id = i.identity_id ORDER BY i.id"
    )
    plain = Plain(defaultdict(Figures), defaultdict(int), Counter(), defaultdict(list))
    for row in rows:
        said = json.loads(row["said"])
        moment = ids.from_unix_ms(ids.occurred_ms(row["id"].bytes))
        it = Counted(row, said, moment)
        for cell in cells_of(row, said, moment):
            figures = plain.cells[cell]
            figures.counts.update(it.counts)
            for name, amount in it.sums:
                figures.sums[name] += amount
            figures.customers.add(row["customer_id"])
            if row["response_seconds"] is not None:
                figures.responses.append(row["response_seconds"])
            if it.cost is not None:
                figures.costs[it.cost[0]] += it.cost[1]
        channel, customer = steps.CHANNEL_CODES[row["channel"]], hash_of(row["customer_id"])
        for level, start, slot in levels(moment):
            plain.mix[level, start, slot, customer] |= 1 << channel
        plain.volumes[start_of(moment), moment.hour, channel] += 1
        hour = moment.replace(minute=0, second=0, microsecond=0)
        plain.steps[customer % 16, hour].append(
            (
                customer,
                ids.unix_ms(moment),
                row["touchpoint_id"],
                row["kind"] or "",
                channel,
                steps.FUNCTION_CODES[row["function"]] if row["function"] else 0,
                steps.DIRECTION_CODES[row["direction"]],
                flags(it.counts, row, said),
            )
        )
    return plain


def start_of(moment: datetime) -> datetime:
    """The day of a moment."""
    return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


def levels(moment: datetime) -> Iterator[tuple[Level, datetime, int]]:
    """Level, start and slot of each row that a moment is counted in."""
    day = start_of(moment)
    yield Level.HOUR, day, moment.hour
    yield Level.DAY, day.replace(day=1), moment.day
    yield Level.MONTH, day.replace(month=1, day=1), moment.month


def cells_of(row: Record, said: dict[str, Any], moment: datetime) -> Iterator[Cell]:
    """The cells that an interaction is counted in."""
    channel = steps.CHANNEL_CODES[row["channel"]]
    topics = {topic.casefold() for topic in said.get("topics") or []} - {""}
    everywhere = [
        (Dimension.ALL, 0),
        (Dimension.TOUCHPOINT, row["touchpoint_id"]),
        (Dimension.CHANNEL, channel),
        (Dimension.KIND, row["kind"] or ""),
        *((Dimension.TOPIC, topic) for topic in topics),
    ]
    for level, start, slot in levels(moment):
        for dimension, key in everywhere:
            yield 0, dimension, level, start, slot, key
    function = steps.FUNCTION_CODES[row["function"]] if row["function"] else 0
    for dimension, key in (
        (Dimension.ALL, 0),
        (Dimension.CHANNEL, channel),
        (Dimension.FUNCTION, function),
        (Dimension.KIND, row["kind"] or ""),
        (Dimension.LOCATION, said.get("location") or ""),
        (Dimension.AGENT, said.get("agent") or ""),
        (Dimension.CAMPAIGN, said.get("campaign") or ""),
    ):
        yield row["touchpoint_id"], dimension, Level.HOUR, start_of(moment), moment.hour, key


class Counted:
    """What an interaction adds: counts, sums, and what it cost, with the currency."""

    def __init__(self, row: Record, said: dict[str, Any], moment: datetime) -> None:
        self.counts: Counter[str] = Counter(interactions=1)
        self.sums: list[tuple[str, float]] = []
        self.cost: tuple[str, float] | None = None
        details = said.get("details") or {}
        for which in ("inbound", "outbound"):
            self.count(which, of=row["direction"] == which)
        self.count(said.get("directness") or DEFAULT_DIRECTNESS[row["channel"]], of=True)
        resolution = said.get("resolution")
        self.count("settled", of=resolution not in {None, "not_applicable"})
        self.count("unresolved", of=resolution in {"unresolved", "escalated", "follow_up"})
        self.feelings(said)
        self.kinds(row, said, details)
        self.queue(row, said, details, moment)
        self.outcomes(row, moment)
        cost = details.get("cost") if row["channel"] in {"ad", "mail", "signage", "fax"} else None
        if cost and cost.get("amount") is not None:
            self.cost = cost.get("currency") or "XXX", cost["amount"]

    def count(self, name: str, *, of: bool, value: float | None = None, sum_: str | None = None) -> None:
        """Count it, where that is so, and add a value and its square."""
        if of:
            self.counts[name] += 1
        if value is not None:
            self.sums.extend(((sum_ or name, value), (f"{sum_ or name}_squared", value**2)))

    def feelings(self, said: dict[str, Any]) -> None:
        """What was heard and answered."""
        sentiment = said.get("sentiment") or {}
        score, label = sentiment.get("score"), sentiment.get("label")
        self.count("scored", of=score is not None, value=score, sum_="sentiment")
        self.count("felt", of=score is not None or label is not None)
        self.count("negative", of=label == "negative" or (label is None and score is not None and score < 0))
        for answer in said.get("feedback") or []:
            metric, given = answer["metric"], answer.get("score")
            if metric not in HIGHEST or given is None:
                continue
            low, high = (
                usual[metric] if answer.get(end) is None else answer[end]
                for end, usual in (("min", LOWEST), ("max", HIGHEST))
            )
            share = min(max((given - low) / (high - low), 0), 1)
            self.count(metric, of=True, value=1 + 6 * share if metric == "ces" else None)
            self.count("promoters", of=metric == "nps" and share > 0.8999999)
            self.count("detractors", of=metric == "nps" and share < 0.6000001)
            self.count("satisfied", of=metric == "csat" and share > 0.5999999)

    def kinds(self, row: Record, said: dict[str, Any], details: dict[str, Any]) -> None:
        """Whether it complains, whether it reaches out."""
        channel, rating = row["channel"], (details.get("rating") or {}).get("value")
        complains = (row["kind"] or "").startswith("complaint") or said.get("outcome") == "complained"
        complains |= channel == "review" and rating is not None and rating <= 2
        self.count("complaints", of=complains and row["direction"] not in {"outbound", "internal"})
        act = details.get("event") if channel == "email" else details.get("action") if channel == "social" else None
        reaches = row["direction"] == "inbound" and channel in MESSAGES | MEETINGS
        self.count("reached_out", of=reaches and act not in REACTIONS)

    def queue(self, row: Record, said: dict[str, Any], details: dict[str, Any], moment: datetime) -> None:
        """How long it waited and lasted."""
        channel = row["channel"]
        calls = channel in {"phone", "video", "chat"}
        wait = details.get("wait_seconds") if channel in {"phone", "video"} else None
        self.count("waited", of=wait is not None, value=wait, sum_="wait_seconds")
        duration = details.get("duration_seconds") if calls else None
        if calls and duration is None and said.get("ended_at"):
            duration = (datetime.fromisoformat(said["ended_at"]) - moment) / timedelta(seconds=1)
            duration = None if duration < 0 else duration
        self.count("handled", of=duration is not None, value=duration, sum_="handling_seconds")
        queued = calls and row["direction"] == "inbound"
        self.count("queued", of=queued)
        self.count("abandoned", of=queued and said.get("outcome") == "abandoned")

    def outcomes(self, row: Record, moment: datetime) -> None:
        """What came of it."""
        self.count("asked", of=row["response_seconds"] is not None or bool(row["waiting"]))
        self.count("answered", of=row["response_seconds"] is not None)
        self.count("waiting", of=bool(row["waiting"]))
        self.count("first_contacts", of=row["resolved_first"] is not None)
        self.count("resolved_first", of=bool(row["resolved_first"]))
        self.count("repeats", of=bool(row["repeat"]))
        self.count("switches", of=bool(row["switched"]))
        self.counts["hand_offs"] += row["hand_offs"] or 0
        if row["waiting"]:
            self.sums.append(("waiting_since", moment.timestamp()))


def flags(counts: Counter[str], row: Record, said: dict[str, Any]) -> int:
    """The flags of a step."""
    details = said.get("details") or {}
    amount = (details.get("basket") or {}).get("amount")
    bought = "order_id" in details and details.get("status") in {None, "placed", "paid"}
    if row["channel"] in {"store_visit", "field_visit", "kiosk", "event"} and details.get("purpose") != "return":
        told = details.get("purpose") == "purchase" or said.get("outcome") == "purchased"
        bought = told if amount is None else amount > 0
    return (
        bool(counts["complaints"])
        | bool(counts["negative"]) << 1
        | bool(counts["unresolved"]) << 2
        | bool(counts["repeats"]) << 3
        | bought << 4
    )


def check_customers(estimate: float, customers: set[UUID]) -> None:
    """They are estimated as a sketch of them all at once is, within its error; two of few may be taken for one."""
    hashes = distinct.mixed(b"".join(customer.bytes for customer in customers))
    one = np.zeros(len(hashes), np.int64)
    assert estimate == distinct.Distinct.of(one, hashes, 1).estimates(one[:1], 1)[0]
    assert estimate == pytest.approx(len(customers), abs=1.1 + 4 * distinct.STANDARD_ERROR * len(customers))


async def check_rollups(database: Database) -> int:
    """All that is stored says what it must, and there is nothing else; how many cells there are."""
    plain = await plainly(database)
    words = {row["word_id"]: row["word"] for row in await database.fetch("SELECT * FROM words")} | {0: ""}
    found: dict[Cell, tuple[cells.Totals, int]] = {}
    mix: dict[tuple[Level, datetime, int, int], int] = {}
    volume: dict[tuple[datetime, int, int], int] = {}
    for row in await database.fetch("SELECT * FROM rollups"):
        dimension, level, start = Dimension(row["dimension"]), Level(row["level"]), row["start"]
        if dimension == Dimension.VOLUME:
            matrix = volumes.unpack(row["cells"])
            volume |= {(start, int(h), int(c)): int(matrix[h, c]) for h, c in zip(*matrix.nonzero(), strict=True)}
            continue
        some = cells.unpack(Packed(*(row[name] for name in ("cells", "customers", "responses", "costs"))))
        totals = cells.totals(some, np.arange(len(some)), len(some))
        assert len(some), row
        for number, (slot, key) in enumerate(zip(some.slot.tolist(), some.key.tolist(), strict=True)):
            cell: Cell = (row["scope"], dimension, level, start, slot, words[key] if dimension in WORDED else key)
            assert cell not in found
            found[cell] = (totals, number)
        assert (row["mix"] is not None) == (row["scope"] == 0 and dimension == Dimension.ALL)
        if row["mix"] is not None:
            sample = Mixes.unpack(row["mix"])
            for slot, customer, bits in zip(sample.slot, sample.customers, sample.channels, strict=True):
                mix[level, start, int(slot), int(customer)] = int(bits)
    assert found.keys() == plain.cells.keys()
    for cell, figures in plain.cells.items():
        totals, number = found[cell]
        check(cell, totals, number, figures, words)
    assert mix == plain.mix
    assert volume == plain.volumes
    stored = {
        (row["bucket"], row["hour"]): [
            (*each[:3], words[each[3]], *each[4:]) for each in np.frombuffer(row["steps"], steps.STEP).tolist()
        ]
        for row in await database.fetch("SELECT * FROM steps")
    }
    assert stored == plain.steps
    return len(found)


def check(cell: Cell, totals: cells.Totals, number: int, figures: Figures, words: dict[int, str]) -> None:
    """One cell says what it must: customers and percentiles within the error of their sketches."""
    counts = {name: int(totals.count(name)[number]) for name in COUNTS}
    assert counts == {name: figures.counts[name] for name in COUNTS}, cell
    for name in SUMS:
        assert float(totals.sum(name)[number]) == pytest.approx(figures.sums[name]), (cell, name)
    check_customers(float(totals.customers[number]), figures.customers)
    low, high = (int(sum(totals.responses.counts[:end])) for end in (number, number + 1))
    bins = dict(zip(totals.responses.keys[low:high].tolist(), totals.responses.amounts[low:high].tolist(), strict=True))
    assert bins == Counter(histograms.bins(np.array(figures.responses)).tolist()), cell
    low, high = (int(sum(totals.costs.counts[:end])) for end in (number, number + 1))
    costs = {
        words[key]: amount
        for key, amount in zip(totals.costs.keys[low:high], totals.costs.amounts[low:high], strict=True)
    }
    assert costs == pytest.approx(dict(figures.costs)), cell
