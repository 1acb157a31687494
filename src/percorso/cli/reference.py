"""`percorso reference`: files for what stands around the service, as they are tested with this release."""

from importlib.resources import files
from pathlib import PurePath
from typing import Annotated, Final

import typer

from percorso.errors import StartupError
from percorso.ops import metrics

METRICS: Final = "metrics"
"""The reference that is no file: it is made of the metrics there are."""


def reference(
    name: Annotated[str | None, typer.Argument(help="Which one; without it, those that there are.")] = None,
) -> None:
    """Print a file of reference, to be changed and put to use: how to deploy the service, and how to watch it."""
    there = {PurePath(each.name).stem: each for each in files("percorso.ops").joinpath("reference").iterdir()}
    names = sorted([*there, METRICS])
    if name is None:
        typer.echo("\n".join(names))
    elif name == METRICS:
        typer.echo(as_markdown(), nl=False)
    elif name in there:
        typer.echo(there[name].read_text(encoding="utf-8"), nl=False)
    else:
        raise StartupError(f"There is no reference {name!r}, but {', '.join(names)}.")


def as_markdown() -> str:
    """All metrics as a Markdown table."""
    rows = ["| metric | kind | labels | what it says |", "| --- | --- | --- | --- |"]
    for metric in metrics.every():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.says} |")
    return "\n".join(rows) + "\n"
