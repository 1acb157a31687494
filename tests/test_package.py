"""What is installed is complete: the wheel carries what the code reads beside itself."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_migrations_mappings_references_and_the_type_marker(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    migrations = {f"percorso/migrations/versions/{path.name}" for path in (ROOT / "migrations/versions").glob("*.py")}
    mappings = {f"percorso/mappings/{path.name}" for path in (ROOT / "src/percorso/mappings").glob("*.toml")}
    reference = {f"percorso/ops/reference/{path.name}" for path in (ROOT / "src/percorso/ops/reference").iterdir()}
    assert migrations
    assert mappings
    assert reference
    assert migrations | mappings | reference | {"percorso/migrations/env.py", "percorso/py.typed"} <= carried
