"""The embedded PostgreSQL, on real servers: started, shared, left behind, and run for root and for others."""

import os
import signal
from pathlib import Path

import pytest
from clusters import (
    Start,
    StartElsewhere,
    another_process_of_the_user_of,
    ask,
    cluster,
    data_dir,
    is_running,
    place,
    postmaster,
    put,
    socket_of,
    start,
    start_elsewhere,
    state,
    wait_for,
)

from percorso.errors import StartupError

__all__ = ["cluster", "data_dir", "place", "put", "start", "start_elsewhere", "state"]


async def test_a_new_directory_becomes_a_server_that_answers(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    assert server.owned
    assert str(await ask(server, "SELECT version()")).startswith("PostgreSQL 18")
    assert await ask(server, "SELECT current_database()") == "percorso"
    assert await ask(server, "SHOW data_checksums") == "on"
    assert await ask(server, "SELECT datlocale FROM pg_database WHERE datname = 'percorso'") == "C.UTF-8"
    assert await ask(server, "SHOW server_encoding") == "UTF8"


async def test_only_the_servers_user_can_connect(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    assert await ask(server, "SHOW listen_addresses") == ""
    socket = Path(str(await ask(server, "SHOW unix_socket_directories")).strip('"'))
    for directory in (socket, server.data, server.data.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
        assert directory.stat().st_uid == server.data.stat().st_uid


async def test_the_settings_are_renewed_at_each_start_whatever_the_files_say(data_dir: Path, start: Start) -> None:
    first = start(data_dir)
    await ask(first, "ALTER SYSTEM SET max_connections = 5")
    first.stop()
    second = start(data_dir)
    assert await ask(second, "SHOW max_connections") == "200"
    assert await ask(second, "SHOW shared_buffers") == "256MB"


async def test_a_port_in_the_environment_changes_nothing(
    data_dir: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert await ask(start(data_dir), "SELECT 1") == 1


async def test_a_second_start_keeps_the_data_and_the_last_log(data_dir: Path, start: Start) -> None:
    first = start(data_dir)
    await ask(first, "CREATE TABLE kept_by_a_stop AS SELECT 42 AS answer")
    first.stop()
    second = start(data_dir)
    assert await ask(second, "SELECT answer FROM kept_by_a_stop") == 42
    assert "shut down" in (second.data.parent / "server.log.1").read_text()
    assert "shut down at" in (second.data.parent / "server.log").read_text()


def test_a_stop_leaves_no_process_and_a_second_stop_does_nothing(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    pid = postmaster(server.data)
    assert is_running(pid)
    server.stop()
    assert not is_running(pid)
    assert not (server.data / "postmaster.pid").exists()
    server.stop()


def test_an_interrupt_from_the_terminal_does_not_reach_the_server(data_dir: Path, start: Start) -> None:
    pid = postmaster(start(data_dir).data)
    assert os.getsid(pid) == pid
    assert os.getpgid(pid) != os.getpgid(0)


def test_an_exclusive_start_beside_an_owner_names_its_pid(
    data_dir: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    owner = start_elsewhere(data_dir)
    with pytest.raises(StartupError, match=f"in use by process {owner.pid}") as refused:
        start(data_dir)
    assert "PERCORSO_DATA_DIR" in refused.value.detail


async def test_another_start_joins_the_running_server_and_does_not_stop_it(data_dir: Path, start: Start) -> None:
    owner = start(data_dir)
    guest = start(data_dir, exclusive=False)
    assert (guest.owned, guest.url, guest.data) == (False, owner.url, owner.data)
    guest.stop()
    assert await ask(owner, "SELECT 1") == 1


async def test_a_start_beside_an_owner_that_is_starting_waits_for_it(
    place: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    start_elsewhere(place / "data", wait=False)
    lock = place / "data" / "postgresql" / "lock"
    wait_for(lambda: lock.exists() and lock.read_text() != "")
    guest = start(place / "data", exclusive=False)
    assert not guest.owned
    assert await ask(guest, "SELECT 1") == 1


async def test_a_server_left_behind_by_a_killed_owner_is_taken_over(
    data_dir: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    owner = start_elsewhere(data_dir)
    left_behind = postmaster(data_dir / "postgresql" / "data")
    owner.kill()
    owner.wait()
    try:
        assert is_running(left_behind)
        server = start(data_dir)
        assert server.owned
        assert postmaster(server.data) == left_behind
        assert await ask(server, "SELECT 1") == 1
        server.stop()
        assert not is_running(left_behind)
    finally:
        if is_running(left_behind):
            os.kill(left_behind, signal.SIGINT)


async def test_a_crashed_server_starts_although_its_pid_is_now_another_processs(data_dir: Path, start: Start) -> None:
    first = start(data_dir)
    await ask(first, "CREATE TABLE kept_by_a_crash AS SELECT 42 AS answer")
    await ask(first, "CHECKPOINT")
    pid = postmaster(first.data)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid))
    first.stop()
    with another_process_of_the_user_of(first.data) as other:
        for file in (first.data / "postmaster.pid", socket_of(first) / ".s.PGSQL.5432.lock"):
            file.write_text(file.read_text().replace(str(pid), str(other), 1))
        assert await ask(start(data_dir), "SELECT answer FROM kept_by_a_crash") == 42


def test_an_initialisation_that_was_cut_short_is_begun_again(data_dir: Path, start: Start) -> None:
    start(data_dir).stop()
    home = data_dir / "postgresql"
    (home / "data").rename(home / "initdb")
    (home / "initdb" / "global" / "pg_control").unlink()
    assert start(data_dir).owned
    assert not (home / "initdb").exists()


def test_another_major_version_is_refused(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    server.stop()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartupError, match="made by PostgreSQL 17, and PostgreSQL 18 is installed"):
        start(data_dir)
    (server.data / "PG_VERSION").write_text("18\n")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    server.stop()
    control = server.data / "global" / "pg_control"
    control.rename(server.data / "pg_control")
    with pytest.raises(StartupError, match="could not find the database system") as failed:
        start(data_dir)
    assert "PERCORSO_DATABASE_URL" in failed.value.detail
    (server.data / "pg_control").rename(control)


def test_a_directory_that_cannot_be_used_is_refused(place: Path, start: Start) -> None:
    (place / "file").write_text("")
    with pytest.raises(StartupError, match="is no directory"):
        start(place / "file")
    with pytest.raises(StartupError, match="PERCORSO_DATA_DIR"):
        start(place / "file" / "below")
    with pytest.raises(StartupError, match="PERCORSO_DATA_DIR"):
        start(Path("/proc/percorso"))
