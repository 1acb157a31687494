"""Dumps of a database: taken from a running one as of one moment, and put into an empty one, on any server.

PostgreSQL's own programs do it: those of the directory `programs`, or those that are installed with percorso. The
latter speak no TLS, and refuse a server that is newer than they are.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from percorso.errors import StartupError
from percorso.ops import embedded_place

_HEAD_LINES: Final = 60
"""Within so many lines of a dump as SQL stand the settings it begins with."""
_ONLY_NEWER: Final = frozenset({b"SET transaction_timeout = 0;\n"})
"""Settings that servers before PostgreSQL 17 do not know: nothing is lost without them."""
_SAID_LINES: Final = 10


def take(url: str, file: Path, *, programs: Path | None = None) -> None:
    """Write the database at `url` to a new file that only its owner can read, in PostgreSQL's custom format.

    It is what had been committed when the dump began; nobody waits for it. Raises StartupError where the file is there
    already, or the dump fails, and leaves no file then.
    """
    beside = file.with_name(f"{file.name}.part")
    if file.exists():
        raise StartupError(f"{file} is there already: name another file, or move it away.")
    try:
        os.close(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        beside.chmod(0o600)
        address, environment = _to(url)
        arguments = ("--format=custom", "--no-owner", "--no-privileges", "--no-password", f"--file={beside}")
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program, by its full path and without a shell
            [_program("pg_dump", programs), *arguments, f"--dbname={address}"],
            check=False,
            env=environment,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise StartupError(f"The database cannot be dumped.{_said(done.stderr)}")
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(file)
    except OSError as error:
        raise StartupError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        beside.unlink(missing_ok=True)


def put(url: str, file: Path, *, programs: Path | None = None) -> None:
    """Put what `take` wrote into the database at `url`, which must be empty: all of it, or nothing (StartupError)."""
    if not file.is_file():
        raise StartupError(f"There is no file {file}.")
    reading = [_program("pg_restore", programs), "--no-owner", "--no-privileges", "--file=-", str(file)]
    writing = [_program("psql", programs), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    address, environment = _to(url)
    with tempfile.TemporaryFile() as misread, tempfile.TemporaryFile() as refused:
        with (
            subprocess.Popen(  # noqa: S603 - as above
                reading, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=misread
            ) as reader,
            subprocess.Popen(  # noqa: S603 - as above
                [*writing, "--no-password", "--output=/dev/null", "--file=-", f"--dbname={address}"],
                env=environment,
                stdin=subprocess.PIPE,
                stderr=refused,
            ) as writer,
        ):
            assert reader.stdout is not None  # noqa: S101 - both are pipes
            assert writer.stdin is not None  # noqa: S101 - see above
            try:
                _pass(reader.stdout, writer.stdin)
                complete = reader.wait() == 0
            except BrokenPipeError:
                complete = False
                reader.kill()
            if not complete:
                # Before the end of what it reads it commits nothing.
                writer.kill()
            with suppress(BrokenPipeError):
                writer.stdin.close()
        if not complete or writer.returncode != 0:
            raise StartupError(f"{file} cannot be restored; the database is as it was.{_all(refused, misread)}")


def _pass(source: IO[bytes], target: IO[bytes]) -> None:
    """Pass a dump on as SQL, but for what older servers do not know."""
    for _ in range(_HEAD_LINES):
        line = source.readline()
        if line not in _ONLY_NEWER:
            target.write(line)
    while block := source.read(1 << 20):
        target.write(block)
    target.flush()


def _program(name: str, programs: Path | None) -> str:
    program = (programs or embedded_place.programs()) / name
    if not program.is_file():
        raise StartupError(f"There is no {program}.")
    return str(program.absolute())


def _to(url: str) -> tuple[str, dict[str, str]]:
    """An address without its password, and an environment with it: arguments can be read by everyone on a machine."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    query = parse_qsl(parts.query, keep_blank_values=True)
    given = next((value for key, value in query if key == "password"), unquote(password))
    kept = [(key, value) for key, value in query if key != "password"]
    netloc = f"{name}@{place}" if name else place
    address = f"postgresql://{netloc}{parts.path}?{urlencode(kept, quote_via=quote)}"
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": os.environ.get("HOME", "/"),
    }
    return address, environment | ({"PGPASSWORD": given} if given else {})


def _said(text: bytes) -> str:
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return "".join(f"\n    {line}" for line in lines[-_SAID_LINES:])


def _all(*files: IO[bytes]) -> str:
    said: Sequence[bytes] = []
    for file in files:
        file.seek(0)
        said = [*said, file.read()]
    return "".join(map(_said, said))
