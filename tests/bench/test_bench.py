import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from asyncpg import Connection, Record
from rich.console import Console
from typer.testing import CliRunner

from percorso.bench import preload, report
from percorso.bench.events import Events, dated, emails
from percorso.bench.limits import connected
from percorso.bench.load import Load, percentiles, run
from percorso.bench.place import made
from percorso.bench.responses import Answer, Answers
from percorso.bench.rows import ROWS
from percorso.bench.run import run as run_bench
from percorso.bench.sides import Figure, Options, Pair
from percorso.bench.verify import Ledger, verify
from percorso.cli import app
from percorso.errors import StartupError
from percorso.http.services import Services
from percorso.ingest.validate import parse
from percorso.storage.database import WriteSession, parse_url, url_of
from support import settings_for

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
DOUBLED = """
INSERT INTO interactions (identity_id, id, received_at, touchpoint_id, channel, direction, document)
SELECT gen_random_uuid(), id, received_at, touchpoint_id, channel, direction, document FROM interactions
WHERE document->>'id' = '000000000003'
"""


def test_every_row_runs_and_nothing_is_lost(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "HISTORY", 100)
    console = Console(width=200, record=True)
    where, measured, verified = run_bench(
        settings_for(server_url, log_level="warning"),
        [replace(row, cores=1) for row in ROWS.values()],
        Options(rounds=1, seconds=0.3, connections=8, lines=1_000, posts=200),
        scale=2_000,
        check=True,
        embedded=True,
        console=console,
    )
    assert verified is not None
    assert verified.good
    assert verified.acknowledged == verified.stored > 2_000
    assert [each.row.name for each in measured] == list(ROWS)
    assert all(len(each.rounds) == 1 and each.ratios[0] > 0 for each in measured)
    assert not {each.row.name: n for each in measured if (n := sum(pair.refused for pair in each.rounds))}
    report.render(console, where, measured, verified)
    shown = console.export_text()
    assert all(name in shown for name in ROWS)
    assert "lost 0, doubled 0" in shown
    told = json.loads(json.dumps(report.as_json(where, measured, verified)))
    assert [row["name"] for row in told["rows"]] == list(ROWS)
    assert told["verified"]["good"] is True


async def test_what_takes_long_with_millions_of_rows_is_not_cut_short(database_url: str) -> None:
    async with connected(settings_for(database_url, commit_timeout_seconds=1)) as (session, _):
        assert await session.fetchval("SELECT pg_sleep(1.5) IS NOT NULL")


async def test_its_database_is_gone_afterwards_whatever_happens(
    server_url: str, database: "Connection[Record]"
) -> None:
    def fail() -> None:
        with made(settings_for(server_url)):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await asyncio.to_thread(fail)
    assert not await database.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'percorso\\_bench\\_%'")


async def test_to_drop_it_may_take_long(server_url: str, database: "Connection[Record]") -> None:
    async def hold(made_: str, held: asyncio.Event, leave: asyncio.Event) -> None:
        async with database.transaction():
            await database.execute(f"COMMENT ON DATABASE {made_} IS 'held'")
            held.set()
            await leave.wait()
            await asyncio.sleep(1.5)

    held, leave = asyncio.Event(), asyncio.Event()
    place = made(settings_for(server_url, commit_timeout_seconds=1))
    here = await asyncio.to_thread(place.__enter__)
    name = parse_url(url_of(here.settings)).database
    assert name is not None
    holding = asyncio.create_task(hold(name, held, leave))
    await held.wait()
    leave.set()
    await asyncio.to_thread(place.__exit__, None, None, None)
    await holding
    assert not await database.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("SELECT 1", {}),
        ("DELETE FROM interactions WHERE document->>'id' = '000000000003'", {"lost": 1, "unpaired": 1}),
        ("DELETE FROM interaction_keys", {"unpaired": 10}),
        (DOUBLED, {"doubled": 1, "unpaired": 1}),
        ('UPDATE interactions SET document = \'{"source": "other", "id": "7"}\'', {"lost": 8, "unsent": 10}),
    ],
)
async def test_what_is_lost_doubled_or_never_sent_is_found(
    services: Services, database: "Connection[Record]", damage: str, found: dict[str, int]
) -> None:
    events = Events("here", NOW)
    await services.pipeline.take([events.one(number) for number in range(10)])
    ledger = Ledger()
    ledger.note("here", 0, 10, [(4, 5), (8, 9)])
    await database.execute(damage)
    verified = await verify(WriteSession(database), ledger)
    assert verified.acknowledged == 8
    counted = {name: getattr(verified, name) for name in ("lost", "doubled", "unsent", "unpaired")}
    assert counted == dict.fromkeys(counted, 0) | found
    assert verified.good is not bool(found)


def test_what_was_acknowledged_once_stays_so_when_a_repetition_is_not() -> None:
    ledger = Ledger()
    ledger.note("here", 0, 10)
    ledger.note("here", 0, 10, [(0, 10)])
    assert ledger.following("here") == 10
    assert ledger.verified(unpaired=0).lost == 10


ANSWERS = (
    b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
    b"HTTP/1.1 204 No Content\r\n\r\n"
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 61, 1000])
def test_answers_are_read_from_pieces_of_any_size(size: int) -> None:
    answers = Answers()
    read = [answer for at in range(0, len(ANSWERS), size) for answer in answers.feed(ANSWERS[at : at + size])]
    assert read == [Answer(201, b"hello"), Answer(200, b"abc0123456789"), Answer(204, b""), Answer(503, b"")]


def test_what_is_no_http_is_not_taken_for_it() -> None:
    with pytest.raises(ValueError, match="no HTTP"):
        Answers().feed(b"SSH-2.0-server\r\n\r\n")


async def serving(answers: Sequence[bytes]) -> asyncio.Server:
    """A server that reads a request a connection for each of these answers, and then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0))
            writer.write(answer)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def answer(status: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_what_is_refused_or_never_answered_is_not_acknowledged() -> None:
    async with await serving([answer("201 Created"), answer("503 Service Unavailable")]) as server:
        port = server.sockets[0].getsockname()[1]
        loaded = await run(Load("single", port, "key", connections=1, source="here", now=NOW.isoformat(), count=5))
    assert loaded.statuses == {"201": 1, "503": 1}
    assert (loaded.acknowledged, loaded.lost_connections) == (1, 1)
    assert (loaded.first, loaded.following, loaded.missing) == (0, 3, [(1, 2), (2, 3)])


async def test_of_a_batch_what_its_answer_names_as_not_stored_is_not_acknowledged() -> None:
    results = [{"index": 1, "status": "rejected"}, {"index": 2, "status": "duplicate"}]
    counts = {"received": 3, "stored": 1, "duplicate": 1, "rejected": 1}
    async with await serving([answer("200 OK", json.dumps(counts | {"results": results}).encode())]) as server:
        port = server.sockets[0].getsockname()[1]
        loaded = await run(
            Load("batch", port, "key", connections=1, source="here", now=NOW.isoformat(), first=10, count=3)
        )
    assert loaded.acknowledged == 2
    assert loaded.missing == [(11, 12)]


def test_events_are_valid_and_the_same_number_is_the_same_event() -> None:
    events, same = Events("here", NOW), Events("here", NOW)
    made_events = [events.one(number) for number in range(200)]
    assert made_events == [same.one(number) for number in range(200)]
    assert 700 < sum(map(len, made_events)) / len(made_events) < 900
    sent = [*made_events, dated("here", 5, NOW, emails(["a@example.com", "b@example.com"]))]
    parsed = [parse(event, now=NOW, max_future=timedelta(0), max_bytes=10_000) for event in sent]
    assert len({event["id"] for event in parsed[:200]}) == 200
    assert json.loads(events.array(3, 2)) == [json.loads(line) for line in events.lines(3, 2).splitlines()]


def test_percentiles_are_taken_by_nearest_rank() -> None:
    seconds = [number / 1000 for number in range(100, 0, -1)]
    assert percentiles(seconds) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles([]) == {}


def test_what_is_out_of_reach_is_told() -> None:
    def measured(name: str, ours: float, **given: float) -> report.Measured:
        pair = Pair(Figure(ours, {"p50": ours, "p99": ours}), Figure(10, {"p50": 10}), 1, 0.1, None, 0, **given)
        return report.Measured(ROWS[name], [pair, pair])

    assert measured("batch", 6).reached
    assert not measured("batch", 4).reached
    assert measured("journey", 14).reached
    assert not measured("journey", 16).reached
    assert not measured("ndjson", 6, peak_mib=301).reached
    assert measured("memory", 1, growth=1.05).reached
    assert not measured("memory", 1, growth=1.2).reached
    assert measured("tail", 1).ratios == [1, 1]


def test_an_unknown_row_is_refused() -> None:
    done = CliRunner().invoke(app, ["bench", "--only", "everything"])
    assert isinstance(done.exception, StartupError)
    assert "choose from single" in done.exception.detail
