"""What is installed is complete: the wheel carries what the code reads beside itself."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_migrations_mappings_and_the_type_marker(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    migrations = {f"percorso/migrations/versions/{path.name}" for path in (ROOT / "migrations/versions").glob("*.py")}
    mappings = {f"percorso/mappings/{path.name}" for path in (ROOT / "src/percorso/mappings").glob("*.toml")}
    assert migrations
    assert mappings
    assert migrations | mappings | {"percorso/migrations/env.py", "percorso/py.typed"} <= carried
