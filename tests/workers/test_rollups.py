"""Rollups and steps: always what the facts say, whatever happens to them and to processes."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg.pgproto.pgproto import UUID
from prometheus_client import REGISTRY

from following import follow
from happenings import Happenings
from percorso.http.services import Services
from percorso.ingest import reconcile
from percorso.ingest.reconcile import Act
from percorso.queries import followers, refreshing
from percorso.queries.recounting import FOLLOWER
from percorso.storage.database import ReadSession, reading, writing
from percorso.storage.erasures import Asked, Mode
from percorso.storage.linking import Guards
from percorso.workers import hours, rollups
from percorso.workers.hours import Hours
from retaining import NOW, retain
from rolling import check_rollups, hash_of, keeper, roll
from support import Make
from writing import Database, count, processes, take

ANNA, BERTA = ({"email": f"{name}@example.com"} for name in ("anna", "berta"))
CRM = {"crm_id": "C-17"}


def spread(make: Make, customer: dict[str, str], days: int = 90, **said: Any) -> list[dict[str, Any]]:
    """Interactions of a customer, one every tenth day."""
    return [
        make(customer=customer, occurred_at=(NOW - timedelta(days=day)).isoformat(), **said)
        for day in range(0, days, 10)
    ]


def identity(services: Services, customer: dict[str, str]) -> UUID:
    """The id of an identifier."""
    [(kind, value)] = customer.items()
    return UUID(services.identifiers.one(kind, value).id.bytes)


async def as_of(services: Services) -> datetime | None:
    """Up to when rollups say everything."""
    async with reading(services.engine) as session:
        return await followers.as_of(session, FOLLOWER)


class Rich(Happenings):
    """Interactions that say all that is counted."""

    def item(self) -> dict[str, Any]:
        """One of them, in 70 days."""
        choice = self.dice.choice
        channel, details = choice(self._channels())
        low, high = choice(((None, None), (0, 10), (1, 5)))
        score = choice((None, self.dice.uniform(-1, 1)))
        at = NOW - timedelta(minutes=self.dice.randrange(0, 70 * 1440, 20))
        said = {
            "channel": channel,
            "details": details,
            "occurred_at": at.isoformat(),
            "ended_at": choice((None, (at + timedelta(seconds=choice((-5, 90)))).isoformat())),
            "touchpoint": choice((None, "desk", "line")),
            "kind": choice((None, "question", "complaint")),
            "function": choice((None, "sales", "service")),
            "direction": choice((None, "inbound", "outbound", "internal")),
            "directness": choice((None, "direct", "indirect")),
            "location": choice((None, "", "roma", "milano")),
            "agent": choice((None, "x", "y")),
            "campaign": choice((None, "spring")),
            "outcome": choice((None, "abandoned", "answered", "complained", "purchased")),
            "resolution": choice((None, "resolved", "unresolved", "escalated", "not_applicable")),
            "sentiment": choice((None, {"score": score, "label": choice((None, "negative", "positive"))})),
            "feedback": choice((
                None,
                [{"metric": choice(("nps", "csat", "ces", "stars")), "score": self.dice.randint(0, 10)}],
                [{"metric": choice(("nps", "csat", "ces")), "score": 4, "min": low, "max": high} for _ in "ab"],
            )),
            "topics": choice((None, [], ["Billing", "billing"], ["delivery", "billing"])),
        }  # fmt: skip
        return {name: value for name, value in (super().item() | said).items() if value is not None}

    def _channels(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Channels with details that they may have."""
        dice = self.dice
        money = {"amount": round(dice.uniform(0, 9), 2), "currency": dice.choice(("EUR", None))}
        return [
            ("phone", {"wait_seconds": dice.randint(0, 99), "duration_seconds": dice.choice((None, 60.5))}),
            ("phone", None),
            ("chat", {"duration_seconds": 30}),
            ("chat", {"wait_seconds": "not one that is counted"}),
            ("email", {"event": dice.choice(("opened", "replied", None))}),
            ("social", {"network": "n", "action": dice.choice(("post", "follow"))}),
            ("review", {"site": "s", "rating": {"value": dice.randint(1, 5)}}),
            ("ad", {"cost": money}),
            ("mail", {"cost": dice.choice((None, money))}),
            ("store_visit", {"location_id": "1", "purpose": dice.choice(("browse", "purchase", "return"))}),
            ("store_visit", {"location_id": "1", "basket": money}),
            ("field_visit", None),
            ("purchase", {"order_id": "1", "status": dice.choice((None, "placed", "returned"))}),
            ("web", {"path": "/"}),
        ]


@pytest.mark.parametrize("seed", range(5))
async def test_rollups_say_what_the_facts_say_after_any_mix_of_what_happens(
    services: Services,
    database_url: str,
    database: Database,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    # Where many hours are named, a month is gone through once; where it is long, in parts.
    monkeypatch.setattr(hours, "_FEW_HOURS", 0 if seed % 2 else 48)
    monkeypatch.setattr(rollups, "_TOGETHER", 500_000 if seed < 2 else 3)
    monkeypatch.setattr(rollups, "_COMMITS", 200 if seed < 2 else 3)
    # What long hours said is remembered: here of all, or of none.
    monkeypatch.setattr(hours, "_LONG", 1 if seed in {0, 2} else 20_000)
    monkeypatch.setattr(hours, "_KEPT", 10_000)
    this = keeper(services)
    happenings, checked = Rich(services, database, make, seed), 0
    for turn in range(14):
        await happenings.turn(turn)
        if turn == 9:
            await retain(database_url, retention_days=40, retention_channel_days={"email": 20})
        if happenings.dice.random() < 0.7:
            if happenings.dice.random() < 0.7:
                await follow(services)
            await roll(services, this if happenings.dice.random() < 0.9 else None)
            checked += await check_rollups(database)
    assert checked > 1000


async def test_what_was_stored_before_is_gone_through_once_and_then_only_what_is_named(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "_TOGETHER", 1)
    await take(services, *spread(make, ANNA), *spread(make, CRM), make(customer=ANNA | CRM), *spread(make, BERTA))
    runs = 0
    # Each is another process, and the last was stopped.
    while await keeper(services).run():
        runs += 1
        if runs < 20:
            assert await as_of(services) is None
    assert runs > 90
    assert await check_rollups(database) > 100
    assert REGISTRY.get_sample_value("percorso_rollup_hours_left") == 0
    age = REGISTRY.get_sample_value("percorso_rollup_age_seconds")
    assert age is not None
    assert 0 <= age < 60
    renewed: list[Sequence[int]] = []
    monkeypatch.setattr(Hours, "renew", noting(Hours.renew, renewed))
    await take(services, make(customer=ANNA, occurred_at="2026-05-02T03:04:05Z"))
    assert (await as_of(services) or NOW) < datetime.now(UTC)
    await roll(services)
    assert renewed == [[datetime(2026, 5, 2, 3, tzinfo=UTC).timestamp() // 3600]]
    await check_rollups(database)


def noting(renew: Callable[..., Any], renewed: list[Sequence[int]]) -> Callable[..., Any]:
    """What makes hours anew, and notes them."""

    async def noted(this: Hours, some: Sequence[int], *given: Any) -> None:
        renewed.append(some)
        await renew(this, some, *given)

    return noted


async def test_customers_that_become_one_count_once_and_those_taken_apart_twice_even_where_a_worker_fails_between(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "_TOGETHER", 1)
    await take(services, *spread(make, ANNA), *spread(make, CRM), *spread(make, BERTA))
    await roll(services)
    act = Act("desk", "because", 1, Guards.of(services.settings))
    anna, crm = identity(services, ANNA), identity(services, CRM)
    renew = Hours.renew
    done: list[Sequence[int]] = []

    async def failing(this: Hours, some: Sequence[int], *given: Any) -> None:
        if len(done) == 3:
            raise ConnectionError
        done.append(some)
        await renew(this, some, *given)

    async with writing(services.engine) as session:
        await reconcile.merge(session, anna, crm, act)
    monkeypatch.setattr(Hours, "renew", failing)
    with pytest.raises(ConnectionError):
        await roll(services)
    # Some of the hours count them as one. Before the others do, they are two again.
    async with writing(services.engine) as session:
        await reconcile.split(session, anna, [crm], act)
    monkeypatch.setattr(Hours, "renew", renew)
    await roll(services)
    await check_rollups(database)
    assert await count(database, "counted_identities") == 0
    async with writing(services.engine) as session:
        await reconcile.merge(session, anna, crm, act)
    await roll(services)
    await check_rollups(database)
    assert await count(database, "counted_identities WHERE NOT stale") == 1


async def test_rests_are_long_only_while_others_store_something(
    services: Services, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = rollups.Rollups(services.engine, generation=services.deployment.generation)
    assert await keeping.pause(1.0) == 0.5
    await take(services, make())
    assert await keeping.pause(1.0) == 4.0
    assert await keeping.pause(100.0) == 25.0
    monkeypatch.setattr(rollups, "_LATELY", timedelta(0))
    assert await keeping.pause(1.0) == 0.5


async def test_two_workers_at_once_do_no_harm(database_url: str, database: Database, make: Make) -> None:
    async with processes(database_url, 2) as both:
        this, other = both
        await take(this, *spread(make, ANNA), *spread(make, CRM))
        await asyncio.gather(roll(this), roll(other))
        for _ in range(3):
            await take(this, *spread(make, ANNA, days=20), *spread(make, BERTA | CRM, days=20))
            await asyncio.gather(roll(this), roll(other), take(other, *spread(make, ANNA | BERTA)))
            await asyncio.gather(roll(this), roll(other))
            await check_rollups(database)


@pytest.mark.parametrize("mode", ["delete", "anonymise"])
async def test_an_erased_customer_leaves_no_trace(
    services: Services, database: Database, make: Make, mode: Mode
) -> None:
    said: dict[str, Any] = {"agent": "anna@example.com", "topics": ["Anna@Example.com", "billing"]}
    await take(
        services, *spread(make, ANNA, **said), *spread(make, BERTA, topics=["billing"]), make(customer=ANNA | CRM)
    )
    await roll(services)
    customer_id = await database.fetchval(
        "SELECT customer_id FROM identities WHERE identity_id = $1", identity(services, ANNA)
    )
    hashed = hash_of(customer_id).to_bytes(8, "little")
    holding = "SELECT count(*) FROM steps WHERE position($1::bytea IN steps) > 0"
    assert await database.fetchval(holding, hashed) == 10
    erasure = Asked(datetime.now(UTC), "t", UUID(bytes(16)), None, mode)
    await services.eraser.erase(identity(services, CRM), erasure)
    await roll(services)
    assert await database.fetchval(holding, hashed) == 0
    assert await count(database, "words WHERE word ILIKE '%anna%'") == 0
    assert await count(database, "words WHERE word LIKE '[erased] %'") == 1
    assert await count(database, "counted_identities") == 0
    await check_rollups(database)


async def test_what_rollups_are_made_of_is_looked_up_in_indexes(database: Database) -> None:
    await database.execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_sort = off")
    await database.execute(
        "PREPARE rows (int[], int[], int, timestamptz) AS SELECT cells FROM rollups "
        "WHERE scope = ANY($1) AND dimension = ANY($2) AND level = $3 AND start = $4"
    )
    plan = str(await database.fetch("EXPLAIN EXECUTE rows ('{0,1}', '{0,2}', 0, '2026-01-01')"))
    assert "rollups_pkey" in plan, plan
    for part in ("scope", "dimension", "level", "start"):
        assert part in plan.partition("Index Cond")[2], plan


async def test_however_many_interactions_are_named_no_link_is_held_against_all_of_them(database: Database) -> None:
    seen: list[Any] = []
    database.add_query_logger(seen.append)
    await refreshing.linked_by(ReadSession(database), [UUID(bytes(16))], [UUID(bytes(16))])
    await asyncio.sleep(0)
    database.remove_query_logger(seen.append)
    asked = seen[-1]
    await database.execute("SET plan_cache_mode = force_generic_plan")
    plan = str(await database.fetch(f"EXPLAIN {asked.query}", *asked.args))
    assert "hashed SubPlan" in plan, plan
