"""`make audit` fails where a vulnerability is known, and says so where it could not find out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOUND = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def audited(directory: Path, prints: str, *options: str, fails: str = "") -> tuple[int, str]:
    """The exit code and all that is said where pip-audit prints this, or fails saying that."""
    program = directory / "pip-audit"
    code = f"import sys; sys.stdout.write({prints!r}); sys.stderr.write({fails!r}); sys.exit({int(bool(fails))})"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    command = [sys.executable, str(ROOT / "tests/audit.py"), str(program), "some.lock", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def of(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_known_vulnerability_fails_it_and_is_named_with_what_mends_it(tmp_path: Path) -> None:
    code, said = audited(tmp_path, of(SOUND, BAD, UNKNOWN))
    assert code == 1
    assert "b 2 has PYSEC-1, mended in 2.1" in said


def test_where_none_is_known_it_says_of_how_many(tmp_path: Path) -> None:
    assert audited(tmp_path, of(SOUND)) == (0, "some.lock: no vulnerability is known of 1 of 1 packages\n")
    code, said = audited(tmp_path, of(SOUND, UNKNOWN))
    assert code == 0
    assert "NOT AUDITED, since the index does not know them: c" in said


@pytest.mark.parametrize(
    ("prints", "fails"),
    [(of(UNKNOWN), ""), ("", "requests.exceptions.ConnectionError: no route"), ("", "ReadTimeout: slow")],
    ids=["a mirror", "no network", "slow"],
)
def test_where_it_cannot_find_out_it_says_so_and_fails_only_if_it_must_know(
    tmp_path: Path, prints: str, fails: str
) -> None:
    code, said = audited(tmp_path, prints, fails=fails)
    assert code == 0
    assert "NOT AUDITED: " in said
    assert audited(tmp_path, prints, "--required", fails=fails)[0] == 1


def test_what_else_goes_wrong_is_not_taken_for_a_missing_network(tmp_path: Path) -> None:
    code, said = audited(tmp_path, "", fails="error: unrecognized arguments")
    assert code == 1
    assert "unrecognized arguments" in said


def test_the_checks_audit_what_is_shipped() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [static] = [line for line in makefile.splitlines() if line.startswith("static:")]
    assert "audit" in static.split()
    assert "tests/audit.py $(BIN)/pip-audit requirements.lock" in makefile
    assert "requirements.lock" in (ROOT / "Dockerfile").read_text()
