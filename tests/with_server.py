"""Run a command on a fresh server made from a directory of PostgreSQL binaries: `with_server.py BINDIR COMMAND…`."""

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main(binaries: Path, command: Sequence[str]) -> int:
    """Start the server, run the command with PERCORSO_DATABASE_URL set to it, stop the server; the command's status."""
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    with tempfile.TemporaryDirectory(prefix="percorso-server-", ignore_cleanup_errors=True) as directory:
        if account:
            os.chown(directory, account.pw_uid, account.pw_gid)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [binaries / program, "-D", f"{directory}/data", *arguments],
                check=True,
                cwd=directory,
                stdout=subprocess.DEVNULL,
                **who,  # type: ignore[call-overload]
            )

        run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {directory} -c fsync=off -c max_connections=200"
        run("pg_ctl", "-w", "-l", f"{directory}/log", "-o", options, "start")
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            return subprocess.run(command, env=os.environ | {"PERCORSO_DATABASE_URL": url}, check=False).returncode
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
