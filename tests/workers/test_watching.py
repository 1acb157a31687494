"""Watches live: what comes true fires once, whatever comes late, is merged, is erased, or ends in between."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import ModuleType
from typing import Any

import pytest
from asyncpg.pgproto.pgproto import UUID
from prometheus_client import REGISTRY

from happenings import Happenings
from percorso import ids
from percorso.http.services import Services
from percorso.ingest import enrich, reconcile
from percorso.ingest.reconcile import Act
from percorso.measures import watching as finding
from percorso.measures.watch_rules import rule_of, seen
from percorso.queries import feed, refreshing
from percorso.queries import watching as queries
from percorso.queries.feed_kinds import FIRED, Wanted
from percorso.storage import commits, partitions
from percorso.storage import followers as cursors
from percorso.storage import watching as store
from percorso.storage.database import reading, writing
from percorso.storage.erasures import Asked
from percorso.storage.linking import Guards
from percorso.workers import watching as worker
from support import Make
from watched import ABANDONED, THREE, UNANSWERED, Clock, fired, look, told, watch, watcher
from writing import Database, count, processes, take

ANNA, BERTA, CARLA = ({"email": f"{name}@example.com"} for name in ("anna", "berta", "carla"))
PHONE = {"phone": "+390669821234"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(refreshing, "clock", made)
    return made


def complaint(make: Make, clock: Clock, hours: float = 0, **said: Any) -> dict[str, Any]:
    """A complaint by mail, so many hours after the start."""
    usual = {"channel": "email", "direction": "inbound", "kind": "complaint", "conversation": "c"}
    return make(occurred_at=clock.at(hours), **(usual | said))


def answer(make: Make, clock: Clock, hours: float, **said: Any) -> dict[str, Any]:
    """An answer to it."""
    return make(**({"occurred_at": clock.at(hours), "channel": "email", "conversation": "c"} | said))


def contact(make: Make, clock: Clock, hours: float, **said: Any) -> dict[str, Any]:
    """A call about a bill."""
    return make(**({"occurred_at": clock.at(hours), "topics": ["billing"]} | said))


async def test_a_complaint_that_nobody_answers_for_four_hours_fires_once(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "unanswered", UNANSWERED)
    [verdict] = await take(services, complaint(make, clock))
    for hours in (0, 3.9):
        clock.move(hours)
        await look(services)
        assert await fired(database) == []
        assert await count(database, "watch_deadlines") == 1
    clock.move(4)
    for _ in range(3):
        await look(services)
        assert await fired(database) == [("unanswered", ["event-1"])]
    assert await count(database, "watch_deadlines") == 0
    [row] = await told(database)
    assert (row["hours"], row["interaction_ids"]) == ([], [])
    [identity] = row["identity_ids"]
    async with reading(services.engine) as session:
        [firing] = await queries.firings_of(session, [(row["generation"], int(row["xid8"]))])
    assert firing.customer_id == verdict.customer_id == identity
    assert (firing.name, firing.version, firing.interaction_ids) == ("unanswered", 1, [verdict.interaction_id])
    assert firing.at.isoformat(timespec="seconds")[:19] == clock.at(4)[:19]


async def test_a_complaint_that_is_answered_in_time_does_not_fire(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "unanswered", UNANSWERED)
    await take(services, complaint(make, clock), answer(make, clock, 1, conversation="other"))
    clock.move(2)
    await look(services)
    await take(services, answer(make, clock, 1.5))
    for hours in (3, 5, 99):
        clock.move(hours)
        await look(services)
    assert await fired(database) == []
    assert await count(database, "watch_deadlines") == 0


async def test_three_contacts_on_a_topic_in_seven_days_fire_with_the_third_also_of_those_before_the_watch(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await take(services, contact(make, clock, -120), contact(make, clock, -24), contact(make, clock, -20, topics=["x"]))
    await watch(services, "three", THREE)
    assert await fired(database) == []
    await take(services, contact(make, clock, 0), contact(make, clock, 1), contact(make, clock, 1, customer=BERTA))
    clock.move(2)
    await look(services)
    assert await fired(database) == [("three", ["event-1", "event-2", "event-4"])]


async def test_an_abandoned_call_without_a_purchase_in_two_days_fires(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "lost", ABANDONED)
    for customer in (ANNA, BERTA):
        await take(services, make(occurred_at=clock.at(0), outcome="abandoned", customer=customer))
    bought = {"channel": "purchase", "details": {"order_id": "1"}}
    await take(services, make(occurred_at=clock.at(20), customer=BERTA, **bought))
    clock.move(47)
    await look(services)
    assert await fired(database) == []
    clock.move(48)
    await look(services)
    assert await fired(database) == [("lost", ["event-1"])]


async def test_what_occurred_before_the_watch_or_while_it_was_paused_does_not_fire(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "unanswered", UNANSWERED)
    await take(services, complaint(make, clock, -3.9))
    clock.move(1)
    await look(services)
    assert await fired(database) == []
    assert (await watch(services, "unanswered", UNANSWERED, enabled=False)).did == "paused"
    await take(services, complaint(make, clock, 0))
    clock.move(5)
    await look(services)
    await database.execute("UPDATE watches SET since = now() - interval '1 day'")
    await look(services)
    assert await fired(database) == []
    assert (await watch(services, "unanswered", UNANSWERED)).did == "resumed"
    assert await database.fetchval("SELECT since > now() - interval '1 hour' FROM watches")


async def test_what_is_stored_much_too_late_does_not_fire(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "call", {"when": [{"match": {"channel": "phone"}}]})
    await database.execute("UPDATE watches SET since = '2020-01-01'")
    await take(services, contact(make, clock, -24 * 8), contact(make, clock, -24 * 6, customer=BERTA))
    await look(services)
    assert await fired(database) == [("call", ["event-2"])]


async def test_a_changed_rule_begins_anew_and_the_same_rule_changes_nothing(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    first = await watch(services, "unanswered", UNANSWERED)
    assert (first.did, first.version) == ("made", 1)
    await take(services, complaint(make, clock))
    clock.move(1)
    await look(services)
    assert (await watch(services, "unanswered", UNANSWERED)).did == "unchanged"
    changed = UNANSWERED | {"then_absent": UNANSWERED["then_absent"] | {"within": "3h"}}
    await database.execute("UPDATE watches SET since = now() - interval '1 day'")
    put = await watch(services, "unanswered", changed)
    assert (put.did, put.version, put.watch_id) == ("changed", 2, first.watch_id)
    await take(services, complaint(make, clock, 1))
    clock.move(9)
    await look(services)
    # Both occur after the change, which is only now.
    assert [row["version"] for row in await database.fetch("SELECT version FROM watch_firings")] == [2, 2]


async def test_repetitions_and_what_comes_late_fire_nothing_again(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "three", THREE)
    await watch(services, "unanswered", UNANSWERED)
    items = [*(contact(make, clock, hours) for hours in (1, 2, 3)), complaint(make, clock, 1, customer=BERTA)]
    await take(services, *items)
    clock.move(6)
    await look(services)
    expected = [("three", ["event-1", "event-2", "event-3"]), ("unanswered", ["event-4"])]
    assert await fired(database) == expected
    await take(services, *items)
    await take(services, contact(make, clock, 0), answer(make, clock, 2, customer=BERTA))
    await look(services)
    assert await fired(database) == expected
    # What came late and the next two are a match of their own.
    await take(services, contact(make, clock, 4), contact(make, clock, 5))
    await look(services)
    assert sorted(await fired(database)) == sorted([*expected, ("three", ["event-5", "event-7", "event-8"])])


async def test_an_enrichment_fires_what_it_makes_true_and_takes_nothing_back(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "angry", {"when": [{"match": {"sentiment": {"label": "negative"}}}]})
    [verdict] = await take(services, contact(make, clock, 0))
    clock.move(1)
    await look(services)
    assert await fired(database) == []
    assert verdict.interaction_id is not None
    for label in (b"negative", b"positive", b"negative"):
        async with writing(services.engine) as session:
            patch = b'{"sentiment": {"label": "%s"}}' % label
            await enrich.enrich(session, verdict.interaction_id, patch, by="t", generation=1, max_bytes=9999)
        await look(services)
        assert await fired(database) == [("angry", ["event-1"])]
    assert len(await told(database)) == 1


async def test_what_merged_customers_went_through_together_fires_and_never_again(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "three", THREE)
    verdicts = await take(services, contact(make, clock, 0), contact(make, clock, 1, customer=PHONE))
    await take(services, contact(make, clock, 2), contact(make, clock, 3, customer=PHONE))
    clock.move(5)
    await look(services)
    assert await fired(database) == []
    anna, phone = (UUID(verdict.customer_id.bytes) for verdict in verdicts if verdict.customer_id is not None)
    act = Act("desk", "because", 1, Guards.of(services.settings))
    expected = [("three", ["event-1", "event-2", "event-3"])]
    for _ in range(2):
        async with writing(services.engine) as session:
            await reconcile.merge(session, anna, phone, act)
        await look(services)
        assert await fired(database) == expected
        assert await _owner(services, database) in {anna, phone}
        async with writing(services.engine) as session:
            await reconcile.split(session, anna, [phone], act)
        await look(services)
        assert await fired(database) == expected
        assert await _owner(services, database) == anna


async def _owner(services: Services, database: Database) -> UUID | None:
    """The customer of the one that fired, whose last interaction is Anna's."""
    [row] = await told(database)
    async with reading(services.engine) as session:
        [firing] = await queries.firings_of(session, [(row["generation"], int(row["xid8"]))])
    return firing.customer_id


async def test_what_a_merged_customer_waits_for_is_found_under_whoever_it_is_now(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "unanswered", UNANSWERED)
    await take(services, complaint(make, clock), complaint(make, clock, customer=PHONE, conversation="d"))
    clock.move(1)
    await look(services)
    assert await count(database, "watch_deadlines") == 2
    await take(services, make(occurred_at=clock.at(0.5), channel="web", customer=ANNA | PHONE))
    await look(services)
    assert await count(database, "watch_deadlines") == 1
    # Also where the merge is not followed yet.
    await take(services, make(occurred_at=clock.at(0.6), channel="web", customer=ANNA | CARLA | {"crm_id": "1"}))
    clock.move(5)
    await look(services)
    assert sorted(await fired(database)) == [("unanswered", ["event-1"]), ("unanswered", ["event-2"])]
    assert await count(database, "watch_deadlines") == 0


async def test_what_fired_of_an_erased_customer_is_gone_and_told_no_more(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "three", THREE)
    await watch(services, "unanswered", UNANSWERED)
    for customer in (ANNA, BERTA):
        await take(services, *(contact(make, clock, hours, customer=customer) for hours in (0, 1, 2)))
        await take(services, complaint(make, clock, 3, customer=customer))
    clock.move(4)
    await look(services)
    tables = ("watch_firings", "watch_evidence", "watch_deadlines")
    assert [await count(database, table) for table in tables] == [2, 6, 2]
    anna = services.identifiers.one("email", ANNA["email"]).id
    await services.eraser.erase(UUID(anna.bytes), Asked(datetime.now(UTC), "t", UUID(bytes(16)), None, "delete"))
    assert [await count(database, table) for table in tables] == [1, 3, 1]
    rows = [(row["generation"], int(row["xid8"])) for row in await told(database)]
    async with reading(services.engine) as session:
        [left] = await queries.firings_of(session, rows)
    assert left.customer_id == services.identifiers.one("email", BERTA["email"]).id
    clock.move(9)
    await look(services)
    assert [name for name, _ in await fired(database)] == ["three", "unanswered"]


async def test_who_is_erased_while_a_worker_looks_leaves_nothing(
    services: Services, database: Database, make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watch(services, "call", {"when": [{"match": {"channel": "phone"}}]})
    await watch(services, "unanswered", UNANSWERED)
    await take(services, contact(make, clock, 0), complaint(make, clock, 0))
    clock.move(1)
    hold = store.hold

    async def erased_before(*given: Any) -> bool:
        monkeypatch.setattr(store, "hold", hold)
        anna = UUID(services.identifiers.one("email", ANNA["email"]).id.bytes)
        await services.eraser.erase(anna, Asked(datetime.now(UTC), "t", UUID(bytes(16)), None, "delete"))
        return await hold(*given)

    monkeypatch.setattr(store, "hold", erased_before)
    await look(services)
    for table in ("watch_firings", "watch_evidence", "watch_deadlines"):
        assert await count(database, table) == 0


async def test_a_worker_that_is_overtaken_stores_nothing(
    services: Services, database: Database, make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One looks; before it stores, another does all there is to do, and more comes."""
    await watch(services, "unanswered", UNANSWERED)
    await take(services, complaint(make, clock))
    clock.move(1)
    hold = store.hold

    async def overtaken(*given: Any) -> bool:
        monkeypatch.setattr(store, "hold", hold)
        await take(services, answer(make, clock, 0.5))
        await look(services, watcher(services))
        assert await count(database, "watch_deadlines") == 0
        return await hold(*given)

    monkeypatch.setattr(store, "hold", overtaken)
    await watcher(services).run()
    # What the first found is no more so: its deadline was not stored.
    assert await count(database, "watch_deadlines") == 0


@pytest.mark.parametrize("what", ["made", "paused", "deleted"])
async def test_a_watch_that_changes_while_a_worker_looks_is_looked_at_again(
    services: Services, database: Database, make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    call = {"when": [{"match": {"channel": "phone"}}]}
    if what != "made":
        await watch(services, "call", call)
    await watch(services, "unanswered", UNANSWERED)
    await take(services, contact(make, clock, 0))
    clock.move(1)
    hold = store.hold

    async def changed(*given: Any) -> bool:
        monkeypatch.setattr(store, "hold", hold)
        async with writing(services.engine) as session:
            if what == "deleted":
                await store.delete(session, "call")
            else:
                rule = '{"when": [{"match": {"channel": ["phone"]}, "count": 1}]}'
                await store.put(session, "call", description=None, rule=rule, enabled=what == "made", by="t")
        return await hold(*given)

    monkeypatch.setattr(store, "hold", changed)
    await look(services)
    assert await fired(database) == ([("call", ["event-1"])] if what == "made" else [])


class _EndedError(Exception):
    """The process ends here."""


POINTS: list[tuple[ModuleType, str]] = [
    (queries, "enabled"),
    (refreshing, "members"),
    (queries, "used"),
    (store, "hold"),
    (partitions, "ensure_days"),
    (commits, "record"),
    (store, "store"),
    (cursors, "advance"),
    (queries, "due"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("point", range(len(POINTS)))
async def test_whatever_ends_a_run_everything_fires_once(
    services: Services,
    database: Database,
    make: Make,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    point: int,
    after: bool,  # noqa: FBT001
) -> None:
    module, name = POINTS[point]
    done: Callable[..., Awaitable[Any]] = getattr(module, name)
    ends = True

    async def ending(*given: Any, **named: Any) -> Any:
        nonlocal ends
        if ends and not after:
            ends = False
            raise _EndedError
        result = await done(*given, **named)
        if ends:
            ends = False
            raise _EndedError
        return result

    async def run_to_the_end() -> int:
        """Run, each time by a new process that ends there, until one finds no more; how many ended."""
        nonlocal ends
        ended = 0
        for hours in (1, 5):
            clock.move(hours)
            ends = True
            while True:
                try:
                    if not await watcher(services).run():
                        break
                except _EndedError:
                    ended += 1
        return ended

    await watch(services, "three", THREE)
    await watch(services, "unanswered", UNANSWERED)
    await take(services, *(contact(make, clock, hours) for hours in (0, 0.1, 0.2)))
    await take(services, complaint(make, clock), complaint(make, clock, customer=BERTA))
    monkeypatch.setattr(module, name, ending)
    assert await run_to_the_end() > 0
    assert sorted(await fired(database)) == [
        ("three", ["event-1", "event-2", "event-3"]),
        ("unanswered", ["event-4"]),
        ("unanswered", ["event-5"]),
    ]
    rows = [(row["generation"], int(row["xid8"])) for row in await told(database)]
    async with reading(services.engine) as session:
        assert len(await queries.firings_of(session, rows)) == 3


async def test_two_workers_at_once_fire_everything_once(
    services: Services, database: Database, database_url: str, make: Make, clock: Clock
) -> None:
    await watch(services, "three", THREE)
    await watch(services, "unanswered", UNANSWERED)
    clock.move(0.5)
    before = REGISTRY.get_sample_value("percorso_watch_firings_total", {"watch": "three"}) or 0
    async with processes(database_url, 1) as [other]:
        workers = [watcher(services), watcher(other)]
        done = asyncio.Event()

        async def work(this: worker.Watching) -> None:
            while not done.is_set():
                await this.run()

        async with asyncio.TaskGroup() as tasks:
            for each in workers:
                tasks.create_task(work(each))
            for number in range(40):
                customer = {"crm_id": str(number)}
                await take(services, *(contact(make, clock, hours / 10, customer=customer) for hours in range(3)))
                await take(services, complaint(make, clock, number / 400, customer=customer))
                clock.ahead += timedelta(minutes=8)
            done.set()
    clock.move(9)
    await look(services)
    names = [name for name, _ in await fired(database)]
    assert (names.count("three"), names.count("unanswered")) == (40, 40)
    assert len({tuple(events) for _, events in await fired(database)}) == 80
    assert REGISTRY.get_sample_value("percorso_watch_firings_total", {"watch": "three"}) == before + 40


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_mix_of_what_happens_nothing_was_missed_and_nothing_fired_twice(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(worker, "_TOGETHER", (5_000, 3, 0)[seed])
    monkeypatch.setattr(worker, "_FEW", (200, 0, 200)[seed])
    monkeypatch.setattr(worker, "_SLICE", (100, 2, 1)[seed])
    monkeypatch.setattr(worker, "_DUE", (500, 2, 1)[seed])
    monkeypatch.setattr(worker, "_NAMED", (2_000, 5, 1)[seed])
    # What happens, happens in the past: all of it is to fire.
    this = watcher(services, late=3_000)
    answered = {"match": {"direction": "outbound"}, "within": "2d", "same": "conversation"}
    matches = {"when": [{"match": {"direction": "inbound"}}], "then_absent": answered}
    await watch(services, "unanswered", matches)
    await watch(services, "three", THREE)
    chain = [{"match": {"channel": "web"}}, {"match": {"channel": ["phone", "chat"]}, "within": "10d"}]
    await watch(services, "chain", {"when": chain})
    await database.execute("UPDATE watches SET since = '2020-01-01'")
    happenings = Happenings(services, database, make, seed)
    for turn in range(14):
        await happenings.turn(turn)
        if happenings.dice.random() < 0.6:
            await look(services, this)
    await look(services, this)
    assert await count(database, "watch_firings") > 0
    assert await _missed(services, database) == []
    found = await database.fetch("SELECT watch_id, interaction_id FROM watch_evidence")
    assert len(found) == len(set(map(tuple, found)))
    rows = [(row["generation"], int(row["xid8"])) for row in await told(database)]
    async with reading(services.engine) as session:
        assert len(await queries.firings_of(session, rows)) == await count(database, "watch_firings")


async def _missed(services: Services, database: Database) -> list[Any]:
    """What is true of the customers as they are now, and rests on nothing that fired."""
    owners = [row[0] for row in await database.fetch("SELECT customer_id FROM identities GROUP BY 1")]
    missed: list[Any] = []
    async with reading(services.engine) as session:
        members = await refreshing.members(session, owners)
        watches = await queries.enabled(session)
        now = ids.unix_ms(await refreshing.clock(session))
        async for rows in queries.histories(session, members, ids.LOWEST, together=100_000):
            for customer, theirs in rows.items():
                history = sorted((seen(*row) for row in theirs), key=attrgetter("id"))
                used = await queries.used(session, members[customer], ids.LOWEST)
                for each in watches:
                    before = used.get((each.watch_id, each.version), set())
                    missed += finding.find(rule_of(each.rule), history, as_of=now, used=before).firings
    return missed


async def test_a_long_history_is_looked_at_as_far_as_the_latest_tell(
    services: Services, database: Database, make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_TOGETHER", 0)
    monkeypatch.setattr(queries, "MOST", 2)
    await watch(services, "call", {"when": [{"match": {"channel": "phone"}}]})
    await take(services, *(contact(make, clock, hours) for hours in (0, 1, 2)))
    clock.move(3)
    await look(services)
    assert await fired(database) == [("call", ["event-2"]), ("call", ["event-3"])]


async def test_with_nothing_to_watch_for_the_log_is_passed_by(
    database_url: str, database: Database, make: Make, clock: Clock
) -> None:
    # One connection must be enough to work with.
    async with processes(database_url, 1, pool_size=1, connect_timeout_seconds=2) as [services]:
        await _passed_by(services, database, make, clock)


async def _passed_by(services: Services, database: Database, make: Make, clock: Clock) -> None:
    await look(services)
    for _ in range(3):
        await take(services, contact(make, clock, 0))
    await look(services)
    at = await database.fetchrow("SELECT generation, xid8 FROM followers WHERE name = 'watches'")
    assert at == await database.fetchrow("SELECT generation, xid8 FROM commits ORDER BY 1 DESC, 2 DESC LIMIT 1")
    await watch(services, "call", {"when": [{"match": {"channel": "phone"}}]})
    clock.move(1)
    await look(services)
    assert await fired(database) == []


async def test_what_fired_is_forgotten_after_some_time(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "call", {"when": [{"match": {"channel": "phone"}}]})
    await take(services, contact(make, clock, 0), contact(make, clock, 0, customer=BERTA))
    clock.move(1)
    await look(services)
    await database.execute(
        "UPDATE watch_firings SET fired_at = now() - interval '101 days' WHERE identity_id = $1",
        services.identifiers.one("email", ANNA["email"]).id,
    )
    await look(services, watcher(services, kept=100))
    assert await fired(database) == [("call", ["event-2"])]
    assert await count(database, "watch_evidence") == 1


async def test_a_firing_of_which_the_watch_is_gone_is_still_told(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "call", {"when": [{"match": {"channel": "phone"}}]})
    await take(services, contact(make, clock, 0))
    clock.move(1)
    await look(services)
    async with writing(services.engine) as session:
        assert await store.delete(session, "call") is not None
        assert await store.delete(session, "call") is None
    [row] = await told(database)
    async with reading(services.engine) as session:
        [firing] = await queries.firings_of(session, [(row["generation"], int(row["xid8"]))])
    assert firing.name == "call"


async def test_how_far_behind_watches_are_is_told(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watch(services, "unanswered", UNANSWERED)
    await take(services, complaint(make, Clock()))
    await look(services)
    assert REGISTRY.get_sample_value("percorso_watch_age_seconds") == pytest.approx(0, abs=60)
    await database.execute("UPDATE watch_deadlines SET due_at = now() - interval '2 hours'")

    async def never(*_: Any) -> bool:
        return False

    monkeypatch.setattr(store, "hold", never)
    await watcher(services).run()
    assert REGISTRY.get_sample_value("percorso_watch_age_seconds") == pytest.approx(2 * 3600, abs=60)


async def test_what_fires_is_told_once_in_the_feed_also_where_a_neighbour_is_gone(
    services: Services, database: Database, make: Make, clock: Clock
) -> None:
    await watch(services, "unanswered", UNANSWERED)
    await watch(services, "complained", {"when": [{"match": {"complaint": True}}]})
    await take(services, *(complaint(make, clock, 1, customer=each, conversation=str(each)) for each in (ANNA, BERTA)))
    clock.move(10)
    await look(services)

    async def fed() -> list[tuple[int, Any]]:
        wanted = Wanted(events=(FIRED,))
        async with reading(services.engine) as session:
            first = await feed.page(session, None, wanted, limit=1)
            second = await feed.page(session, first.next, wanted, limit=10)
            third = await feed.page(session, second.next, wanted, limit=10)
        assert third.items == []
        return [(item.after.number, item.made.members["firing_id"]) for item in (*first.items, *second.items)]

    before = await fed()
    rows = await database.fetch("SELECT firing_id FROM watch_firings ORDER BY generation, xid8, number")
    assert [firing for _, firing in before] == [row["firing_id"] for row in rows]
    assert len(before) == len(set(before)) == len(await fired(database)) == 4
    await database.execute("DELETE FROM watch_firings WHERE firing_id = $1", before[1][1])
    assert await fed() == [before[0], *before[2:]]
