"""A process that is killed in the middle of a replay leaves nothing that is stored twice, or lost."""

import asyncio
import contextlib
from pathlib import Path

import httpx

from exchanges import NDJSON, serving_at
from support import Make, ndjson
from writing import Database, count

ITEMS = 400
REPLAY = {"filter": {}, "patch": {"legacy": None}, "limit": ITEMS}


async def test_a_process_killed_while_it_replays_stores_each_item_once(
    database_url: str, tmp_path: Path, make: Make, database: Database
) -> None:
    items = [make(legacy=1, id=None if number % 2 else f"own-{number}") for number in range(ITEMS)]
    for number, after in enumerate((0.02, 0.1, 0.25)):
        with serving_at(database_url, tmp_path) as served:
            async with served.client() as client:
                if not number:
                    sent = await client.post("/v1/interactions/batch", content=ndjson(*items), headers=NDJSON)
                    assert sent.json()["rejected"] == ITEMS
                cut = asyncio.create_task(client.post("/v1/rejected/replay", json=REPLAY))
                await asyncio.sleep(after)
                served.process.kill()
                with contextlib.suppress(httpx.HTTPError):
                    await cut
    with serving_at(database_url, tmp_path) as served:
        async with served.client() as client:
            receipt = (await client.post("/v1/rejected/replay", json=REPLAY)).json()
            assert receipt["stored"] + receipt["duplicate"] == len(receipt["results"])
    assert await count(database, "interactions") == ITEMS
    states = await database.fetch(
        "SELECT state, count(*), count(DISTINCT r.interaction_id) FROM rejected_interactions r "
        "JOIN interactions i ON i.id = r.interaction_id GROUP BY state"
    )
    assert [tuple(row) for row in states] == [("replayed", ITEMS, ITEMS)]
