"""Schemas in force: every process learns of a change in time, asks rarely, and survives what it cannot read."""

import asyncio
import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import pytest

from percorso.details import MOMENTS
from percorso.errors import RejectedInteraction, Unavailable
from percorso.http.services import Services
from percorso.ingest.event_schemas import EventSchemas
from percorso.interaction import CHANNELS, INTERACTION
from percorso.storage import event_schemas as store
from percorso.storage.database import writing
from percorso.storage.event_schemas import InForce, Mode, Version
from support import Make
from writing import Database, processes, statuses

NEEDED = {"platform": "p", "network": "n", "location_id": "l", "site": "s", "order_id": "o"}
AGENT = {"required": ["agent"]}


async def put(services: Services, schema: dict[str, Any], *, kind: str = "*", mode: Mode = "enforce") -> None:
    async with writing(services.engine) as session:
        await store.put(session, "phone", kind, schema, mode=mode, by="t")


def is_due(schemas: EventSchemas) -> bool:
    """Asked anew each time."""
    return schemas.due


class Kept:
    """What is in force, and how often it was asked for."""

    def __init__(self) -> None:
        self.in_force: list[InForce] = []
        self.asked: list[Collection[Version]] = []
        self.away = False

    async def load(self, known: Collection[Version]) -> Sequence[InForce]:
        self.asked.append(list(known))
        await asyncio.sleep(0)
        if self.away:
            raise OSError
        return [each._replace(text=None) if each.version in known else each for each in self.in_force]


def version(number: int, schema: dict[str, Any], *, mode: Mode = "enforce") -> InForce:
    return InForce(Version("phone", "*", number), mode, json.dumps(schema))


async def test_another_process_checks_by_a_new_schema_once_what_it_knows_is_too_old(
    database_url: str, make: Make
) -> None:
    async with processes(database_url, 2, schema_cache_seconds=1) as [one, other]:
        assert await statuses(one, make()) == await statuses(other, make()) == ["stored"]
        await put(one, AGENT)
        await one.schemas.forget()
        assert await statuses(one, make()) == ["rejected"]
        await asyncio.sleep(1)
        assert await statuses(other, make(), make(agent="a"), make(channel="fax")) == ["rejected", "stored", "stored"]


async def test_what_is_in_force_is_asked_for_once_for_all_and_its_text_once() -> None:
    kept = Kept()
    kept.in_force = [version(1, AGENT)]
    schemas = EventSchemas(kept.load, 60)
    assert is_due(schemas)
    await asyncio.gather(*(schemas.refresh() for _ in range(10)))
    assert kept.asked == [[]]
    assert not is_due(schemas)
    held = schemas.of("phone", "call")
    await schemas.forget()
    assert kept.asked[1:] == [[Version("phone", "*", 1)]]
    now = schemas.of("phone", None)
    assert held is not None
    assert now is not None
    assert now.schema is held.schema
    kept.in_force = []
    await schemas.forget()
    assert schemas.of("phone", "call") is None
    assert schemas.of("fax", None) is None


async def test_what_is_nearly_too_old_is_asked_for_while_it_is_still_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("percorso.ingest.event_schemas.monotonic", lambda: now)
    kept = Kept()
    schemas = EventSchemas(kept.load, 4)
    await schemas.refresh()
    now += 2.5
    assert schemas.due
    kept.away = True
    await schemas.refresh()
    now += 2.5
    with pytest.raises(Unavailable):
        await schemas.refresh()
    kept.away = False
    await schemas.refresh()
    assert not schemas.due


async def test_a_process_without_schemas_never_asks() -> None:
    schemas = EventSchemas()
    assert not schemas.due
    assert schemas.of("phone", "call") is None


async def test_a_schema_that_this_release_cannot_read_does_not_stop_ingest(
    services: Services, database: Database, make: Make
) -> None:
    await put(services, AGENT, kind="call")
    await put(services, AGENT)
    await database.execute("UPDATE event_schema_versions SET schema = '{\"type\": \"text\"}' WHERE kind = '*'")
    assert await statuses(services, make(), make(kind="call")) == ["stored", "rejected"]


async def test_counts_that_could_not_be_written_are_kept(services: Services, database: Database, make: Make) -> None:
    await put(services, AGENT, mode="report")
    await statuses(services, make(), make(agent="a"))
    await database.execute("ALTER TABLE event_schema_faults RENAME TO elsewhere")
    await services.schema_counts.write()
    await statuses(services, make())
    await database.execute("ALTER TABLE elsewhere RENAME TO event_schema_faults")
    await services.schema_counts.write()
    await services.schema_counts.write()
    row = await database.fetchrow("SELECT checked, reported, refused FROM event_schema_tallies")
    assert row is not None
    assert tuple(row) == (3, 2, 0)
    rows = await database.fetch("SELECT place, detail, interactions FROM event_schema_faults")
    assert [tuple(row) for row in rows] == [("/required/0", "is required", 2)]


async def test_null_is_null_and_what_percorso_adds_is_not_there_yet() -> None:
    kept = Kept()
    schema = {"required": ["id"], "properties": {"agent": {"type": "string"}}}
    kept.in_force = [version(1, schema)]
    schemas = EventSchemas(kept.load, 60)
    await schemas.refresh()
    checked = schemas.of("phone", None)
    assert checked is not None
    checked.check(b'{"id": "1", "channel": "phone"}', {"id": "1", "channel": "phone"})
    for raw, pointer in ((b'{"id": "1", "agent": null}', "/agent"), (b'{"agent": "a"}', "/id")):
        with pytest.raises(RejectedInteraction) as refused:
            checked.check(raw, json.loads(raw))
        assert [problem.pointer for problem in refused.value.problems] == [pointer]


async def test_an_interaction_that_was_stored_before_is_checked_when_it_is_sent_again(
    services: Services, make: Make
) -> None:
    sent = make()
    assert await statuses(services, sent) == ["stored"]
    await put(services, AGENT)
    await services.schemas.forget()
    assert await statuses(services, sent) == ["rejected"]
    await put(services, AGENT, mode="report")
    await services.schemas.forget()
    assert await statuses(services, sent) == ["duplicate"]


async def test_what_fits_is_counted_too(services: Services, database: Database, make: Make) -> None:
    await put(services, AGENT)
    await statuses(services, make(agent="a"))
    await services.schema_counts.write()
    assert await database.fetchval("SELECT checked - reported - refused FROM event_schema_tallies") == 1
    assert await database.fetchval("SELECT count(*) FROM event_schema_faults") == 0


async def test_what_a_schema_says_of_moments_is_said_of_their_text(services: Services, make: Make) -> None:
    for moments in (
        {"properties": {"occurred_at": {"maxLength": 3}}},
        {"properties": {"occurred_at": {"not": {"type": "string"}}}},
        {"properties": {"occurred_at": {"pattern": "Z$"}}},
        {"patternProperties": {"_at$": {"maxLength": 3}}},
        {"additionalProperties": {"maxLength": 24}},
        {"unevaluatedProperties": {"maxLength": 24}},
        {"allOf": [{"properties": {"details": True}, "additionalProperties": {"maxLength": 24}}]},
    ):
        await put(services, moments)
        await services.schemas.forget()
        assert await statuses(services, make(), make(occurred_at="2026-03-01T00:00:00+00:00")) == ["rejected"] * 2
    await put(services, {"properties": {"occurred_at": {"pattern": "^2026.*00$"}}})
    await services.schemas.forget()
    assert await statuses(services, make()) == ["stored"]


def test_every_member_that_is_validated_to_a_moment_is_known() -> None:
    found = set()
    for channel in CHANNELS:
        details = {"invited_at": "2026-03-01T00:00:00Z", **NEEDED}
        sent = {"source": "t", "channel": channel, "customer": {"a": "b"}, "details": details}
        sent |= dict.fromkeys(("occurred_at", "ended_at"), "2026-03-01T00:00:00Z")
        validated = INTERACTION.validator.validate_json(json.dumps(sent))
        for members in (validated, validated["details"]):
            found |= {name for name, value in members.items() if isinstance(value, datetime)}
    assert found == set(MOMENTS)
