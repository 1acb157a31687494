"""`percorso settings`: every setting, what it does, and what it is now."""

import json
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from percorso.cli.running import settings_with
from percorso.settings import Settings


def settings(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of the manual: names and defaults.")] = False,
) -> None:
    """List the settings and their present values; secrets are not shown."""
    if markdown:
        typer.echo(as_markdown())
        return
    now = settings_with()
    table = Table("variable", "value", "what it does", box=None)
    for name, field in Settings.model_fields.items():
        table.add_row(_variable(name), _shown(getattr(now, name)), field.description)
    Console().print(table)


def as_markdown() -> str:
    """The settings as a Markdown table."""
    rows = ["| variable | default | what it does |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{_shown(field.default)}`"
        rows.append(f"| `{_variable(name)}` | {default} | {field.description} |")
    return "\n".join(rows)


def _variable(name: str) -> str:
    return f"PERCORSO_{name.upper()}"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return "(set)"
    return str(value) if isinstance(value, str) else json.dumps(value, default=str).strip('"')
