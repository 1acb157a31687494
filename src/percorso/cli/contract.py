"""`percorso openapi`: the HTTP contract as a file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from percorso.app import create_app
from percorso.errors import StartupError
from percorso.settings import Settings


def openapi(
    output: Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it.")] = None,
    check: Annotated[Path | None, typer.Option(help="Compare it with this file; exit 2 where they differ.")] = None,
) -> None:
    """Print the OpenAPI 3.1 document of this release."""
    document = json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False) + "\n"
    if check is not None:
        if not check.is_file() or check.read_text(encoding="utf-8") != document:
            raise StartupError(f"{check} is not what this code serves: run `percorso openapi --output {check}`.")
    elif output is not None:
        output.write_text(document, encoding="utf-8")
    else:
        typer.echo(document, nl=False)
