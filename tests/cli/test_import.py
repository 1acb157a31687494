"""`percorso import`, on excerpts of two public data sets: purchases at CDNOW, and clicks in a web shop."""

import asyncio
import gzip
import json
import os
import signal
import socket
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest
import uvicorn
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from percorso.app import create_app
from percorso.cli import app, destinations
from percorso.errors import PercorsoError, StartupError
from support import FIXTURES, KEY, Make, ndjson, settings_for

CDNOW = FIXTURES / "cdnow_excerpt.txt"
WEB_SHOP = FIXTURES / "web_shop_excerpt.csv"
HEADER = " customer_id  date number_of_cds  dollar_value\r\n"

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Run = Callable[..., Result]
Ask = Callable[[str], Any]


@pytest.fixture
def percorso(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on this test's database."""
    monkeypatch.setattr("percorso.ops.logs.configure", lambda *_: None)

    def run(*arguments: object) -> Result:
        environment = {"PERCORSO_DATABASE_URL": database_url, "PERCORSO_BOOTSTRAP_KEY": KEY}
        with capture_logs():
            return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    return run


@pytest.fixture
def service(database_url: str) -> Iterator[str]:
    """The URL of a service on this test's database."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(settings_for(database_url)), log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def ask(service: str) -> Iterator[Ask]:
    """What the service answers to a GET."""
    with httpx.Client(base_url=service, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield lambda path: client.get(path).raise_for_status().json()


def summary(result: Result) -> str:
    """The last line on standard output, without the time it took."""
    return result.stdout.splitlines()[-1].rpartition(" in ")[0]


def counts(**given: int) -> str:
    names = ("read", "stored", "duplicate", "conflict", "rejected")
    return ", ".join(f"{name} {given.get(name, 0)}" for name in names)


def test_a_file_imported_twice_is_stored_once(percorso: Run) -> None:
    for name, file, rows in (("cdnow", CDNOW, 52), ("web_shop", WEB_SHOP, 45)):
        first, second = (percorso("import", file, "--mapping", name) for _ in range(2))
        assert (first.exit_code, summary(first)) == (0, counts(read=rows, stored=rows))
        assert (second.exit_code, summary(second)) == (0, counts(read=rows, duplicate=rows))


def test_equal_rows_are_each_stored(percorso: Run, ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "equal.txt"
    file.write_text(HEADER + " 00001 19970101  1   11.77\r\n" * 3, newline="")
    assert summary(percorso("import", file, "--mapping", "cdnow")) == counts(read=3, stored=3)
    items = ask("/v1/customers/loyalty_id:1/journey")["items"]
    assert sorted(item["id"] for item in items) == [f"00001|19970101|1|11.77{again}" for again in ("", "#2", "#3")]


def test_a_journey_spans_both_files_in_order(percorso: Run, ask: Ask, tmp_path: Path) -> None:
    between = tmp_path / "between.txt"
    between.write_text(HEADER + " 00003 20240323  2   10.50\r\n 00003 20240324  1   9.00\r\n", newline="")
    percorso("import", WEB_SHOP, "--mapping", "web_shop")
    percorso("import", CDNOW, between, "--mapping", "cdnow")
    items = ask("/v1/customers/loyalty_id:3/journey?order=asc&limit=500")["items"]
    times = [item["occurred_at"] for item in items]
    assert times == sorted(times)
    sources = "".join(item["source"][0] for item in items)
    assert sources == "c" * 7 + "w" * 11 + "c"
    assert {item["customer_id"] for item in items} == {items[0]["customer_id"]}
    [bought] = [item for item in items if item["source"] == "web_shop" and item["channel"] == "purchase"]
    assert bought["details"] == {"device": "desktop", "order_id": bought["id"], "status": "placed"}


def test_what_is_stored_of_a_purchase_is_all_that_the_row_says(percorso: Run, ask: Ask) -> None:
    percorso("import", CDNOW, "--mapping", "cdnow")
    [item] = ask("/v1/customers/loyalty_id:1/journey")["items"]
    assert item["occurred_at"] == "1997-01-01T00:00:00Z"
    assert item["details"] == {
        "order_id": "00001|19970101|1|11.77",
        "status": "paid",
        "total": {"amount": 11.77, "currency": "USD"},
        "items": [{"quantity": 1}],
    }
    assert item["source_fields"] == {"customer_id": "00001", "date": "19970101"}


def test_a_compressed_file_is_known_by_its_content(percorso: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes(gzip.compress(WEB_SHOP.read_bytes()))
    assert summary(percorso("import", file, "--mapping", "web_shop")) == counts(read=45, stored=45)


def test_lines_in_batches_of_any_size_are_all_stored(percorso: Run, make: Make, tmp_path: Path) -> None:
    file = tmp_path / "many.ndjson"
    file.write_bytes(b"\xef\xbb\xbf" + ndjson(*(make() for _ in range(25))).replace(b"\n", b"\r\n\r\n"))
    assert summary(percorso("import", file, "--batch", "4")) == counts(read=25, stored=25)


def test_bad_lines_are_named_and_quarantined_and_the_rest_is_stored(
    percorso: Run, make: Make, tmp_path: Path, ask: Ask
) -> None:
    file = tmp_path / "some.ndjson"
    good, other = make(), make(channel="fone")
    file.write_bytes(
        ndjson(good) + b"\n{oops\n" + ndjson(other, good | {"kind": "else"}) + b"{" + b" " * 70_000 + b"}\n"
    )
    result = percorso("import", file)
    assert (result.exit_code, summary(result)) == (1, counts(read=5, stored=1, conflict=1, rejected=3))
    told = result.stderr.splitlines()
    assert told[0].startswith(f"{file}:3: is not valid JSON")
    assert told[1].startswith(f"{file}:4: /channel is not a channel; did you mean phone?")
    assert told[2].startswith(f"{file}:5: the same source and id is stored with other content, as ")
    assert told[3].startswith(f"{file}:6: is larger than 65536 bytes")
    assert len(ask("/v1/rejected")["items"]) == 3


@pytest.mark.parametrize("by_http", [False, True])
def test_a_row_that_cannot_be_mapped_is_quarantined_as_far_as_it_goes(
    percorso: Run, tmp_path: Path, ask: Ask, service: str, *, by_http: bool
) -> None:
    file = tmp_path / "bad.txt"
    rows = (" 00001 19970230  1   11.77", " 00002 19970112  1   12.00", " 00003 19970112  x   12,00", " 00004 1")
    file.write_text(HEADER + "".join(f"{row}\r\n" for row in rows), newline="")
    result = percorso("import", file, "--mapping", "cdnow", *(("--url", service, "--key", KEY) if by_http else ()))
    assert (result.exit_code, summary(result)) == (1, counts(read=4, stored=1, rejected=3))
    unread = (
        "/details/total/amount must be a number, such as 12.50 (column dollar_value)",
        "/details/items/0/quantity must be a whole number (column number_of_cds)",
    )
    assert result.stderr.splitlines() == [
        f"{file}:2: /occurred_at must be of the format %Y%m%d, and exist (column date)",
        f"{file}:4: {'; '.join(unread)}",
        f"{file}:5: has 2 cells, and the file 4 columns",
    ]
    kept = {item["id"]: item for item in ask("/v1/rejected")["items"]}
    bad = kept["00001|19970230|1|11.77"]
    payload = json.loads(bad["payload"])
    assert payload["occurred_at"] == "19970230"
    assert payload["customer"] == {"loyalty_id": "1"}
    assert bad["source"] == "cdnow"
    assert "/occurred_at" in {error["pointer"] for error in bad["errors"]}
    assert bad["format"] == ("native" if by_http else "csv")
    assert len(kept) == 3


def test_only_the_first_five_that_failed_are_named(percorso: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.ndjson"
    file.write_bytes(b"{}\n" * 9)
    result = percorso("import", file)
    assert summary(result) == counts(read=9, rejected=9)
    assert len(result.stderr.splitlines()) == 5


def test_a_trial_run_stores_nothing_and_shows_the_first(percorso: Run) -> None:
    result = percorso("import", CDNOW, "--mapping", "cdnow", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith("read 52, valid 52, rejected 0 in ")
    assert result.stdout.endswith("; nothing was stored\n")
    assert json.loads(result.stderr)["customer"] == {"loyalty_id": "1"}
    assert summary(percorso("import", CDNOW, "--mapping", "cdnow")) == counts(read=52, stored=52)


def test_a_trial_run_needs_no_database_and_judges_each(tmp_path: Path, make: Make) -> None:
    file = tmp_path / "some.ndjson"
    file.write_bytes(
        ndjson(make(), make(customer={"email": "x"}), make(channel="fone")) + b"{" + b" " * 70_000 + b"}\n"
    )
    environment = {"PERCORSO_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    result = CliRunner().invoke(app, ["import", str(file), "--dry-run"], env=environment)
    assert result.exit_code == 1
    assert result.stdout.startswith("read 4, valid 1, rejected 3 in ")


def test_the_mapping_that_the_help_teaches_works(percorso: Run, tmp_path: Path) -> None:
    taught = import_help().partition("```toml")[2].partition("```")[0]
    (tmp_path / "orders.toml").write_text("\n".join(line.strip() for line in taught.splitlines()))
    (tmp_path / "orders.csv").write_text("order,when,mail,sum\nA-1,02.07.2026 10:30,anna@example.com,12.50\n")
    result = percorso("import", tmp_path / "orders.csv", "--mapping", tmp_path / "orders.toml")
    assert summary(result) == counts(read=1, stored=1)


def import_help() -> str:
    [command] = [command for command in app.registered_commands if command.name == "import"]
    return str(command.callback.__doc__)


def failure(result: Result) -> PercorsoError:
    assert isinstance(result.exception, StartupError), result.exception
    return result.exception


def test_what_cannot_be_read_is_said_before_anything_is_stored(percorso: Run, tmp_path: Path) -> None:
    (tmp_path / "array.json").write_text('[{"source": "crm"}]')
    (tmp_path / "empty.csv").write_text("")
    said = [
        (("nowhere.ndjson",), "There is no file nowhere.ndjson."),
        ((tmp_path,), "There is no file"),
        ((tmp_path / "array.json",), "is a JSON array"),
        ((CDNOW,), "say with --mapping how to read it"),
        ((CDNOW, "--mapping", "cdnov"), "percorso has cdnow, web_shop only; did you mean cdnow?"),
        ((CDNOW, "--mapping", CDNOW), "is not TOML"),
        ((CDNOW, "--mapping", "web_shop"), "names columns that the file does not have"),
        ((CDNOW, "--url", "ftp://127.0.0.1"), "is no URL of a service"),
        ((CDNOW, "--url", "http://127.0.0.1"), "give --key, or PERCORSO_KEY"),
    ]
    for arguments, detail in said:
        result = percorso("import", *arguments)
        assert detail in failure(result).detail
        assert result.stdout == ""
    assert summary(percorso("import", tmp_path / "empty.csv", "--mapping", "cdnow")) == counts()


def test_a_file_that_is_cut_short_is_imported_up_to_there(percorso: Run, tmp_path: Path, make: Make) -> None:
    file = tmp_path / "cut.gz"
    packed = gzip.compress(ndjson(*(make(text=os.urandom(200).hex()) for _ in range(3000))))
    file.write_bytes(packed[: len(packed) // 2])
    result = percorso("import", file, "--batch", "100")
    assert "cannot be read beyond byte" in failure(result).detail
    assert result.stdout.startswith("read 1")


def test_a_running_service_takes_a_file(percorso: Run, service: str, ask: Ask) -> None:
    send = ("import", WEB_SHOP, "--mapping", "web_shop", "--url", f"{service}/", "--key", KEY, "--batch", "10")
    assert summary(percorso(*send)) == counts(read=45, stored=45)
    assert summary(percorso(*send)) == counts(read=45, duplicate=45)
    assert len(ask("/v1/customers/loyalty_id:8/journey?limit=500")["items"]) == 20


def test_a_key_that_is_not_valid_is_said_to_be_so(percorso: Run, service: str) -> None:
    result = percorso("import", CDNOW, "--mapping", "cdnow", "--url", service, "--key", "wrong")
    assert "It answers 401" in failure(result).detail


def test_a_service_that_is_busy_is_asked_again(
    percorso: Run, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("percorso.cli.destinations.sleep", sleep)
    item = {"index": 1, "status": "retry"}
    answers = [
        (503, {"Retry-After": "7"}, {}),
        (200, {}, {"received": 2, "results": [item]}),
        (200, {}, {"received": 1, "results": []}),
    ]
    with answering(answers) as (url, bodies):
        result = percorso("import", written(tmp_path, make(), make()), "--url", url, "--key", "k")
    assert summary(result) == counts(read=2, stored=2)
    assert pauses == [7, 1]
    assert [body.count(b"\n") for body in bodies] == [2, 2, 1]


def test_a_service_that_stays_away_is_given_up(
    percorso: Run, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(destinations, "_PATIENCE_SECONDS", 0.5)
    result = percorso("import", written(tmp_path, make()), "--url", "http://127.0.0.1:1", "--key", "k")
    assert "cannot be reached" in failure(result).detail


def written(directory: Path, *items: dict[str, Any]) -> Path:
    file = directory / "items.ndjson"
    file.write_bytes(ndjson(*items))
    return file


class answering:  # noqa: N801 - it is used as a function
    """A server on the loopback that gives these answers one after the other, and keeps what it was sent."""

    def __init__(self, answers: list[tuple[int, dict[str, str], dict[str, Any]]]) -> None:
        bodies: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers, document = answers.pop(0)
                body = json.dumps(document).encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._bodies = bodies
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> tuple[str, list[bytes]]:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}", self._bodies

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


async def started(database_url: str, *arguments: str) -> Process:
    """The command as a process of its own."""
    environment = os.environ | {"PERCORSO_DATABASE_URL": database_url}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "percorso", *arguments, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )


async def test_standard_input_is_read_for_a_dash(database_url: str, make: Make) -> None:
    process = await started(database_url, "import", "-")
    told, complaints = await process.communicate(gzip.compress(ndjson(make(), make())))
    assert told.decode().startswith(counts(read=2, stored=2))
    assert (process.returncode, complaints) == (0, b"")


async def test_an_interrupted_import_says_what_it_stored(database_url: str, database: Database, make: Make) -> None:
    process = await started(database_url, "import", "-", "--batch", "10")
    assert process.stdin is not None
    process.stdin.write(ndjson(*(make() for _ in range(200))))
    await process.stdin.drain()
    async with asyncio.timeout(60):
        while await database.fetchval("SELECT count(*) FROM interactions") < 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        await process.wait()
    told, complaints = await process.communicate()
    assert told.decode().startswith(counts(read=200, stored=200))
    assert (process.returncode, complaints) == (130, b"")
