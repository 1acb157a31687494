"""What a watch rule would have fired: tried on the history of one customer after the other, and stored nowhere."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.analytics.deadline import Deadline
from percorso.measures import watching as finding
from percorso.measures.watch_rules import Rule, seen
from percorso.queries import refreshing, watching
from percorso.storage.database import ReadSession

Run = Callable[..., Awaitable[Any]]
"""Computes a function of what it is given in a thread."""

EXAMPLES: Final = 20
"""Firings that are named."""
_IDENTITIES: Final = 200
_TOGETHER: Final = 5_000
_RESERVE: Final = 4
"""One in so many of the seconds that there are is kept for what was begun."""


@dataclass(frozen=True, slots=True)
class Example:
    """A firing of a trial: whose, when it would have come true, and the interactions."""

    customer_id: UUID
    at: datetime
    interactions: list[UUID]


@dataclass(slots=True)
class Trial:
    """How many customers were looked through, of how many of them something fired, and how often.

    `waiting`: matches of which it is not known yet whether what must not follow does. `truncated`: there are more
    customers, for whom there was no time or who were not asked for.
    """

    looked_through: int = 0
    customers: int = 0
    firings: int = 0
    waiting: int = 0
    truncated: bool = False
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """The rule; the range that the last interaction of its pattern occurs in, the end excluded; and the present."""

    rule: Rule
    since: datetime
    until: datetime
    now: datetime


async def run(session: ReadSession, run: Run, asked: Asked, *, most: int, deadline: Deadline) -> Trial:
    """Try a rule on so many customers, as many as there is time for.

    They are gone through in the order of their ids, which are hashes: the first of them are a fair sample of all.
    Relies on the primary key and `identities_customer_id_idx` of identities, and on what `watching.histories` does.
    """
    trial = Trial()
    low = watching.from_ms(ids.unix_ms(asked.since) - asked.rule.before_ms)
    after = ids.LOWEST
    while True:
        found = await refreshing.next_identities(session, after, limit=_IDENTITIES)
        customers = [identity for identity, customer in found if identity == customer]
        members = await refreshing.members(session, customers[: most - trial.looked_through])
        async for rows in watching.histories(session, members, low, together=_TOGETHER):
            await run(_try, trial, asked, rows)
        trial.looked_through += len(members)
        if len(found) < _IDENTITIES and len(members) == len(customers):
            return trial
        if trial.looked_through >= most or deadline.left() * _RESERVE < deadline.seconds:
            trial.truncated = True
            return trial
        after = found[-1][0]


def _try(trial: Trial, asked: Asked, rows: Mapping[UUID, Sequence[Record]]) -> None:
    since, until = ids.unix_ms(asked.since), ids.unix_ms(asked.until)
    for customer, theirs in rows.items():
        history = sorted((seen(*row) for row in theirs), key=attrgetter("id"))
        found = finding.find(asked.rule, history, as_of=ids.unix_ms(asked.now))
        fired = [firing for firing in found.firings if since <= firing.last.at < until]
        trial.waiting += found.waiting
        trial.firings += len(fired)
        trial.customers += bool(fired)
        for firing in fired[: EXAMPLES - len(trial.examples)]:
            interactions = [each.id for each in firing.interactions]
            trial.examples.append(Example(customer, ids.from_unix_ms(firing.at), interactions))
