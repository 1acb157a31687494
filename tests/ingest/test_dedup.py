"""Once, for ever: `(source, id)` is stored exactly once, however often and from wherever it is sent."""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import asyncpg
import pytest

from percorso.http.services import Services
from percorso.ingest import enrich
from percorso.ingest.compare import same
from percorso.storage import interactions
from percorso.storage.database import WriteSession, writing
from support import Make
from writing import Database, count, processes, retries, sender_ids, statuses, stopped, take, until, waiting_for_a_lock

PROCESS = """
import asyncio, json, sys
from support import settings_for
from writing import processes, take

async def main(url):
    async with processes(url, 1) as [this]:
        print("ready", flush=True)
        items = json.loads(await asyncio.to_thread(sys.stdin.readline))
        verdicts = await asyncio.gather(*(take(this, item) for item in items))
        print(json.dumps([verdict.status for [verdict] in verdicts]), flush=True)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [2, 4])
async def test_the_same_id_from_several_processes_at_once_is_stored_once(
    database_url: str, database: Database, make: Make, number: int
) -> None:
    async with processes(database_url, number) as running:
        for _ in range(10):
            item = make()
            verdicts = [verdict for [verdict] in await asyncio.gather(*(take(each, item) for each in running))]
            assert sorted(verdict.status for verdict in verdicts) == ["duplicate"] * (number - 1) + ["stored"]
            assert len({verdict.interaction_id for verdict in verdicts}) == 1
            assert len({verdict.received_at for verdict in verdicts}) == 1
            assert len({verdict.customer_id for verdict in verdicts}) == 1
    assert await count(database, "interactions") == await count(database, "interaction_keys") == 10


async def test_overlapping_batches_from_four_processes_store_each_interaction_once(
    database_url: str, database: Database, make: Make
) -> None:
    before = retries()
    items = [make() for _ in range(200)]
    async with processes(database_url, 4) as running:
        orders = [items, items[::-1], items[100:] + items[:100], items[::2] + items[1::2]]
        answers = await asyncio.gather(
            *(
                statuses(each, *part)
                for each, order in zip(running, orders, strict=True)
                for part in (order[:120], order[120:])
            )
        )
    assert Counter(status for answer in answers for status in answer) == {"stored": 200, "duplicate": 600}
    assert retries() == before, "a deadlock, perhaps"
    assert await sender_ids(database) == sorted(item["id"] for item in items)


async def test_large_batches_in_opposite_orders_do_not_deadlock(
    database_url: str, database: Database, make: Make
) -> None:
    before = retries()
    items = [make() for _ in range(1500)]
    async with processes(database_url, 2) as [one, other]:
        async with stopped(database_url):
            tasks = [asyncio.create_task(statuses(one, *items)), asyncio.create_task(statuses(other, *items[::-1]))]
            await until(lambda: waiting_for_a_lock(database, 2))
        answers = await asyncio.gather(*tasks)
    assert Counter(status for answer in answers for status in answer) == {"stored": 1500, "duplicate": 1500}
    assert retries() == before


async def test_operating_system_processes_that_send_the_same_store_it_once(
    database_url: str, database: Database, make: Make
) -> None:
    items = [make() for _ in range(60)]
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, database_url,
            env={"PYTHONPATH": "tests"}, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in started:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    told = await asyncio.gather(*(process.communicate(json.dumps(items).encode() + b"\n") for process in started))
    answers = [json.loads(out.splitlines()[0]) for out, _ in told]
    assert [process.returncode for process in started] == [0, 0]
    assert all(sorted(pair) == ["duplicate", "stored"] for pair in zip(*answers, strict=True))
    assert await sender_ids(database) == sorted(item["id"] for item in items)


async def test_the_same_id_with_other_content_is_a_conflict_that_names_the_stored_one(
    services: Services, database: Database, make: Make
) -> None:
    item = make(text="one", topics=["a", "b"], attributes={"vip": True})
    others: list[dict[str, Any]] = [
        {"text": "other"},
        {"attributes": {"vip": 1}},
        {"attributes": {"vip": True, "more": 0}},
        {"occurred_at": "2026-03-02T00:00:00Z"},
        {"customer": {"email": "berta@example.com"}},
        {"topics": ["b", "a"]},
        {"channel": "video"},
    ]
    [first] = await take(services, item)
    for other in others:
        [second] = await take(services, item | other)
        assert (first.status, second.status) == ("stored", "conflict")
        assert second.interaction_id == first.interaction_id
        assert second.received_at == first.received_at
    assert await count(database, "interactions") == 1


async def test_what_says_the_same_in_other_words_is_a_duplicate(services: Services) -> None:
    [stored] = await services.pipeline.take(
        [
            (
                b'{"source":"test","id":"a","occurred_at":"2026-03-01T00:00:00Z","channel":"phone",'
                b'"customer":{"email":"anna@example.com"},"attributes":{"n":1,"deep":{"list":[1,2.5,true]}}}'
            )
        ]
    )
    for again in (
        (
            b'{"id":"a","customer":{"email":"anna@example.com"},"channel":"phone","source":"test",'
            b'"occurred_at":"2026-03-01T00:00:00Z","attributes":{"n":1,"deep":{"list":[1,2.5,true]}}}'
        ),
        (
            b'{ "source" : "test", "id": "a",\n "channel": "phone", "occurred_at": "2026-03-01T00:00:00Z", '
            b'"customer": {"email": "anna@example.com"}, "attributes": {"deep": {"list": [1.0, 2.50, true]}, "n": 1e0}}'
        ),
        (
            b'{"source":"test","id":"a","channel":"phone","occurred_at":"2026-03-01T00:00:00Z","text":null,"kind":null,'
            b'"customer":{"email":"anna@example.com"},"attributes":{"n":1,"gone":null,"deep":{"list":[1,2.5,true]}}}'
        ),
        (
            b'{"source":"t\\u0065st","id":"a","channel":"phone","customer":{"email":"anna@example.com"},'
            b'"attributes":{"n":1,"deep":{"list":[1,2.5,true]}}}'
        ),
    ):
        [repeated] = await services.pipeline.take([again])
        assert (stored.status, repeated.status) == ("stored", "duplicate")
        assert repeated.interaction_id == stored.interaction_id


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ({"a": None}, {}, True),
        ({"a": [None]}, {"a": []}, False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": None}}, True),
        ({}, [], False),
        ({}, None, False),
        ("1", 1, False),
        ([1, {"a": 0}], [1.0, {"a": -0.0}], True),
        (2**53 + 1, float(2**53), False),
    ],
)
def test_json_values_are_the_same_when_they_mean_the_same(one: Any, other: Any, expected: bool) -> None:  # noqa: FBT001
    assert same(one, other) is expected
    assert same(other, one) is expected


async def test_an_interaction_without_a_time_is_a_duplicate_when_it_is_sent_again_later(
    services: Services, database: Database
) -> None:
    item: dict[str, Any] = {"source": "test", "channel": "phone", "customer": {"email": "anna@example.com"}}
    for this in (item | {"id": "absent"}, item | {"id": "null", "occurred_at": None}):
        [first] = await take(services, this)
        [second] = await take(services, this)
        assert (first.status, second.status) == ("stored", "duplicate")
        assert second.interaction_id == first.interaction_id
        assert second.received_at == first.received_at
        assert await statuses(services, this | {"text": "but this is new"}) == ["conflict"]
    assert await database.fetchval("SELECT bool_and(document->>'occurred_at' <> '') FROM interactions")


async def test_an_interaction_without_an_id_is_given_one_that_stands_in_its_document(
    services: Services, database: Database
) -> None:
    item: dict[str, Any] = {"source": "test", "channel": "phone", "customer": {"email": "anna@example.com"}}
    items = [item, item, item | {"id": None}, item | {"id": None, "occurred_at": None}]
    assert await statuses(services, *items) == ["stored"] * 4
    texts = [record["text"] for record in await database.fetch("SELECT document::text AS text FROM interactions")]
    documents = [json.loads(text, object_pairs_hook=lambda members: members) for text in texts]
    for document in documents:
        names = [name for name, _ in document]
        assert len(names) == len(set(names))
    assert len({dict(document)["id"] for document in documents}) == 4
    # Sent again as it is stored, it is known.
    assert [v.status for v in await services.pipeline.take([text.encode() for text in texts])] == ["duplicate"] * 4


async def test_a_batch_that_holds_an_interaction_twice_stores_it_once(
    services: Services, database: Database, make: Make
) -> None:
    twice, conflicting = make(id="twice"), make(id="twice", text="other")
    verdicts = await take(services, make(id="x"), twice, make(id="y"), twice, conflicting, make(id="z"))
    assert [v.status for v in verdicts] == ["stored", "stored", "stored", "duplicate", "conflict", "stored"]
    assert verdicts[1].interaction_id == verdicts[3].interaction_id == verdicts[4].interaction_id
    assert await sender_ids(database) == ["twice", "x", "y", "z"]


async def test_a_thousand_copies_in_one_batch_are_stored_once(
    services: Services, database: Database, make: Make
) -> None:
    assert await statuses(services, *[make(id="a", occurred_at="2026-03-01T00:00:00Z")] * 1000) == [
        "stored",
        *["duplicate"] * 999,
    ]
    assert await count(database, "interactions") == 1


async def test_an_interaction_that_was_enriched_is_a_duplicate_when_its_original_comes_again(
    services: Services, make: Make
) -> None:
    item = make(text="first", attributes={"vip": 1})
    [stored] = await take(services, item)
    assert stored.interaction_id is not None
    for patch in (b'{"text": "second"}', b'{"status": "completed", "attributes": {"vip": 2}}'):
        async with writing(services.engine) as session:
            await enrich.enrich(session, stored.interaction_id, patch, by="test", generation=1, max_bytes=65536)
    assert await statuses(services, item) == ["duplicate"]
    assert await statuses(services, item | {"text": "second"}) == ["conflict"]


async def test_a_patch_that_only_turns_one_into_true_is_a_change(
    services: Services, database: Database, make: Make
) -> None:
    [stored] = await take(services, make(attributes={"vip": 1}))
    assert stored.interaction_id is not None
    for patch in (b'{"attributes": {"vip": 1.0}}', b'{"attributes": {"vip": true}}'):
        async with writing(services.engine) as session:
            await enrich.enrich(session, stored.interaction_id, patch, by="test", generation=1, max_bytes=65536)
    assert await database.fetchval("SELECT revision FROM interactions") == 1
    assert json.loads(await database.fetchval("SELECT document::text FROM interactions"))["attributes"] == {"vip": True}


async def test_an_interaction_that_was_deleted_does_not_come_back(
    services: Services, database: Database, make: Make
) -> None:
    item, other = make(), make()
    [stored], _ = await take(services, item), await take(services, other)
    assert stored.interaction_id is not None
    async with writing(services.engine) as session:
        await enrich.delete(session, stored.interaction_id, generation=1)
    [again] = await take(services, item)
    assert again.status == "duplicate"
    assert again.interaction_id == stored.interaction_id
    assert again.customer_id == stored.customer_id
    assert await sender_ids(database) == [other["id"]]


async def test_an_interaction_whose_partition_was_dropped_does_not_come_back(
    database_url: str, database: Database, make: Make
) -> None:
    item = make(occurred_at="2024-05-05T05:05:05Z")
    async with processes(database_url, 1) as [one]:
        assert await statuses(one, item) == ["stored"]
        await database.execute("DROP TABLE interactions_2024_05")
        assert await statuses(one, item) == ["duplicate"]
    async with processes(database_url, 1) as [another]:
        assert await statuses(another, item) == ["duplicate"]
    assert await count(database, "interactions") == 0


async def test_ids_of_different_sources_do_not_meet(services: Services, database: Database, make: Make) -> None:
    time = "2026-03-01T00:00:00Z"
    items = [make(source=source, id=sent, occurred_at=time) for source, sent in [("a", "bc"), ("ab", "c"), ("a", "c")]]
    assert await statuses(services, *items) == ["stored"] * 3
    assert await count(database, "interactions") == 3


async def test_a_key_whose_transaction_rolls_back_is_free_again(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    item = make()
    assert await statuses(services, item) == ["stored"]
    holder = await asyncpg.connect(database_url)
    keys = await holder.fetch("DELETE FROM interaction_keys RETURNING *")
    await holder.execute("DELETE FROM interactions")
    await holder.execute("BEGIN")
    async with asyncio.TaskGroup() as tasks:
        await holder.copy_records_to_table("interaction_keys", records=[tuple(key) for key in keys])
        taking = tasks.create_task(statuses(services, item))
        await until(lambda: waiting_for_a_lock(database))
        await holder.execute("ROLLBACK")
    await holder.close()
    assert taking.result() == ["stored"]


async def test_what_stands_under_many_keys_is_looked_up_where_it_is_and_nowhere_else(
    services: Services, database: Database, make: Make
) -> None:
    await statuses(services, *(make(occurred_at=f"2025-{n % 12 + 1:02}-15T00:00:{n // 12:02}Z") for n in range(300)))
    keys = [record["key"] for record in await database.fetch("SELECT key FROM interaction_keys")]
    async with database.transaction():
        found = await interactions.stored_under(WriteSession(database), keys)
        scanned = await database.fetch(
            "SELECT relname FROM pg_stat_xact_user_tables WHERE relname LIKE 'interactions_2%' AND seq_scan > 0"
        )
    assert len(found) == 300
    assert all(stored.document for stored in found.values())
    assert scanned == []
