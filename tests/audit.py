"""Asks whether a vulnerability of a dependency is known: python tests/audit.py PIP_AUDIT LOCK [--required].

A known one fails it, and so does whatever else goes wrong. Where the service that knows them cannot be reached, or is a
mirror that knows none, it says plainly that nothing was audited, and fails only with `--required`: so that the other
checks also run on a machine without a network.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

_OPTIONS: Final = (
    "--no-deps",
    "--disable-pip",
    "--format=json",
    "--progress-spinner=off",
    "--timeout=5",
)
_SECONDS: Final = 120
_AWAY: Final = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "SSLError", "ProxyError", "503 ", "502 ")
"""What pip-audit ends with where it was not answered."""


def main(program: str, lock: str, *, required: bool) -> int:
    """Audit a lock file, say what came of it, and give the exit code."""
    try:
        done = subprocess.run(
            [program, *_OPTIONS, "--requirement", lock], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return _not_audited(lock, f"the vulnerability service did not answer within {_SECONDS} s", required=required)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        if any(word in done.stderr for word in _AWAY):
            return _not_audited(lock, "the vulnerability service cannot be reached", required=required)
        _say(f"{lock}: pip-audit failed:\n{done.stderr}")
        return 1
    return _judged(lock, dependencies, required=required)


def _judged(lock: str, dependencies: Sequence[dict[str, Any]], *, required: bool) -> int:
    audited = [each for each in dependencies if "skip_reason" not in each]
    for each in audited:
        for found in each["vulns"]:
            mended = ", ".join(found["fix_versions"]) or "no release yet"
            _say(f"{lock}: {each['name']} {each['version']} has {found['id']}, mended in {mended}")
    if any(each["vulns"] for each in audited):
        return 1
    if not audited:
        return _not_audited(
            lock, f"its package index knows none of the {len(dependencies)} packages", required=required
        )
    if len(audited) < len(dependencies):
        missed = ", ".join(each["name"] for each in dependencies if "skip_reason" in each)
        _say(f"{lock}: NOT AUDITED, since the index does not know them: {missed}")
    _say(f"{lock}: no vulnerability is known of {len(audited)} of {len(dependencies)} packages")
    return int(required and len(audited) < len(dependencies))


def _not_audited(lock: str, why: str, *, required: bool) -> int:
    _say(f"{lock}: NOT AUDITED: {why}")
    return int(required)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], required="--required" in sys.argv[3:]))
