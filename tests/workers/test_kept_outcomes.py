"""Outcomes: what came of each contact is kept equal to what is stored, and what changes is named in the commit log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg.pgproto.pgproto import UUID

from following import all_outcomes, check_outcomes, follow, keeper
from happenings import Happenings
from percorso import ids
from percorso.http.services import Services
from percorso.ingest import say
from percorso.queries import followers, outcomes
from percorso.queries.profiles import FOLLOWER
from percorso.storage import commits, partitions
from percorso.storage import outcomes as storage
from percorso.storage.database import reading, writing
from percorso.storage.outcomes import Outcome
from percorso.storage.traits import Trait
from percorso.workers import profiles as worker
from retaining import retain
from support import Make
from writing import Database, count, take

ANNA, BERTA = ({"email": f"{name}@example.com"} for name in ("anna", "berta"))
OUTCOME_ROWS = "commits WHERE what = 'outcome'"


def asking(make: Make, at: str, **said: Any) -> dict[str, Any]:
    """A mail of the customer in a conversation, to be answered."""
    return make(occurred_at=at, channel="email", direction="inbound", **({"conversation": "a"} | said))


def answer(make: Make, at: str, **said: Any) -> dict[str, Any]:
    """A mail to the customer in the same."""
    return asking(make, at, **said) | {"direction": "outbound"}


async def ids_of(services: Services, *items: dict[str, Any]) -> list[UUID]:
    """Store these; their ids."""
    verdicts = await take(services, *items)
    return [verdict.interaction_id for verdict in verdicts if verdict.interaction_id is not None]


async def named(database: Database) -> list[set[UUID]]:
    """The interactions that each row of the commit log names whose outcomes changed, the oldest first."""
    rows = await database.fetch(f"SELECT interaction_ids FROM {OUTCOME_ROWS} ORDER BY generation, xid8, at")  # noqa: S608 - a constant
    return [set(row["interaction_ids"]) for row in rows]


async def test_an_answer_that_comes_later_changes_the_outcome_of_what_it_answers_and_names_its_hour(
    services: Services, database: Database, make: Make
) -> None:
    [asked] = await ids_of(services, asking(make, "2026-03-01T10:20:00Z"))
    await follow(services)
    [waits] = await all_outcomes(services)
    assert (waits.interaction_id, waits.waiting, waits.response_seconds) == (asked, True, None)
    await take(services, answer(make, "2026-03-01T12:20:00Z"))
    await follow(services)
    [answered] = await all_outcomes(services)
    assert answered == waits._replace(waiting=False, response_seconds=7200.0)
    rows = await database.fetch(f"SELECT * FROM {OUTCOME_ROWS}")  # noqa: S608 - a constant
    assert [row["hours"] for row in rows] == [[datetime(2026, 3, 1, 10, tzinfo=UTC)]] * 2
    assert [row["identity_ids"] for row in rows] == [[waits.identity_id]] * 2
    assert [row["interaction_ids"] for row in rows] == [[asked]] * 2


async def test_what_comes_late_changes_only_those_outcomes_that_it_bears_on(
    services: Services, database: Database, make: Make
) -> None:
    first, second, _ = await ids_of(
        services,
        asking(make, "2026-03-01T10:00:00Z"),
        asking(make, "2026-03-04T10:00:00Z", conversation="b", topics=["x"]),
        asking(make, "2026-03-03T10:00:00Z", conversation="c", customer=BERTA),
    )
    await follow(services)
    [late] = await ids_of(services, asking(make, "2026-02-28T10:00:00Z", conversation="d", topics=["x"]))
    await follow(services)
    assert (await named(database))[-1] == {late, second}
    await take(services, answer(make, "2026-03-02T10:00:00Z"))
    await follow(services)
    assert (await named(database))[-1] == {first}
    assert await check_outcomes(services, database) == 4


async def test_where_no_outcome_changed_nothing_is_written_and_the_worker_comes_to_rest(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, asking(make, "2026-03-01T10:00:00Z"))
    await follow(services)
    before = await database.fetch("SELECT xmin, * FROM contact_outcomes")
    [verdict] = await take(services, make(channel="web"))
    assert verdict.customer_id is not None
    now = datetime.now(UTC)
    async with writing(services.engine) as session:
        said = [Trait(verdict.customer_id, "city", '"Roma"', now, "test", now, "test")]
        await say.traits(session, verdict.customer_id, said, at=now, generation=1)
    await follow(services)
    assert await database.fetch("SELECT xmin, * FROM contact_outcomes") == before
    assert await count(database, OUTCOME_ROWS) == 1
    assert not await keeper(services).run()
    async with reading(services.engine) as session:
        follower = await followers.by_name(session, FOLLOWER)
        assert follower is not None
        assert await followers.next_commits(session, follower, limit=9) == []


async def test_rows_of_outcomes_are_passed_over_and_keep_nobody_waiting(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await follow(services)
    await take(services, *(asking(make, f"2026-03-0{day}T10:00:00Z", conversation=str(day)) for day in range(1, 9)))
    this = keeper(services)
    while not await count(database, OUTCOME_ROWS):
        await this.run()
    made: list[object] = []
    refresh = worker.Profiles._refresh  # noqa: SLF001 - what it is asked to make

    async def noting(this: worker.Profiles, customer_ids: set[UUID]) -> None:
        made.extend(customer_ids)
        await refresh(this, customer_ids)

    monkeypatch.setattr(worker.Profiles, "_refresh", noting)
    async with reading(services.engine) as session:
        follower = await followers.by_name(session, FOLLOWER)
        assert follower is not None
        [row] = await followers.next_commits(session, follower, limit=9)
        assert len(row.interaction_ids) == 8
        [passed] = await followers.next_commits(session, follower, limit=9, but_for=("outcome",))
        assert (passed.xid8, passed.identity_ids, passed.interaction_ids) == (row.xid8, [], [])
    await follow(services)
    assert made == []
    async with reading(services.engine) as session:
        assert await followers.next_commits(session, passed_to(follower, row.xid8), limit=9) == []
        assert (await followers.by_name(session, FOLLOWER)) == passed_to(follower, row.xid8)


def passed_to(follower: followers.Follower, xid8: int) -> followers.Follower:
    """The follower, once it has come so far."""
    return follower._replace(xid8=xid8)


async def test_a_range_of_ids_is_an_hour(services: Services, make: Make) -> None:
    at = ["2026-03-01T09:59:59.999Z", "2026-03-01T10:00:00Z", "2026-03-01T10:59:59.999Z", "2026-03-01T11:00:00Z"]
    stored = await ids_of(services, *(asking(make, each, conversation=each) for each in at))
    await follow(services)
    low, high = (ids.first_id_at(datetime(2026, 3, 1, hour, tzinfo=UTC)) for hour in (10, 11))
    async with reading(services.engine) as session:
        found = await outcomes.between(session, low, high)
    assert [each.interaction_id for each in found] == stored[1:3]


async def test_a_range_and_an_identity_are_each_looked_up_in_an_index(database: Database) -> None:
    await database.execute(
        "INSERT INTO contact_outcomes SELECT md5(n::text)::uuid, md5((n % 5000)::text)::uuid, 1, true, null, false, 0, "
        "false FROM generate_series(1, 20000) AS n"
    )
    await database.execute("VACUUM ANALYZE contact_outcomes")
    for condition, index in (
        ("interaction_id >= '50000000-0000-0000-0000-000000000000' AND interaction_id < $1", "contact_outcomes_pkey"),
        ("identity_id = ANY(ARRAY[$1])", "contact_outcomes_identity_id_interaction_id_idx"),
    ):
        given = condition.replace("$1", "'50100000-0000-0000-0000-000000000000'::uuid")
        plan = await database.fetch(f"EXPLAIN SELECT * FROM contact_outcomes WHERE {given}")  # noqa: S608 - constants
        assert index in str(plan), plan


async def test_outcomes_of_a_moved_identity_are_left_to_whom_it_belongs_to_now(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, asking(make, "2026-03-01T10:00:00Z"), asking(make, "2026-03-02T10:00:00Z", customer=BERTA))
    await follow(services)
    before = await all_outcomes(services)
    anna, berta = (services.identifiers.one(*pair).id for each in (ANNA, BERTA) for pair in each.items())
    async with writing(services.engine) as session:
        await storage.put(session, 1, [], {anna: berta, berta: anna})
    assert await all_outcomes(services) == before
    async with writing(services.engine) as session:
        await storage.put(session, 1, [], {anna: anna, berta: anna})
    assert [each.identity_id for each in await all_outcomes(services)] == [berta]
    assert (await named(database))[-1] == {each.interaction_id for each in before if each.identity_id == anna}


async def test_outcomes_give_way_only_to_those_computed_later(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, asking(make, "2026-03-01T10:00:00Z"))
    await follow(services)
    await database.execute("UPDATE customer_profiles SET computed_at = now() + interval '1 hour'")
    await take(services, answer(make, "2026-03-02T10:00:00Z"))
    await follow(services)
    assert [each.waiting for each in await all_outcomes(services)] == [True]
    await database.execute("UPDATE customer_profiles SET computed_at = now() - interval '25 hours'")
    await follow(services)
    assert await check_outcomes(services, database) == 1
    assert [each.waiting for each in await all_outcomes(services)] == [False]


async def test_outcomes_of_identities_that_are_gone_go_and_are_named(
    services: Services, database: Database, make: Make
) -> None:
    stored = await ids_of(services, asking(make, "2026-03-01T10:00:00Z"), asking(make, "2026-03-02T10:00:00Z"))
    await follow(services)
    # As an erasure begins.
    async with writing(services.engine) as session:
        await session.execute("DELETE FROM interactions")
        await session.execute("DELETE FROM identities")
        now = datetime.now(UTC)
        await partitions.ensure_days(session, (now,))
        anna = services.identifiers.one("email", ANNA["email"]).id
        await commits.record(session, 1, "identity", at=now, identity_ids=[anna])
    await follow(services)
    assert await all_outcomes(services) == []
    assert (await named(database))[-1] == {stored[0]}


class Mirror:
    """A follower of the commit log that recomputes the hours that are named, as rollups do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._at = 0
        self._outcomes: dict[datetime, list[Outcome]] = {}

    async def follow(self, services: Services) -> list[Outcome]:
        """Take what was committed since; every outcome it knows then."""
        rows = await self._database.fetch(
            "SELECT xid8::text::bigint AS xid8, hours FROM commits WHERE xid8 > $1::bigint::text::xid8 ORDER BY xid8",
            self._at,
        )
        async with reading(services.engine) as session:
            for row in rows:
                self._at = row["xid8"]
                for hour in row["hours"]:
                    low, high = (ids.first_id_at(each) for each in (hour, hour + timedelta(hours=1)))
                    self._outcomes[hour] = await outcomes.between(session, low, high)
        return [each for _, found in sorted(self._outcomes.items()) for each in found]


@pytest.mark.parametrize("seed", range(4))
async def test_outcomes_are_those_of_what_is_stored_after_any_mix_of_what_happens_and_every_change_is_named(
    services: Services,
    database_url: str,
    database: Database,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    # Long histories are read in another way.
    monkeypatch.setattr(worker, "_TOGETHER", (5_000, 0)[seed % 2])
    monkeypatch.setattr(worker, "_SLICE", (100, 2)[seed % 2])
    happenings, mirror, checked = Happenings(services, database, make, seed), Mirror(database), 0
    for turn in range(16):
        await happenings.turn(turn)
        if turn == 9:
            await retain(database_url, retention_days=60, retention_channel_days={"email": 50})
        if happenings.dice.random() < 0.7:
            await follow(services)
            checked += await check_outcomes(services, database)
            known = await mirror.follow(services)
            # Of what was erased the outcomes may have stood when its hours were named for the last time.
            there = {row["id"] for row in await database.fetch("SELECT id FROM interactions")}
            assert [each for each in known if each.interaction_id in there] == await all_outcomes(services)
    assert checked > 20
