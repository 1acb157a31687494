"""The command line: `percorso serve`, what prepares and looks after its database, and what prints files."""

import sys

from rich.console import Console
from typer import Typer

from percorso.cli import (
    audit,
    benching,
    configuration,
    contract,
    db,
    doctor,
    exporting,
    importing,
    keys,
    reference,
    retention,
    serve,
)
from percorso.errors import PercorsoError
from percorso.storage.database import is_away

app = Typer(
    help="Takes in every interaction with a customer, and gives back each customer's journey.",
    epilog="Settings are PERCORSO_… variables; without PERCORSO_DATABASE_URL percorso runs its own PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("serve")(serve.serve)
app.add_typer(db.app, name="db")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.command("import")(importing.import_)
app.command("export")(exporting.export_)
app.add_typer(retention.app, name="retention")
app.command("settings")(configuration.settings)
app.command("bench")(benching.bench)
app.command("openapi")(contract.openapi)
app.command("doctor")(doctor.doctor)
app.command("reference")(reference.reference)


def main() -> None:
    """Run a command; what is to be expected to go wrong is said in a sentence, without a traceback."""
    console = Console(stderr=True)
    try:
        app()
    except PercorsoError as error:
        console.print(f"[bold red]percorso:[/] {error.detail}", highlight=False)
        for problem in error.problems:
            console.print(f"  {problem.pointer or 'in all'}: {problem.detail}", highlight=False, markup=False)
        sys.exit(2)
    except Exception as error:
        if not is_away(error):
            raise
        console.print(
            f"[bold red]percorso:[/] the database cannot be reached ({type(error).__name__}).", highlight=False
        )
        sys.exit(2)
