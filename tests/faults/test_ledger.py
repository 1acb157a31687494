"""The ledger finds what it is there to find: one thing at a time is put wrong in a database that is right."""

from pathlib import Path

import asyncpg

from faults.clusters import Cluster
from faults.ledger import Account, Ledger
from faults.loads import Load
from faults.servers import Service
from support import database_of

_CHOSEN = "CREATE TABLE chosen AS SELECT identity_id, id FROM interactions ORDER BY id LIMIT 1"
_WRONGS = {
    "lost": "DELETE FROM interactions WHERE (identity_id, id) IN (TABLE chosen)",
    "doubled": (
        "INSERT INTO interactions SELECT identity_id, overlay(id::text PLACING '00000000' FROM 29)::uuid, received_at, "
        "touchpoint_id, channel, kind, function, direction, 0, document "
        "FROM interactions WHERE (identity_id, id) IN (TABLE chosen)"
    ),
    "unsent": (
        """UPDATE interactions SET document = replace(document::text, '"faults"', '"others"')::json """
        "WHERE (identity_id, id) IN (TABLE chosen)"
    ),
    "altered": (
        """UPDATE interactions SET document = replace(document::text, '"language":"it"', '"language":"de"')::json """
        "WHERE (identity_id, id) IN (TABLE chosen)"
    ),
    "unpaired": "DELETE FROM interaction_keys WHERE (identity_id, interaction_id) IN (TABLE chosen)",
    "unlogged": "DELETE FROM commits WHERE xid8 IN (SELECT xid8 FROM commits ORDER BY at LIMIT 1)",
}


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_what_is_wrong_is_found(home: Path, cluster: Cluster) -> None:
    ledger = Ledger()
    async with Service(home, cluster.url) as service, Load([service.port], ledger) as load:
        await load.acknowledged_more(40)
        await load.settle()
    right = await ledger.reconcile(cluster.url)
    assert right == Account(ledger.sent, ledger.sent)
    for wrong, statement in _WRONGS.items():
        url = database_of(cluster.admin_url, wrong)
        await _execute(database_of(cluster.admin_url, "postgres"), f"CREATE DATABASE {wrong} TEMPLATE percorso")
        await _execute(url, _CHOSEN)
        await _execute(url, statement)
        found = await ledger.reconcile(url)
        assert getattr(found, wrong) > 0, wrong
        assert not found.good


async def test_what_is_said_to_be_stored_twice_is_doubled(home: Path, cluster: Cluster) -> None:
    ledger = Ledger()
    async with Service(home, cluster.url) as service, Load([service.port], ledger) as load:
        await load.acknowledged_more(40)
        await load.settle()
    ledger.acknowledge(0, "duplicate")
    assert (await ledger.reconcile(cluster.url)).good
    ledger.acknowledge(0, "stored")
    ledger.acknowledge(0, "stored")
    assert (await ledger.reconcile(cluster.url)).doubled > 0
