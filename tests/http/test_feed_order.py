"""No event is passed over or told twice, whoever commits at the same time and however the feed is read."""

import asyncio
import random

import asyncpg
import httpx
import pytest

from exchanges import Item, store
from feeding import page, read, told
from percorso.http.services import Services
from support import Make, running
from writing import Database, processes, take

PUT = (
    "INSERT INTO commits (generation, at, what, hours, identity_ids, interaction_ids) "
    "SELECT 1, now(), 'changed', '{}', identity_ids, interaction_ids FROM commits WHERE what = 'stored' LIMIT 1"
)


async def test_a_transaction_that_began_earlier_and_commits_later_is_not_passed_over(
    client: httpx.AsyncClient, make: Make, database_url: str
) -> None:
    await store(client, make(id="a"))
    end = (await page(client))["next_cursor"]
    early = await asyncpg.connect(database_url)
    transaction = early.transaction()
    await transaction.start()
    await early.execute("SELECT pg_current_xact_id()")
    await store(client, make(id="b"))
    held = await page(client, end)
    assert (held["items"], held["caught_up"]) == ([], True)
    await early.execute(PUT)
    await transaction.commit()
    await early.close()
    items = await read(client, held["next_cursor"])
    assert told(items) == [("interaction.changed", "a"), ("interaction.stored", "b")]
    assert await read(client, end) == items


async def test_one_that_is_rolled_back_holds_nothing_back_for_ever(
    client: httpx.AsyncClient, make: Make, database_url: str
) -> None:
    end = (await page(client, "now"))["next_cursor"]
    early = await asyncpg.connect(database_url)
    await early.execute("BEGIN")
    await early.execute("SELECT pg_current_xact_id()")
    await store(client, make(id="b"))
    assert await read(client, end) == []
    await early.execute("ROLLBACK")
    assert told(await read(client, end)) == [("interaction.stored", "b")]
    await early.close()


class Reader:
    """Reads the feed in pages of whatever size, from time to time."""

    def __init__(self, client: httpx.AsyncClient, seed: int, begin: str, *, most: int) -> None:
        self._client = client
        self._random = random.Random(seed)
        self._most = most
        self.cursor = begin
        self.items: list[Item] = []

    async def step(self) -> bool:
        """Read a page; whether there may be more."""
        found = await page(self._client, self.cursor, limit=self._random.randint(1, self._most))
        self.items += found["items"]
        self.cursor = (
            found["next_cursor"] if self._random.random() < 0.5 or not self.items else self.items[-1]["cursor"]
        )
        if not found["items"]:
            self.cursor = found["next_cursor"]
        return not found["caught_up"]

    async def read(self, writing: "asyncio.Task[None]") -> None:
        """Read for as long as others write, and then the rest."""
        while not writing.done():
            await self.step()
            await asyncio.sleep(self._random.random() * 0.01)
        while await self.step():
            pass
        while await self.step():
            pass


async def meddle(url: str, seed: int, stop: asyncio.Event) -> int:
    """Commit rows of the log in transactions that stay open for a while, of which some are given up; how many stay."""
    chance = random.Random(seed)
    connection = await asyncpg.connect(url)
    committed = 0
    try:
        while not stop.is_set():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SELECT pg_current_xact_id()")
            await asyncio.sleep(chance.random() * 0.05)
            await connection.execute(PUT)
            if chance.random() < 0.3:
                await transaction.rollback()
            else:
                await transaction.commit()
                committed += 1
    finally:
        await connection.close()
    return committed


@pytest.mark.parametrize("seed", range(3))
async def test_every_reader_sees_all_that_several_writers_commit_once_and_in_the_same_order(
    database_url: str, database: Database, make: Make, seed: int
) -> None:
    chance = random.Random(seed)
    async with running(database_url) as (_, client), processes(database_url, 2) as writers:
        await take(writers[0], make(id="first"))
        begin = (await page(client))["next_cursor"]
        stop = asyncio.Event()

        async def write(services: Services, name: str) -> list[str]:
            sent = []
            for number in range(15):
                items = [make(id=f"{name}-{number}-{n}") for n in range(chance.choice((1, 1, 2, 30)))]
                sent += [item["id"] for item in items]
                await take(services, *items, wait=True)
            return sent

        async def write_all() -> list[str]:
            lists = await asyncio.gather(
                *(write(each, f"{number}{lane}") for number, each in enumerate(writers) for lane in "ab")
            )
            return [each for sent in lists for each in sent]

        ids: list[str] = []

        async def work() -> None:
            meddling = [asyncio.create_task(meddle(database_url, seed + n, stop)) for n in range(2)]
            ids.extend(await write_all())
            stop.set()
            for each in meddling:
                ids.extend(["first"] * await each)

        writing = asyncio.create_task(work())
        readers = [Reader(client, seed * 10 + n, begin, most=most) for n, most in enumerate((1, 5, 50))]
        await asyncio.gather(*(each.read(writing) for each in readers), writing)
        whole = await read(client, begin)
        for each in readers:
            assert [item["id"] for item in each.items] == [item["id"] for item in whole]
            assert each.items == whole
        assert sorted(item["interaction"]["id"] for item in whole) == sorted(ids)
        assert await database.fetchval("SELECT count(*) FROM commits WHERE what = 'changed'") > 0
