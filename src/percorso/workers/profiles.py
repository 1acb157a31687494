"""Keeps the profiles of customers, and what came of their contacts, ready to be found and counted.

A profile says what the customer's summary says, and the outcomes of contacts are what the summary counts. It follows
the commit log, and makes the profile of each customer anew whom that names. Time alone changes a profile too: those
that were not made anew for long are, the oldest first. A first pass goes through all customers there are. Whatever is
done is done in slices, with a rest after each as long as it took: requests come first.

Two that do this at once do no harm: a profile and outcomes only give way to those computed later, and who is a customer
is decided where they are stored.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import chain
from operator import attrgetter
from time import monotonic
from typing import Final, TypeAlias

import structlog
from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids, measures
from percorso.errors import UnknownCustomer
from percorso.measures import Contact, Summary
from percorso.measures.rfm import CLASSES
from percorso.ops import logs
from percorso.queries import contacts, customers, followers, refreshing, rfm, traits
from percorso.queries.followers import Follower
from percorso.queries.profiles import FOLLOWER
from percorso.storage import followers as cursors
from percorso.storage import outcomes, profiles
from percorso.storage.database import ReadSession, is_away, reading, writing
from percorso.storage.outcomes import Outcome
from percorso.storage.profiles import Profile
from percorso.storage.traits import Trait
from percorso.workers.following import follower_of, some
from percorso.workers.runtime import Worker

_log = structlog.get_logger("percorso.workers.profiles")

_EVERY_SECONDS: Final = 2.0
_COMMITS: Final = 50
"""Rows of the commit log read at once."""
_NAMED: Final = 2_000
"""Once so many identities are named by them, the others wait for the next time."""
_SLICE: Final = 100
"""Customers whose profiles are stored by one transaction."""
_IDENTITIES: Final = 500
"""Identities that the first pass goes through at once."""
_TOGETHER: Final = 5_000
"""Interactions read at once, of all customers of a slice; where there are more, each customer's are read alone."""
_FEW: Final = 400
"""Interactions summed up without a thread: some 2 ms."""
_WORDS: Final = {True: "true", False: "false"}
_LONGEST_WORD: Final = 256
"""Characters of a trait's value that can be searched for: an index cannot hold what is much longer."""
_BUYERS: Final = 1_000
"""Buyers classed by one transaction."""
_CLASS_PAUSE_SECONDS: Final = 10.0
_CLASS_SHARE: Final = 50
"""After buyers were classed, so many times as long passes until they are again."""
_LONGEST_READ_SECONDS: Final = 3600
Made: TypeAlias = tuple[Profile, list[Outcome]]
"""A profile, and what came of that customer's contacts."""
_OWN: Final = ("outcome", "watch")
"""What it says itself in the commit log, and what changes no profile."""


def worker(engine: AsyncEngine, *, generation: int, max_age: timedelta) -> Worker:
    """The worker that does so; no profile is to be older than `max_age`."""
    return Worker(FOLLOWER, _EVERY_SECONDS, Profiles(engine, generation=generation, max_age=max_age).run)


class Profiles:
    """What a leader remembers: how far it has classed buyers, and when it is to do so again."""

    def __init__(self, engine: AsyncEngine, *, generation: int, max_age: timedelta) -> None:
        self._engine = engine
        self._generation = generation
        self._max_age = max_age
        self._bought = True
        self._classed_to: UUID | None = None
        self._class_at = 0.0
        self._class_seconds = 0.0

    async def run(self) -> bool:
        """Do some of everything that is to be done; whether there is more."""
        follower = await follower_of(self._engine, FOLLOWER, generation=self._generation)
        more = await self._follow(follower)
        if follower.filled_to is not None:
            more |= await self._fill(follower.filled_to)
        more |= await self._renew()
        return await self._class() or more

    async def _follow(self, follower: Follower) -> bool:
        """Take the next rows of the commit log."""
        async with reading(self._engine) as session:
            commits = some(await followers.next_commits(session, follower, limit=_COMMITS, but_for=_OWN), most=_NAMED)
            if not commits:
                return False
            named = set(chain.from_iterable(commit.identity_ids for commit in commits))
            interactions = set(chain.from_iterable(commit.interaction_ids for commit in commits))
            named.update(await refreshing.linked_by(session, named, interactions))
            named.update(await refreshing.counted_in(session, named))
            present = await customers.customer_ids(session, list(named))
        await self._refresh(set(present.values()))
        async with writing(self._engine) as session:
            await profiles.forget(session, list(named))
            if gone := named - present.keys():
                await outcomes.forget(session, self._generation, list(gone))
            await cursors.advance(session, FOLLOWER, commits[-1].generation, commits[-1].xid8)
        return True

    async def _fill(self, after: UUID) -> bool:
        """Take the next identities of the first pass."""
        async with reading(self._engine) as session:
            found = await refreshing.next_identities(session, after, limit=_IDENTITIES)
        await self._refresh({identity for identity, customer in found if identity == customer})
        more = len(found) == _IDENTITIES
        async with writing(self._engine) as session:
            await cursors.fill(session, FOLLOWER, found[-1][0] if more else None)
        return more

    async def _renew(self) -> bool:
        """Make the oldest profiles anew."""
        async with reading(self._engine) as session:
            aged = await refreshing.aged(session, datetime.now(UTC) - self._max_age, limit=_SLICE)
        await self._refresh(set(aged))
        return len(aged) == _SLICE

    async def _refresh(self, customer_ids: Iterable[UUID]) -> None:
        """Make these profiles anew; those that their identities had when they were customers go."""
        ordered = sorted(customer_ids)
        for start in range(0, len(ordered), _SLICE):
            async with _resting():
                async with reading(self._engine) as session:
                    made, identity_ids = await _made(session, ordered[start : start + _SLICE])
                async with writing(self._engine) as session:
                    stored = await profiles.put(session, [profile for profile, _ in made], CLASSES)
                    current = [each for each in made if each[0].customer_id in stored]
                    customers = {key: each.customer_id for each, _ in current for key in each.identity_ids}
                    found = chain.from_iterable(came for _, came in current)
                    await outcomes.put(session, self._generation, found, customers)
                    await profiles.forget(session, identity_ids)
                self._bought |= any(profile.purchases for profile, _ in made)

    async def _class(self) -> bool:
        """Class the next buyers by where the fifths of all lie; begin anew where that is some time ago."""
        begun = monotonic()
        if self._classed_to is None:
            if not self._bought or begun < self._class_at:
                return False
            self._bought = False
            self._class_seconds = 0.0
            async with reading(self._engine, seconds=_LONGEST_READ_SECONDS) as session:
                bounds = await rfm.measured(session)
            async with writing(self._engine) as session:
                await profiles.put_bounds(session, bounds, at=datetime.now(UTC))
            self._classed_to = ids.LOWEST
        async with _resting():
            async with writing(self._engine) as session:
                self._classed_to = await profiles.classify(session, self._classed_to, CLASSES, limit=_BUYERS)
            self._class_seconds += monotonic() - begun
        self._class_at = monotonic() + max(_CLASS_PAUSE_SECONDS, _CLASS_SHARE * self._class_seconds)
        return self._classed_to is not None


async def _made(session: ReadSession, customer_ids: Sequence[UUID]) -> tuple[list[Made], list[UUID]]:
    """What is made of those that are customers, as of now, and all their identities.

    Who belongs to a customer is read first: so what changes meanwhile, which the commit log tells later, finds the
    profile by the identities that it names.
    """
    now = await refreshing.clock(session)
    members = await refreshing.members(session, customer_ids)
    every = list(chain.from_iterable(members.values()))
    described = await refreshing.described(session, every)
    histories = await refreshing.histories(session, every, most=_TOGETHER)
    made = []
    for customer_id, identity_ids in members.items():
        said = [] if described.isdisjoint(identity_ids) else await traits.current(session, identity_ids)
        try:
            if histories is None:
                history = await contacts.of_customer(session, customer_id)
                found = await asyncio.to_thread(_found, history.contacts, now, history.zone)
            else:
                found = await _found_in([row for each in identity_ids for row in histories.get(each, ())], now, said)
        except UnknownCustomer:
            continue
        except Exception as error:
            if is_away(error):
                raise
            # Else the follower would try it again for ever, and come to no other.
            _log.warning("a profile cannot be made", customer_id=str(customer_id), **logs.described(error))
            continue
        summary, came = found
        made.append((profile_of(summary, customer_id, identity_ids, said), came))
    return made, every


def _found(history: Sequence[Contact], now: datetime, zone: tzinfo | None) -> tuple[Summary, list[Outcome]]:
    """The summary of contacts, given in order of time, and what came of each."""
    found = measures.find(history)
    return measures.sum_up(found, now=now, zone=zone), [Outcome(*each) for each in measures.outcomes(found)]


async def _found_in(rows: Sequence[Record], now: datetime, said: Iterable[Trait]) -> tuple[Summary, list[Outcome]]:
    """The same of interactions, in whatever order they are."""

    def made() -> tuple[Summary, list[Outcome]]:
        history = sorted((measures.read(*row) for row in rows), key=attrgetter("id"))
        return _found(history, now, contacts.zone_of(said))

    if len(rows) > _FEW:
        return await asyncio.to_thread(made)
    await asyncio.sleep(0)
    return made()


def profile_of(summary: Summary, customer_id: UUID, identity_ids: Sequence[UUID], said: Sequence[Trait]) -> Profile:
    """What a customer is found by: of a summary, and of what is said of them."""
    buying = summary.buying
    # The currency of most purchases comes first.
    currency, spent = next(((each, spent.amount) for each, spent in buying.monetary.items()), (None, None))
    return Profile(
        customer_id=customer_id,
        computed_at=summary.as_of,
        identity_ids=identity_ids,
        first_at=summary.first_contact_at,
        last_at=summary.last_contact_at,
        interactions=summary.interactions,
        channels=sorted(summary.counts.by_channel),
        relationship=summary.relationship.state,
        score=summary.relationship.score,
        open_complaints=summary.complaints.open,
        purchases=buying.purchases,
        last_purchase_at=buying.last_at,
        spent=spent,
        currency=currency,
        overdue=buying.overdue,
        traits=f"{{{','.join(f'{json.dumps(trait.name)}:{trait.value}' for trait in said)}}}",
        labels=sorted({label for trait in said for label in _labels(trait)}),
    )


def _labels(trait: Trait) -> Iterator[str]:
    """What a trait is found by: its name and value, or each value of a list; numbers as JSON has them."""
    value = json.loads(trait.value or "null", parse_int=str, parse_float=str)
    for each in value if isinstance(value, list) else [value]:
        word = _WORDS.get(each) if isinstance(each, bool) else each
        if isinstance(word, str) and len(word) <= _LONGEST_WORD:
            yield f"{trait.name}:{word}"


@asynccontextmanager
async def _resting() -> AsyncIterator[None]:
    """After this block, rest as long as it took."""
    begun = monotonic()
    yield
    await asyncio.sleep(monotonic() - begun)
