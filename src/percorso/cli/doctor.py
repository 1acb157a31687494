"""`percorso doctor`: is everything well, and what is to be done where it is not."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from percorso.cli.diagnosing import Finding, Status, examine
from percorso.cli.running import settings_with, with_database

_COLOURS: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Look at the database, its schema, and all that is done beside requests; exit 1 where anything fails.

    What only warns works, and will not for long or not as it may be meant. Safe on a running system.
    """
    with with_database(settings_with()) as settings:
        findings = asyncio.run(examine(settings))
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False))
    else:
        _show(findings)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        colour = _COLOURS[finding.status]
        console.print(f"[{colour}]{finding.status:4}[/]  {finding.check:12}  {escape(finding.found)}")
        if finding.todo is not None:
            console.print(f"{'':20}{escape(finding.todo)}")
