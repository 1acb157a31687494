"""The README says what is so."""

import re
from pathlib import Path

from typer.main import get_command

from percorso.cli import app
from percorso.cli.configuration import as_markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_one_that_the_code_prints() -> None:
    table = README.partition("<!-- settings -->\n")[2].partition("\n<!-- /settings -->")[0]
    assert table == as_markdown()


def test_every_command_is_named_and_every_named_command_is_there() -> None:
    block = README.partition("## The command line\n")[2].partition("```\n")[2].partition("```")[0]
    named = set(re.findall(r"^percorso ([a-z]+)", block, re.MULTILINE)) | {"openapi"}
    assert named == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_file_it_links_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_place_in_the_layout_is_there() -> None:
    layout = README.partition("src/percorso/\n")[2].partition("```")[0]
    places = [place for line in layout.splitlines() for place in re.split(r", +", line[2:31].strip()) if place]
    assert len(places) > 10
    assert [place for place in places if not (ROOT / "src" / "percorso" / place).exists()] == []
