"""The threat model says what is so: each threat names the tests that hold it, and each of these is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Threat model\n")[2].partition("\n## ")[0]
ROWS = [line.strip("|").split("|") for line in SECTION.splitlines() if line.startswith("| ")][2:]


def there_are() -> set[str]:
    return {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        if "node_modules" not in file.parts
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_threat_names_tests_that_there_are() -> None:
    assert len(ROWS) > 10
    there = there_are()
    for threat, holds, tests in ROWS:
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, threat
        assert holds.strip(), threat
        assert set(named) <= there, (threat, set(named) - there)
        # Nothing but the names of tests stands in the last column.
        assert re.sub(r"`test_\w+`|[ ,]", "", tests) == "", threat


def test_every_setting_it_speaks_of_is_one() -> None:
    known = (ROOT / "src/percorso/settings.py").read_text(encoding="utf-8")
    for name in re.findall(r"PERCORSO_([A-Z_]+)", SECTION):
        assert f"    {name.lower()}: " in known
