"""Quarantine keeps what was refused as it was received, once."""

import json
from datetime import UTC, datetime

from percorso.errors import Problem
from percorso.formats.splitting import Oversized
from percorso.http.services import Services
from percorso.ids import occurred_ms, unix_ms
from percorso.ingest import quarantine
from percorso.storage import rejected
from percorso.storage.database import writing
from writing import Database, count

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PROBLEMS = (Problem("/a", "is wrong"),)


async def test_what_is_refused_is_kept_byte_for_byte(services: Services, database: Database) -> None:
    payloads = [b'{"source": "a",\t"id": "1"}', b"\xff\x00", b"", b'{"source": {"deep": [1]}, "id": 7}', "é".encode()]
    verdicts = await services.pipeline.take(payloads)
    for payload, verdict in zip(payloads, verdicts, strict=True):
        record = await database.fetchrow(
            "SELECT * FROM rejected_interactions WHERE rejection_id = $1", verdict.rejection_id
        )
        assert record is not None
        assert (record["payload"], record["size"]) == (payload, len(payload))
        assert json.loads(record["errors"]) == [problem.as_json() for problem in verdict.problems]
        assert abs(occurred_ms(record["rejection_id"].bytes) - unix_ms(record["received_at"])) == 0
    named = await database.fetch("SELECT source, sender_id FROM rejected_interactions WHERE source IS NOT NULL")
    assert [tuple(record) for record in named] == [("a", "1")]


async def test_of_what_is_too_large_the_head_is_kept(services: Services, database: Database) -> None:
    head = b'{"source": "a", "text": "' + b"x" * 70_000
    await services.pipeline.take([Oversized(head, 10**6)])
    record = await database.fetchrow("SELECT payload, size FROM rejected_interactions")
    assert record is not None
    assert (record["payload"], record["size"]) == (head[: services.settings.max_event_bytes], 10**6)


async def test_a_rejection_stored_twice_is_there_once(services: Services, database: Database) -> None:
    refused = quarantine.rejection(b"{}", PROBLEMS, received_at=NOW, keep=10)
    for _ in range(2):
        async with writing(services.engine) as session:
            await rejected.insert(session, [refused, refused])
    assert await count(database, "rejected_interactions") == 1


def test_a_seed_gives_the_same_id_and_none_gives_another() -> None:
    ids = [quarantine.rejection(b"{}", PROBLEMS, received_at=NOW, keep=10, seed=b"0123456789").id for _ in range(2)]
    assert ids[0] == ids[1]
    assert len({quarantine.rejection(b"{}", PROBLEMS, received_at=NOW, keep=10).id for _ in range(9)}) == 9


def test_a_sender_is_read_as_far_as_it_can_be_stored() -> None:
    def of(payload: bytes) -> tuple[str | None, str | None]:
        made = quarantine.rejection(payload, PROBLEMS, received_at=NOW, keep=10)
        return made.source, made.sender_id

    assert of(b'{"source": "a\\u0000b", "id": "' + b"i" * 999 + b'"}') == ("a�b", "i" * 256)
    assert of(b'{"source": 1, "id": null}') == (None, None)
    assert of(b'{"source": "\\ud800"}') == (None, None)
    assert of(b"[1]") == of(b"\xff") == of(b"[" * 10_000) == (None, None)
