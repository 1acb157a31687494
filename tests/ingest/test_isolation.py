"""A row that Postgres refuses never fails its neighbours, and both ways of storing come to the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count as count_from
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percorso.http.services import Services
from percorso.ingest import group
from percorso.ingest.known import Known
from percorso.ingest.pipeline import Pipeline
from percorso.ingest.verdict import Verdict
from percorso.ingest.writer import Writer
from percorso.storage import groups
from percorso.storage.database import WriteSession, connect
from percorso.storage.interactions import Row
from support import Make, database_of, settings_for
from writing import Database, count, occupied, processes, queued, sender_ids, statuses, take, until

CURSE = "ALTER TABLE interactions ADD CONSTRAINT refusing CHECK (document::text NOT LIKE '%cursed%')"


async def test_a_row_that_postgres_refuses_is_quarantined_and_its_neighbours_are_stored(
    services: Services, database: Database, make: Make
) -> None:
    await database.execute(CURSE)
    for place in (0, 3, 6):
        items = [make() for _ in range(7)]
        items[place] |= {"text": "cursed", "source": "bad"}
        verdicts = await take(services, *items)
        assert [v.status for v in verdicts] == ["rejected" if n == place else "stored" for n in range(7)]
        refused = verdicts[place]
        record = await database.fetchrow(
            "SELECT * FROM rejected_interactions WHERE rejection_id = $1", refused.rejection_id
        )
        assert record is not None
        assert (record["source"], record["sender_id"]) == ("bad", items[place]["id"])
        assert json.loads(record["payload"]) == items[place]
        [problem] = json.loads(record["errors"])
        assert "23514" in problem["detail"]
        assert "anna" not in record["errors"]
        assert "cursed" not in record["errors"]
        assert [each.detail for each in refused.problems] == [problem["detail"]]
    assert await count(database, "interactions") == 18
    assert await count(database, "interaction_keys") == 18


async def test_rows_refused_in_a_group_of_many_waiters_leave_each_its_own_verdicts_in_order(
    one_lane: Services, database_url: str, database: Database, make: Make
) -> None:
    await database.execute(CURSE)
    known = make()
    async with occupied(one_lane, database, database_url, known):
        waiters = [
            [make(), make(text="cursed"), {"broken": 1}, make(), known],
            [make(text="cursed")],
            [{"broken": 2}],
            [make(), make()],
            [known | {"text": "other"}, make(text="cursed"), make()],
        ]
        tasks = [asyncio.create_task(take(one_lane, *items)) for items in waiters]
        await until(lambda: queued() == 13)
    told = [[verdict.status for verdict in await task] for task in tasks]
    assert told == [
        ["stored", "rejected", "rejected", "stored", "duplicate"],
        ["rejected"],
        ["rejected"],
        ["stored", "stored"],
        ["conflict", "rejected", "stored"],
    ]
    assert await count(database, "interactions") == 6
    assert await count(database, "rejected_interactions") == 5
    ids = [verdict.rejection_id for task in tasks for verdict in task.result() if verdict.status == "rejected"]
    kept = await database.fetch("SELECT rejection_id FROM rejected_interactions")
    assert sorted(record["rejection_id"] for record in kept) == sorted(filter(None, ids))


async def test_a_whole_group_may_be_refused_however_long_it_takes_to_find_out(
    database_url: str, database: Database, make: Make
) -> None:
    await database.execute(CURSE)
    await database.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN new; "
        "END $$;"
        "CREATE TRIGGER slow BEFORE INSERT ON rejected_interactions FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    async with processes(database_url, 1, commit_timeout_seconds=1) as [this]:
        assert await statuses(this, *(make(text="cursed") for _ in range(45)), make()) == ["rejected"] * 45 + ["stored"]
    assert await count(database, "rejected_interactions") == 45


async def test_a_rejection_that_postgres_refuses_is_kept_bare_and_fails_nobody(
    services: Services, database: Database, make: Make
) -> None:
    await database.execute("ALTER TABLE rejected_interactions ADD CONSTRAINT refusing CHECK (source <> 'unspeakable')")
    items = [make(), {"source": "unspeakable"}, {"source": "fine"}, make()]
    assert await statuses(services, *items) == ["stored", "rejected", "rejected", "stored"]
    assert await statuses(services, {"source": "unspeakable"}) == ["rejected"]
    kept = await database.fetch("SELECT source, payload FROM rejected_interactions ORDER BY source")
    assert [record["source"] for record in kept] == ["fine", None, None]
    assert json.loads(kept[1]["payload"]) == {"source": "unspeakable"}


class _Keeper(Writer):
    """Gives the rows that would be written."""

    kept: tuple[Row, ...] = ()

    async def write(self, rows: Any, rejections: Any, *, wait: bool = False) -> list[Verdict]:
        assert not rejections
        assert not wait
        self.kept = tuple(rows)
        return [Verdict("stored")] * len(rows)


@pytest.fixture
async def other_urls(server_url: str, template: str) -> AsyncIterator[list[str]]:
    """Two more databases."""
    names = [f"{template}_{number}" for number in range(2)]
    connection = await asyncpg.connect(server_url)
    for name in names:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield [database_of(server_url, name) for name in names]
    for name in names:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


_ITEM = st.fixed_dictionaries(
    {
        "id": st.integers(0, 12).map(str),
        "text": st.sampled_from(["a", "b"]),
        "touchpoint": st.sampled_from(["desk", "door"]),
        "occurred_at": st.sampled_from(["2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "1990-01-01T00:00:00Z"]),
        "customer": st.dictionaries(
            st.sampled_from(["email", "crm_id", "cookie_id", "seat"]), st.sampled_from(["a@b.it", "c@d.it"]), min_size=1
        ),
        "outcome": st.sampled_from(["answered", "unsubscribed", "subscribed"]),
    }
)
_CONTENTS = (
    "SELECT * FROM interaction_keys ORDER BY 1",
    (
        "SELECT identity_id, id, received_at, slug, i.channel, document::text FROM interactions i "
        "JOIN touchpoints USING (touchpoint_id) ORDER BY 1, 2"
    ),
    "SELECT * FROM identities ORDER BY 1",
    "SELECT * FROM identity_links ORDER BY 1, 2",
    "SELECT * FROM consents ORDER BY 1, 2, 3",
    "SELECT what, hours, ids.* FROM commits, unnest(identity_ids, interaction_ids) AS ids ORDER BY 4",
)


_example = count_from(1)


@settings(max_examples=15)
@given(batches=st.lists(st.lists(_ITEM, max_size=8), min_size=1, max_size=4))
async def test_one_statement_copying_and_the_careful_way_store_the_same(
    services: Services, other_urls: list[str], database_url: str, batches: list[list[dict[str, Any]]]
) -> None:
    async def never() -> WriteSession:
        raise AssertionError

    keeper = _Keeper(never, services.settings, generation=1)
    pipeline = Pipeline(services.settings, services.deployment, services.identifiers, keeper)
    targets = []
    ways = ((200, 0), (0, 0), (0, 10**9))
    for url, (statement_rows, careful) in zip((database_url, *other_urls), ways, strict=True):
        session = WriteSession(await connect(url, settings_for(url), name="test"))
        await groups.define(session)
        known = Known(1000)
        known.careful = careful
        targets.append(group.Target(session, known, 1, 10, statement_rows))
    source = {"source": f"s{next(_example)}", "channel": "web"}
    try:
        for batch in batches:
            await pipeline.take([json.dumps(item | source).encode() for item in batch])
            one, *others = [await group.write(target, keeper.kept, (), again=False) for target in targets]
            assert others == [one, one]
        for contents in _CONTENTS:
            stored, *others_ = [[tuple(r) for r in await target.session.fetch(contents)] for target in targets]
            assert others_ == [stored, stored]
    finally:
        for target in targets:
            await target.session.close()


_NASTY = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([
        b'{"source":"a\\u0000","id":"\\ud800","channel":"phone"}',
        b'{"source":"\xff"}',
        b'{"source":"a","\\u0000":1,"\\udc00":2}',
        b'{"source":"a","channel":"phone","customer":{"email":"a@b.it"},"attributes":{"\\u0000":"\\u0000"}}',
        b'{"source":"a","channel":"phone","customer":{"\\ud800":"x"}}',
        b'{"source":"a","channel":"phone","customer":{"email":"\\ud83d"}}',
        b'{"source":"a","channel":"phone","customer":{"seat":"\\ud83d\\ude00"},"text":"\\ud83d\\ude00"}',
        b'{"source":"a","channel":"phone","customer":{"seat":"1"},"attributes":{"n":1e999}}',
        b'{"source":"a","channel":"phone","customer":{"seat":"1"},"attributes":{"n":' + b"9" * 400 + b"}}",
        b"[" * 5000,
        b"",
    ]),
)  # fmt: skip


@settings(max_examples=40)
@given(nasty=st.lists(_NASTY, min_size=1, max_size=4))
async def test_whatever_stands_beside_it_a_sound_interaction_is_stored(services: Services, nasty: list[bytes]) -> None:
    sound = b'{"source":"s","channel":"phone","customer":{"email":"a@b.it"}}'
    verdicts = await services.pipeline.take([sound, *nasty, sound])
    assert verdicts[0].status == verdicts[-1].status == "stored"
    assert {verdict.status for verdict in verdicts} <= {"stored", "rejected"}


async def test_what_was_refused_can_be_sent_once_it_is_mended(
    services: Services, database: Database, make: Make
) -> None:
    await database.execute(CURSE)
    item = make(text="cursed")
    assert await statuses(services, item) == ["rejected"]
    assert await statuses(services, item | {"text": "blessed"}) == ["stored"]
    assert await sender_ids(database) == [item["id"]]
