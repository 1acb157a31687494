"""Merges and splits among arriving interactions: customers stay a pure function of the links that remain."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from asyncpg.pgproto.pgproto import UUID
from hypothesis import given, settings
from hypothesis import strategies as st

from percorso.errors import CannotMerge, InvalidRequest
from percorso.http.services import Services
from percorso.ingest import reconcile
from percorso.ingest.reconcile import Act
from percorso.queries import identity as identities
from percorso.queries import journey
from percorso.queries.interactions import Filters
from percorso.storage.database import reading, writing
from percorso.storage.linking import Guards
from writing import Database, processes, retries, take

Name = tuple[str, str]
Pair = frozenset[Name]

RANK = ("crm_id", "user_id", "email", "tax_id", "device_id", "cookie_id")
WEAK = ("device_id", "cookie_id")
_example = count()

names = st.tuples(st.sampled_from(RANK), st.sampled_from("12"))
contacts = st.lists(names, min_size=1, max_size=4, unique=True)
steps = st.lists(st.sampled_from(("contact", "contact", "merge", "split")), min_size=8, max_size=25)


@dataclass
class Model:
    """What should be: the identities in the order of their age, and the links."""

    id_of: Callable[[Name], UUID]
    age: dict[Name, tuple[int, UUID]] = field(default_factory=dict)
    links: dict[Pair, str] = field(default_factory=dict)
    stored: list[tuple[Name, str]] = field(default_factory=list)

    def people(self) -> list[list[Name]]:
        """The customers, each with its oldest strong identity first; by union-find over the active links."""
        parent = {name: name for name in self.age}

        def root(name: Name) -> Name:
            while parent[name] != name:
                name = parent[name]
            return name

        active = [tuple(pair) for pair, state in self.links.items() if state == "active"]
        for one, other in active:
            if one[0] not in WEAK and other[0] not in WEAK:
                parent[root(one)] = root(other)
        for weak in [name for name in self.age if name[0] in WEAK]:
            beside = {other if one == weak else one for one, other in active if weak in {one, other}}
            leads = {root(name) for name in beside if name[0] not in WEAK}
            if len(leads) == 1:
                parent[weak] = leads.pop()
        groups: dict[Name, list[Name]] = {}
        for name in sorted(self.age, key=lambda name: (name[0] in WEAK, self.age[name])):
            groups.setdefault(root(name), []).append(name)
        return list(groups.values())

    def of(self, name: Name) -> list[Name]:
        """The customer of this identity."""
        return next(group for group in self.people() if name in group)

    def met(self, step: int, contact_: Sequence[Name], sender_id: str) -> None:
        """An interaction was stored."""
        ranked = sorted(contact_, key=lambda name: RANK.index(name[0]))
        for name in ranked:
            self.age.setdefault(name, (step, self.id_of(name)))
        for other in ranked[1:]:
            self.links.setdefault(frozenset((ranked[0], other)), "active")
        self.stored.append((ranked[0], sender_id))

    def split(self, apart: Sequence[Name]) -> None:
        """Identities of one customer were parted from the rest."""
        rest = [name for name in self.of(apart[0]) if name not in apart]
        for one in apart:
            for other in rest:
                pair = frozenset((one, other))
                if other[0] not in WEAK or pair in self.links:
                    self.links[pair] = "cut"

    def merge(self, one: Sequence[Name], other: Sequence[Name]) -> None:
        """Two customers were made one."""
        self.links[frozenset((one[0], other[0]))] = "active"
        for ours in (name for name in one if name[0] not in WEAK or one[0][0] in WEAK):
            for theirs in (name for name in other if name[0] not in WEAK or other[0][0] in WEAK):
                if (pair := frozenset((ours, theirs))) in self.links:
                    self.links[pair] = "active"


@dataclass(frozen=True)
class World:
    """The processes, each storing in a way of its own, and what is in the database of one example."""

    running: Sequence[Services]
    database: Database
    mark: str

    def id_of(self, name: Name) -> UUID:
        kind, value = name
        return self.running[0].identifiers.one(kind, f"{value}@{self.mark}.example").id

    def act(self) -> Act:
        return Act("desk", "because", 1, Guards.of(self.running[0].settings))

    async def contact(self, services: Services, contact_: Iterable[Name], sender_id: str) -> None:
        customer: dict[str, list[str]] = {}
        for kind, value in contact_:
            customer.setdefault(kind, []).append(f"{value}@{self.mark}.example")
        at = f"2026-03-01T00:00:{len(sender_id):02}Z"
        [verdict] = await take(
            services,
            {"source": self.mark, "id": sender_id, "channel": "web", "occurred_at": at, "customer": customer},
        )
        assert verdict.status == "stored"

    async def split(self, services: Services, model: Model, known: Sequence[Name]) -> None:
        """Part what is of one customer with the first, unless that is all of it."""
        group = model.of(known[0])
        apart = [name for name in known if name in group]
        if len(apart) < len(group):
            async with writing(services.engine) as session:
                parts = await reconcile.split(session, self.id_of(apart[0]), list(map(self.id_of, apart)), self.act())
            model.split(apart)
            assert set(parts) == {self.id_of(model.of(name)[0]) for name in group}

    async def merge(self, services: Services, model: Model, known: Sequence[Name]) -> None:
        """Make the customers of the first and the last one, where they can be."""
        first, last = known[0], known[-1]
        tried = Model(self.id_of, model.age, dict(model.links))
        if (one := model.of(first)) != (other := model.of(last)):
            tried.merge(one, other)
        together = tried.of(first) == tried.of(last)
        with nullcontext() if together else pytest.raises(CannotMerge):
            async with writing(services.engine) as session:
                [merged] = await reconcile.merge(session, self.id_of(first), self.id_of(last), self.act())
            assert merged == self.id_of(tried.of(first)[0])
            model.links = tried.links

    async def customers(self) -> dict[UUID, frozenset[UUID]]:
        rows = await self.database.fetch(
            "SELECT customer_id, array_agg(identity_id) AS ids FROM identities WHERE value LIKE $1 GROUP BY 1",
            f"%@{self.mark}.example",
        )
        return {row["customer_id"]: frozenset(row["ids"]) for row in rows}

    def expected(self, model: Model) -> dict[UUID, frozenset[UUID]]:
        return {self.id_of(group[0]): frozenset(map(self.id_of, group)) for group in model.people()}

    async def states(self) -> dict[frozenset[UUID], str]:
        rows = await self.database.fetch(
            "SELECT identity_a, identity_b, state FROM identity_links JOIN identities ON identity_id = identity_a "
            "WHERE value LIKE $1",
            f"%@{self.mark}.example",
        )
        return {frozenset(row[:2]): row["state"] for row in rows}

    async def journeys(self, customer_ids: Iterable[UUID]) -> dict[UUID, list[str]]:
        async with reading(self.running[0].engine) as session:
            pages = {each: await journey.page(session, each, Filters()) for each in customer_ids}
        return {each: [str(found.interaction_id) for found in page.items] for each, page in pages.items()}

    async def afresh(self, order: random.Random) -> dict[UUID, frozenset[UUID]]:
        """The customers of a store to which the same identities came, and only the links that remain."""
        mine = f"%@{self.mark}.example"
        lane = self.running[0].writer._lanes[0].session  # noqa: SLF001 - a connection that has the functions
        assert lane is not None
        transaction = lane.transaction()
        await transaction.start()
        try:
            links = await lane.fetch(
                "SELECT l.* FROM identity_links l JOIN identities ON identity_id = identity_a "
                "WHERE value LIKE $1 AND state = 'active'",
                mine,
            )
            order.shuffle(links)
            await lane.execute("UPDATE identities SET customer_id = identity_id WHERE value LIKE $1", mine)
            await lane.execute(
                "DELETE FROM identity_links USING identities WHERE identity_id = identity_a AND value LIKE $1", mine
            )
            await lane.execute(
                "SELECT pg_temp.percorso_link($1, $2, $3, $4, $5, now(), false)",
                *([link[name] for link in links] for name in ("identity_a", "identity_b", "interaction_id", "source")),
                [link["linked_at"] for link in links],
            )
            rows = await lane.fetch(
                "SELECT customer_id, array_agg(identity_id) AS ids FROM identities WHERE value LIKE $1 GROUP BY 1", mine
            )
        finally:
            await transaction.rollback()
        return {row["customer_id"]: frozenset(row["ids"]) for row in rows}


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[list[Services]]:
    """Three processes, which store by one statement, by COPY, and carefully; guard rails are out of the way."""
    free: Mapping[str, Any] = {"max_identifiers": {}, "shared_customers": 1000, "commit_connections": 1}
    async with AsyncExitStack() as stack:
        made = [
            service
            for rows in (200, 0, 0)
            for service in await stack.enter_async_context(processes(database_url, 1, statement_rows=rows, **free))
        ]
        made[2].writer._known.careful = 10**9  # noqa: SLF001 - else it is duplicates that lead there
        yield made


@settings(max_examples=60)
@given(data=st.data(), given_steps=steps)
async def test_after_any_sequence_customers_and_journeys_are_those_of_a_store_with_only_the_remaining_links(
    running: list[Services], database: Database, data: st.DataObject, given_steps: list[str]
) -> None:
    world = World(running, database, f"e{next(_example)}")
    model = Model(world.id_of)
    history: list[tuple[datetime, dict[UUID, frozenset[UUID]]]] = []
    before = await database.fetch("SELECT id, xmin::text FROM interactions")
    for number, what in enumerate(["contact", *given_steps]):
        services = running[data.draw(st.integers(0, 2))]
        if what == "contact":
            named = data.draw(contacts)
            await world.contact(services, named, "x" * (number + 1))
            model.met(number, named, "x" * (number + 1))
            before = await database.fetch("SELECT id, xmin::text FROM interactions")
        else:
            named = data.draw(st.lists(st.sampled_from(sorted(model.age)), min_size=1, max_size=3, unique=True))
            await (world.split if what == "split" else world.merge)(services, model, named)
        assert await world.customers() == world.expected(model), (what, named)
        history.append((datetime.now(UTC), await world.customers()))
    # No merge and no split has touched an interaction.
    assert await database.fetch("SELECT id, xmin::text FROM interactions") == before
    assert await world.states() == {frozenset(map(world.id_of, pair)): state for pair, state in model.links.items()}
    order = random.Random(data.draw(st.integers(0, 99)))
    customers = await world.customers()
    assert await world.afresh(order) == customers
    journeys = await world.journeys(customers)
    assert {customer: len(found) for customer, found in journeys.items()} == {
        customer: sum(world.id_of(first) in ids for first, _ in model.stored) for customer, ids in customers.items()
    }
    async with reading(running[0].engine) as session:
        for moment, then in history:
            for customer, members in then.items():
                for member in order.sample(sorted(members), 1):
                    view = await identities.view(session, member, moment)
                    assert view.then == customer
                    assert {each.identity_id for each in view.identifiers} == members
        for customer, members in customers.items():
            view = await identities.view(session, customer, None)
            assert {each.identity_id for each in view.identifiers} == members
            states = await world.states()
            assert all(states[frozenset(end.identity_id for end in link.ends)] == link.state for link in view.links)


async def test_processes_that_link_merge_and_split_the_same_few_people_at_once_neither_deadlock_nor_disagree(
    running: list[Services], database: Database
) -> None:
    dice = random.Random(11)
    world = World(running, database, "crowd")
    everyone = [(kind, value) for kind in RANK for value in "12"]
    before = retries()
    for name in everyone:
        await world.contact(running[0], [name], f"first {name}")

    async def traffic(services: Services, number: int) -> None:
        for step in range(25):
            await world.contact(services, dice.sample(everyone, dice.randint(1, 3)), f"{number}-{step}")

    async def desk(services: Services) -> None:
        for _ in range(25):
            one, other = dice.sample(everyone, 2)
            async with writing(services.engine) as session:
                members = await session.fetch(
                    "SELECT m.identity_id FROM identities one JOIN identities m USING (customer_id) "
                    "WHERE one.identity_id = $1",
                    world.id_of(one),
                )
            # What it decided on may have changed meanwhile.
            with suppress(CannotMerge, InvalidRequest):
                async with writing(services.engine) as session:
                    if len(members) > 3:
                        await reconcile.split(session, world.id_of(one), [world.id_of(one)], world.act())
                    else:
                        await reconcile.merge(session, world.id_of(one), world.id_of(other), world.act())

    await asyncio.gather(
        *(traffic(services, number) for number, services in enumerate(running * 2)),
        *(desk(services) for services in running),
    )
    assert await database.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert retries() == before
    rows = await database.fetch("SELECT * FROM identities ORDER BY first_seen_at, identity_id")
    by_id = {row["identity_id"]: (row["kind"], row["value"].partition("@")[0]) for row in rows}
    model = Model(world.id_of, {by_id[row["identity_id"]]: (n, row["identity_id"]) for n, row in enumerate(rows)})
    model.links = {frozenset(by_id[each] for each in pair): state for pair, state in (await world.states()).items()}
    assert {"active", "cut"} == set(model.links.values())
    assert await world.customers() == world.expected(model) == await world.afresh(dice)
    assert await database.fetchval("SELECT count(*) FROM interactions") == 12 + 6 * 25
