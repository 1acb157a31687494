"""Profiles: every customer has one that says what the summary says, whatever happens to customers and processes."""

import asyncio
import json
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from time import monotonic

import pytest
from asyncpg.pgproto.pgproto import UUID
from structlog.testing import capture_logs

from following import MAX_AGE, check_profiles, follow, keeper, profiles
from percorso import measures
from percorso.app import workers_of
from percorso.http.services import Services
from percorso.ingest import enrich, say
from percorso.measures.rfm import CLASSES
from percorso.queries import followers
from percorso.queries.profiles import FOLLOWER
from percorso.storage import commits, partitions
from percorso.storage import profiles as storage
from percorso.storage.database import WriteSession, reading, writing
from percorso.storage.traits import Trait
from percorso.workers import profiles as worker
from percorso.workers.following import some
from percorso.workers.runtime import Runtime, Worker
from support import Make, running, settings_for
from writing import Database, count, processes, take, until

ANNA, BERTA, CARLA = ({"email": f"{name}@example.com"} for name in ("anna", "berta", "carla"))
DEVICE, CRM = {"device_id": "tablet"}, {"crm_id": "C-17"}


async def describe(services: Services, identity_id: UUID, **said: object) -> None:
    """Say these traits of an identity."""
    now = datetime.now(UTC)
    rows = [Trait(identity_id, name, json.dumps(value), now, "test", now, "test") for name, value in said.items()]
    async with writing(services.engine) as session:
        await say.traits(session, identity_id, rows, at=now, generation=services.deployment.generation)


async def is_counted_in(database: Database, services: Services, identifier: dict[str, str]) -> set[UUID]:
    """The customers in whose profiles an identifier is counted."""
    [(kind, value)] = identifier.items()
    rows = await database.fetch(
        "SELECT customer_id FROM customer_profiles WHERE $1 = ANY(identity_ids)",
        services.identifiers.one(kind, value).id,
    )
    return {row["customer_id"] for row in rows}


async def as_of(services: Services) -> datetime | None:
    async with reading(services.engine) as session:
        return await followers.as_of(session, FOLLOWER)


async def test_a_profile_says_what_a_customer_is_found_by(services: Services, database: Database, make: Make) -> None:
    order = {"order_id": "1", "total": {"amount": 20.5, "currency": "EUR"}}
    [verdict, _] = await take(
        services,
        make(occurred_at="2026-03-01T10:00:00Z", channel="purchase", details=order),
        make(occurred_at="2026-03-02T10:00:00Z", kind="complaint", case="c"),
    )
    assert verdict.customer_id is not None
    await describe(services, verdict.customer_id, city="Milano", tier=3)
    await follow(services)
    [profile] = (await profiles(database)).values()
    assert profile["first_at"] == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert profile["last_at"] == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert (profile["interactions"], profile["channels"]) == (2, ["phone", "purchase"])
    assert (profile["purchases"], profile["spent"], profile["currency"]) == (1, 20.5, "EUR")
    assert profile["open_complaints"] == 1
    assert profile["relationship"] in {"watch", "cracked"}
    assert profile["traits"] == {"city": "Milano", "tier": 3}


async def test_a_device_seen_with_a_second_person_leaves_the_profile_of_the_first(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer=ANNA | DEVICE), make(customer=DEVICE))
    await follow(services)
    [anna] = await is_counted_in(database, services, DEVICE)
    await take(services, make(customer=BERTA | DEVICE))
    await follow(services)
    assert await is_counted_in(database, services, DEVICE) == {services.identifiers.one("device_id", "tablet").id}
    assert (await profiles(database))[anna]["interactions"] == 1
    assert await check_profiles(services, database) == 3


async def test_customers_that_become_one_have_one_profile_and_those_taken_apart_have_two(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer=ANNA))
    await take(services, make(customer=CRM | DEVICE))
    await follow(services)
    assert await check_profiles(services, database) == 2
    await take(services, make(customer=ANNA | CRM))
    await follow(services)
    assert await check_profiles(services, database) == 1
    # As taking them apart by hand does it.
    crm, device = (services.identifiers.one(*pair).id for identifier in (CRM, DEVICE) for pair in identifier.items())
    async with writing(services.engine) as session:
        await session.execute("UPDATE identities SET customer_id = $1 WHERE identity_id = ANY($2)", crm, [crm, device])
        await record(session, services, "said", [services.identifiers.one("email", ANNA["email"]).id, crm, device])
    await follow(services)
    assert await check_profiles(services, database) == 2


async def test_an_erased_customer_has_no_profile(services: Services, database: Database, make: Make) -> None:
    await take(services, make(customer=ANNA | DEVICE), make(customer=BERTA))
    await follow(services)
    anna, device = (services.identifiers.one(*pair).id for identifier in (ANNA, DEVICE) for pair in identifier.items())
    async with writing(services.engine) as session:
        for table in ("interactions", "identities"):
            await session.execute(f"DELETE FROM {table} WHERE identity_id = ANY($1)", [anna, device])  # noqa: S608 - constants
        await record(session, services, "deleted", [device])
    await follow(services)
    assert await check_profiles(services, database) == 1


async def record(session: WriteSession, services: Services, what: commits.What, identity_ids: list[UUID]) -> None:
    """Enter in the commit log that something was done to these."""
    now = datetime.now(UTC)
    await partitions.ensure_days(session, (now,))
    await commits.record(
        session,
        services.deployment.generation,
        what,
        at=now,
        occurred_ms=(),
        identity_ids=identity_ids,
        interaction_ids=(),
    )


async def test_enriched_and_deleted_interactions_change_the_profile(
    services: Services, database: Database, make: Make
) -> None:
    complaint = make(kind="complaint", case="c")
    verdicts = await take(services, complaint, make(occurred_at="2026-05-01T00:00:00Z"))
    ids = [verdict.interaction_id for verdict in verdicts if verdict.interaction_id is not None]
    await follow(services)
    async with writing(services.engine) as session:
        await enrich.enrich(session, ids[0], b'{"resolution": "resolved"}', by="t", generation=1, max_bytes=9999)
    await follow(services)
    [profile] = (await profiles(database)).values()
    assert profile["open_complaints"] == 0
    for left, identity in ((1, ids[1]), (0, ids[0])):
        async with writing(services.engine) as session:
            await enrich.delete(session, identity, generation=1)
        await follow(services)
        [profile] = (await profiles(database)).values()
        assert profile["interactions"] == left
        await check_profiles(services, database)
    assert profile["first_at"] is profile["last_at"] is None


@pytest.mark.parametrize("seed", range(3))
async def test_profiles_are_right_after_any_mix_of_what_happens_with_two_workers_at_once(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Long histories are read and summed up in other ways.
    monkeypatch.setattr(worker, "_TOGETHER", (5_000, 40, 0)[seed])
    monkeypatch.setattr(worker, "_FEW", (400, 2, 400)[seed])
    monkeypatch.setattr(worker, "_SLICE", (100, 3, 2)[seed])
    dice = random.Random(seed)
    strong = [("email", f"{name}@example.com") for name in "abcdefgh"] + [("crm_id", str(n)) for n in range(4)]
    weak = [("device_id", "d"), ("cookie_id", "c"), ("cookie_id", "e")]
    stored: list[UUID] = []
    workers = [keeper(services) for _ in range(2)]

    def channel() -> str:
        return dice.choice(("phone", "email", "web"))

    async def happen() -> None:
        for _ in range(25):
            whom = [
                dice.sample(strong, dice.choice((1, 1, 1, 2))) + dice.sample(weak, dice.choice((0, 1)))
                for _ in range(dice.randint(1, 4))
            ]
            kinds = (None, "complaint")
            items = [make(customer=dict(each), channel=channel(), kind=dice.choice(kinds)) for each in whom]
            stored.extend(v.interaction_id for v in await take(services, *items) if v.interaction_id is not None)
            deed = dice.random()
            async with writing(services.engine) as session:
                one = stored.pop(dice.randrange(len(stored)))
                if deed < 0.3:
                    await enrich.delete(session, one, generation=1)
                elif deed < 0.6:
                    patch = b'{"resolution": "resolved"}'
                    await enrich.enrich(session, one, patch, by="t", generation=1, max_bytes=9999)
            identity = services.identifiers.one(*dice.choice(strong)).id
            if await count(database, f"identities WHERE identity_id = '{identity}'"):
                await describe(services, identity, city=dice.choice(("Roma", "Milano")))

    async def work(this: worker.Profiles) -> None:
        while not done.is_set():
            await this.run()

    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in workers:
            tasks.create_task(work(each))
        await happen()
        done.set()
    await follow(services)
    assert await check_profiles(services, database) > 0
    assert await count(database, "followers") == 1


async def test_what_was_open_while_others_were_committed_is_not_skipped(
    services: Services, database: Database, make: Make
) -> None:
    [verdict] = await take(services, make())
    assert verdict.interaction_id is not None
    await follow(services)
    async with writing(services.engine) as session:
        await enrich.delete(session, verdict.interaction_id, generation=1)
        await take(services, make(), make(customer=BERTA))
        await follow(services)
        before = await as_of(services)
    after = datetime.now(UTC)
    await follow(services)
    now = await as_of(services)
    assert before is not None
    assert now is not None
    assert before < after <= now
    assert await check_profiles(services, database) == 2
    assert sum(profile["interactions"] for profile in (await profiles(database)).values()) == 2


async def test_what_was_committed_on_another_cluster_is_taken_however_high_its_transactions_were(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make())
    await follow(services)
    [verdict] = await take(services, make())
    assert verdict.interaction_id is not None
    await database.execute(
        "UPDATE commits SET xid8 = '900000000000' WHERE $1 = ANY(interaction_ids)", verdict.interaction_id
    )
    await database.execute("UPDATE deployment SET generation = generation + 1")
    await follow(services)
    [profile] = (await profiles(database)).values()
    assert profile["interactions"] == 2


async def test_a_first_pass_finds_customers_whom_the_commit_log_names_no_more(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_IDENTITIES", 7)
    monkeypatch.setattr(worker, "_SLICE", 3)
    await take(
        services, *(make(customer={"crm_id": str(number)}) for number in range(20)), make(customer=ANNA | DEVICE)
    )
    await database.execute("TRUNCATE commits")
    this = keeper(services)
    assert await this.run()
    assert 0 < await count(database, "customer_profiles") < 21
    assert await as_of(services) is None
    while await this.run():
        pass
    assert await check_profiles(services, database) == 21
    assert await as_of(services) is not None


async def test_profiles_that_were_not_made_anew_for_long_are(
    services: Services, database: Database, make: Make
) -> None:
    for day in ("01", "02", "03"):
        await take(
            services, make(occurred_at=f"2026-03-{day}T00:00:00Z", channel="purchase", details={"order_id": day})
        )
    await take(services, make(customer=BERTA))
    await follow(services)
    await database.execute(
        "UPDATE customer_profiles SET overdue = NULL, computed_at = now() - interval '25 hours' WHERE purchases > 0"
    )
    young = {
        key: profile["computed_at"] for key, profile in (await profiles(database)).items() if not profile["purchases"]
    }
    await follow(services)
    await check_profiles(services, database)
    found = await profiles(database)
    assert [profile["overdue"] for profile in found.values() if profile["purchases"]] == [True]
    assert all(found[key]["computed_at"] == at for key, at in young.items())


async def test_a_profile_gives_way_only_to_a_later_one_and_only_customers_have_any(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(), make(customer=CRM))
    await follow(services)
    await take(services, make(customer=ANNA | CRM))
    merged, former = (services.identifiers.one(*pair).id for each in (ANNA, CRM) for pair in each.items())
    old, gone = made_of(merged, datetime(2026, 4, 1, tzinfo=UTC)), made_of(former, datetime.now(UTC))
    async with writing(services.engine) as session:
        await storage.put(session, [old, gone], CLASSES)
    await follow(services)
    assert await check_profiles(services, database) == 1
    async with writing(services.engine) as session:
        await storage.put(session, [old, gone], CLASSES)
    assert await check_profiles(services, database) == 1


async def test_whoever_is_being_erased_gets_no_profile(services: Services, database: Database, make: Make) -> None:
    await take(services, make(), make(customer=BERTA))
    anna, berta = (services.identifiers.one(*pair).id for each in (ANNA, BERTA) for pair in each.items())

    async def put() -> None:
        async with writing(services.engine) as session:
            await storage.put(session, [made_of(each, datetime.now(UTC)) for each in (anna, berta)], CLASSES)

    async with asyncio.TaskGroup() as tasks, writing(services.engine) as session:
        await session.execute("DELETE FROM identities WHERE identity_id = $1", anna)
        tasks.create_task(put())
        waits = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: count(database, waits))
    assert [record[0] for record in await database.fetch("SELECT customer_id FROM customer_profiles")] == [berta]


def made_of(customer_id: UUID, now: datetime) -> storage.Profile:
    """A profile of a customer with whom there was no contact."""
    return worker.profile_of(measures.summarise([], now=now, zone=None), customer_id, [customer_id], [])


async def test_a_customer_whose_profile_cannot_be_made_does_not_hold_up_the_others(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = measures.find

    def fails(history: list[measures.Contact]) -> measures.Findings:
        if history[0].channel == "fax":
            raise ValueError("anna@example.com")
        return find(history)

    monkeypatch.setattr(measures, "find", fails)
    await take(services, make(channel="fax"), *(make(customer={"crm_id": str(number)}) for number in range(5)))
    with capture_logs() as logs:
        await follow(services)
    assert await count(database, "customer_profiles") == 5
    assert [log["event"] for log in logs] == ["a profile cannot be made"]
    assert "anna" not in str(logs)


async def test_rows_of_one_transaction_are_taken_together_however_many_they_name(
    services: Services, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_NAMED", 2)
    monkeypatch.setattr(worker, "_COMMITS", 2)
    one, other = (services.identifiers.one("crm_id", name).id for name in "ab")
    await take(services, make(customer=CRM))
    await follow(services)
    async with writing(services.engine) as session:
        for identity in (one, one, one, other):
            await record(session, services, "said", [identity])
            await asyncio.sleep(0.001)
    async with writing(services.engine) as session:
        await record(session, services, "said", [other])
    async with reading(services.engine) as session:
        follower = await followers.by_name(session, FOLLOWER)
        assert follower is not None
        rows = await followers.next_commits(session, follower, limit=2)
    assert [row.identity_ids[0] for row in rows] == [one, one, one, other]
    assert len(some([*rows, rows[-1]._replace(xid8=rows[-1].xid8 + 1)], most=2)) == 4


async def test_of_two_processes_one_keeps_the_profiles_and_when_it_is_gone_the_other(
    database_url: str, database: Database, make: Make
) -> None:
    # One connection must be enough to work with.
    async with processes(database_url, 2, pool_size=1) as both, AsyncExitStack() as stack:
        runtimes = []
        for services in both:
            this = worker.worker(services.engine, generation=services.deployment.generation, max_age=MAX_AGE)
            this = Worker(this.name, 0.02, this.run)
            runtime = Runtime(database_url, settings_for(database_url), [this], beat_seconds=0.02)
            await runtime.start()
            stack.push_async_callback(runtime.stop)
            runtimes.append(runtime)
        await take(both[0], make(customer=ANNA))
        await until(lambda: count(database, "customer_profiles WHERE interactions = 1"))
        leader, heir = sorted(runtimes, key=lambda runtime: not leads(runtime))
        assert not leads(heir)
        await leader.stop()
        await take(both[1], make(customer=ANNA), make(customer=BERTA))
        await until(lambda: count(database, "customer_profiles WHERE interactions = 2"))
        await until(lambda: count(database, "customer_profiles WHERE interactions = 1"))
        assert leads(heir)
        assert await check_profiles(both[1], database) == 2


async def test_after_a_slice_of_work_there_is_a_rest_as_long() -> None:
    begun = monotonic()
    async with worker._resting():  # noqa: SLF001
        await asyncio.sleep(0.03)
    assert monotonic() - begun >= 0.06


def leads(runtime: Runtime) -> bool:
    """Whether it runs a worker."""
    return bool(runtime._led)  # noqa: SLF001 - there is no other way to tell those of one process apart


async def test_the_service_keeps_profiles_unless_its_settings_say_no(
    database_url: str, database: Database, make: Make
) -> None:
    async with running(database_url, background_workers=True) as (app, client):
        assert (await client.post("/v1/interactions", json=make())).status_code == 201
        await until(lambda: count(database, "customer_profiles"))
    assert "profiles" in {each.name for each in workers_of(app.state.services)}
