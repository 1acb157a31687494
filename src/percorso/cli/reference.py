"""`percorso reference`: files for what stands around the service, as they are tested with this release."""

from importlib.resources import files
from pathlib import PurePath
from typing import Annotated

import typer

from percorso.errors import StartupError


def reference(
    name: Annotated[str | None, typer.Argument(help="Which one; without it, those that there are.")] = None,
) -> None:
    """Print a file of reference, to be changed and put to use: how to deploy the service, and how to watch it."""
    there = {PurePath(each.name).stem: each for each in files("percorso.ops").joinpath("reference").iterdir()}
    if name is None:
        typer.echo("\n".join(sorted(there)))
    elif name in there:
        typer.echo(there[name].read_text(encoding="utf-8"), nl=False)
    else:
        raise StartupError(f"There is no reference {name!r}, but {', '.join(sorted(there))}.")
