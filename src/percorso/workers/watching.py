"""Watches: looks at customers of whom something is new, or a span has ended, and puts down what their rules fire.

It follows the commit log with a cursor of its own. Of each customer whom that names, and of each who is due, it reads
the latest interactions anew and finds what every rule says of them as of now (`measures.watching`). What fired is
stored, and named in the commit log, in one transaction with when the customer is to be looked at again; the cursor
moves on after. Whatever ends a run in between, the next finds the same, of which what is stored already is not new.

Two that do this at once do no harm: one stores only where the cursor and the watches are what they were when it looked.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import attrgetter
from time import monotonic
from typing import Final, NamedTuple

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.measures import watching
from percorso.measures.watch_rules import Rule, rule_of, seen
from percorso.ops import metrics
from percorso.queries import customers, followers, recounting, refreshing
from percorso.queries import watching as queries
from percorso.queries.followers import Follower
from percorso.queries.recounting import Commit
from percorso.queries.watching import FOLLOWER, Watch
from percorso.settings import Settings
from percorso.storage import followers as cursors
from percorso.storage import watching as store
from percorso.storage.database import reading, writing
from percorso.storage.watching import Fired, Watched
from percorso.workers.following import follower_of, some
from percorso.workers.runtime import Worker

_EVERY_SECONDS: Final = 1.0
_COMMITS: Final = 50
_NAMED: Final = 2_000
"""Once so many identities are named by rows of the commit log, the others wait for the next time."""
_SKIPPED: Final = 1_000
"""Rows passed by at once while nothing is watched for."""
_DUE: Final = 500
_SLICE: Final = 100
"""Customers that are looked at together, and stored by one transaction."""
_TOGETHER: Final = 5_000
"""Interactions read at once, of all customers of a slice; where there are more, each customer's are read alone."""
_FEW: Final = 200
"""Interactions looked at without a thread."""
_CHANGING: Final = frozenset(("stored", "changed", "deleted", "identity"))
"""What changes what a rule may say of a customer."""
_OTHERS: Final = ("said", "outcome", "watch", *_CHANGING)
_EXPIRE_SECONDS: Final = 60.0
_EXPIRED: Final = 1_000


def worker(engine: AsyncEngine, settings: Settings, *, generation: int) -> Worker:
    """The worker that does so."""
    this = Watching(
        engine,
        generation=generation,
        late=timedelta(days=settings.watch_late_days),
        kept=timedelta(days=settings.watch_firings_days),
    )
    return Worker(FOLLOWER, _EVERY_SECONDS, this.run)


class _Rule(NamedTuple):
    """A watch, and its rule."""

    watch: Watch
    rule: Rule


@dataclass(frozen=True, slots=True)
class _Look:
    """What is looked for: by which rules, with the cursor where, and what came true from when on (Unix time in ms)."""

    follower: Follower
    rules: Sequence[_Rule]
    since: int

    @property
    def low(self) -> UUID:
        """Interactions from this id on may be of something that comes true from then on."""
        longest = max((each.rule.before_ms + each.rule.after_ms for each in self.rules), default=0)
        return queries.from_ms(self.since - longest)

    @property
    def watched(self) -> Collection[Watched]:
        """The watches, for who stores."""
        return [Watched(each.watch.watch_id, each.watch.version, each.watch.since) for each in self.rules]


class Watching:
    """Takes the commit log from where it was left, and looks at who is due.

    `late`: what came true so long before it is stored fires still; `kept`: how long what fired is.
    """

    def __init__(self, engine: AsyncEngine, *, generation: int, late: timedelta, kept: timedelta) -> None:
        self._engine = engine
        self._generation = generation
        self._late_ms = late // timedelta(milliseconds=1)
        self._kept = kept
        self._expire_at = 0.0

    async def run(self) -> bool:
        """Do some of everything that is to be done; whether there is more."""
        follower = await follower_of(self._engine, FOLLOWER, generation=self._generation)
        if follower.filled_to is not None:
            # There is no first pass: what was before a watch does not fire.
            async with writing(self._engine) as session:
                await cursors.fill(session, FOLLOWER, None)
        more = await self._follow(follower)
        follower = await follower_of(self._engine, FOLLOWER, generation=self._generation)
        more |= await self._due(follower)
        await self._tell()
        return await self._expire() or more

    async def _follow(self, follower: Follower) -> bool:
        """Take the next rows of the commit log."""
        async with reading(self._engine) as session:
            commits = some(await recounting.next_commits(session, follower, limit=_COMMITS), most=_NAMED)
            # Read after the log: a watch that is made meanwhile then looks at what this passes by.
            rules = _rules(await queries.enabled(session))
            if not commits:
                return False
            look = _Look(follower, rules, min(map(_committed_ms, commits)) - self._late_ms)
            if rules:
                named = _named(commits, look.low)
                stored = set(chain.from_iterable(each.interaction_ids for each in commits if each.what == "stored"))
                named.update(await refreshing.linked_by(session, named, stored))
                present = await customers.customer_ids(session, list(named))
            else:
                passed = await followers.next_commits(session, follower, limit=_SKIPPED, but_for=_OTHERS)
        if not rules:
            return await self._advance(follower, passed[-1], ()) and len(passed) >= _SKIPPED
        if await self._look_at(look, set(present.values()), named):
            await self._advance(follower, commits[-1], look.watched)
        return True

    async def _due(self, follower: Follower) -> bool:
        """Look at those who are due."""
        async with reading(self._engine) as session:
            now = await refreshing.clock(session)
            due = await queries.due(session, now, limit=_DUE)
            if not due:
                return False
            rules = _rules(await queries.enabled(session))
            present = await customers.customer_ids(session, [identity for identity, _ in due])
        look = _Look(follower, rules, ids.unix_ms(due[0][1]) - self._late_ms)
        await self._look_at(look, set(present.values()), {identity for identity, _ in due})
        return len(due) == _DUE

    async def _look_at(self, look: _Look, customer_ids: Collection[UUID], named: Collection[UUID]) -> bool:
        """Look at these customers, and put down what fires; False where another was there meanwhile.

        Of identities that are `named` and no customer's, nothing is due any more.
        """
        left = set(named)
        ordered = sorted(customer_ids)
        for start in range(0, len(ordered), _SLICE):
            fired: list[Fired] = []
            due: dict[UUID, datetime] = {}
            async with reading(self._engine) as session:
                now = await refreshing.clock(session)
                members = await refreshing.members(session, ordered[start : start + _SLICE])
                identity_ids = list(chain.from_iterable(members.values()))
                if look.rules:
                    used = await queries.used(session, identity_ids, look.low)
                    async for rows in queries.histories(session, members, look.low, together=_TOGETHER):
                        found = await _found(look, rows, used, ids.unix_ms(now))
                        fired += found[0]
                        due |= found[1]
            if not await self._store(look, fired, looked_at=identity_ids, due=due, at=now):
                return False
            left.difference_update(identity_ids)
        return not left or await self._store(look, [], looked_at=left, due={}, at=datetime.now(UTC))

    async def _store(
        self,
        look: _Look,
        fired: Sequence[Fired],
        *,
        looked_at: Collection[UUID],
        due: Mapping[UUID, datetime],
        at: datetime,
    ) -> bool:
        async with writing(self._engine) as session:
            if not await store.hold(session, FOLLOWER, *look.follower[:2], look.watched):
                return False
            new = await store.store(session, self._generation, fired, at=at, looked_at=looked_at, due=due)
        for each in new:
            metrics.WATCH_FIRINGS.labels(each.name).inc()
        return True

    async def _advance(self, follower: Follower, to: Commit | followers.Commit, watched: Collection[Watched]) -> bool:
        """Move the cursor on, where it and the watches are what they were; else what it passes is looked at again."""
        async with writing(self._engine) as session:
            if not await store.hold(session, FOLLOWER, *follower[:2], watched):
                return False
            await cursors.advance(session, FOLLOWER, to.generation, to.xid8)
        return True

    async def _tell(self) -> None:
        """Tell how far behind it is."""
        async with reading(self._engine) as session:
            as_of = await followers.as_of(session, FOLLOWER)
            now = await refreshing.clock(session)
            due = await queries.due(session, now, limit=1)
        since = min((moment for moment in (as_of, *(at for _, at in due)) if moment is not None), default=now)
        metrics.WATCH_AGE.set(max((now - since).total_seconds(), 0))

    async def _expire(self) -> bool:
        """Forget some of what fired long ago; whether there may be more."""
        if monotonic() < self._expire_at:
            return False
        async with writing(self._engine) as session:
            gone = await store.expire(session, datetime.now(UTC) - self._kept, limit=_EXPIRED)
        if gone < _EXPIRED:
            self._expire_at = monotonic() + _EXPIRE_SECONDS
        return gone == _EXPIRED


def _rules(watches: Sequence[Watch]) -> list[_Rule]:
    return [_Rule(watch, rule_of(watch.rule)) for watch in watches]


def _committed_ms(commit: Commit) -> int:
    return ids.unix_ms(commit.at)


def _named(commits: Sequence[Commit], low: UUID) -> set[UUID]:
    """The identities of whom these rows tell something that a rule may be about: not what occurred long before."""
    named: set[UUID] = set()
    for commit in commits:
        if commit.what not in _CHANGING:
            continue
        if commit.interaction_ids:
            pairs = zip(commit.identity_ids, commit.interaction_ids, strict=True)
            named.update(identity for identity, interaction in pairs if interaction >= low)
        else:
            named.update(commit.identity_ids)
    return named


_Used = Mapping[tuple[UUID, int], Collection[UUID]]
"""What fired before, by watch and version."""


async def _found(
    look: _Look, rows: Mapping[UUID, Sequence[Record]], used: _Used, now: int
) -> tuple[list[Fired], dict[UUID, datetime]]:
    """What fires of these customers, and when each is to be looked at again, where that is so."""
    if sum(map(len, rows.values())) > _FEW:
        return await asyncio.to_thread(_looked, look, rows, used, now)
    return _looked(look, rows, used, now)


def _looked(
    look: _Look, rows: Mapping[UUID, Sequence[Record]], used: _Used, now: int
) -> tuple[list[Fired], dict[UUID, datetime]]:
    fired: list[Fired] = []
    due: dict[UUID, datetime] = {}
    for customer, theirs in rows.items():
        history = sorted((seen(*row) for row in theirs), key=attrgetter("id"))
        again: int | None = None
        for watch, rule in look.rules:
            found = watching.find(rule, history, as_of=now, used=used.get((watch.watch_id, watch.version), ()))
            fired += _of_now(look, watch, found.firings)
            again = min(filter(None, (again, found.due)), default=None)
        if again is not None:
            due[customer] = ids.from_unix_ms(again)
    return fired, due


def _of_now(look: _Look, watch: Watch, firings: Sequence[watching.Firing]) -> Iterator[Fired]:
    """Those that a live watch fires: what came true lately, with an interaction since there is the watch."""
    since = ids.unix_ms(watch.since)
    for firing in firings:
        if firing.at >= look.since and firing.last.at >= since:
            yield Fired(
                firing_id=watching.key(watch.watch_id, watch.version, firing),
                watch_id=watch.watch_id,
                name=watch.name,
                version=watch.version,
                at=ids.from_unix_ms(firing.at),
                interactions=[(each.contact.identity_id, each.id) for each in firing.interactions],
            )
