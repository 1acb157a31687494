"""`percorso reference`: what operators take from here into their own systems, as files."""

from importlib.resources import files
from typing import Annotated, Final

import typer

from percorso.errors import StartupError
from percorso.ops import metrics

FILES: Final = {
    "dashboard": "ops/reference/dashboard.json",
    "alerts": "ops/reference/alerts.yaml",
}
"""What there is, by name: files of this package."""
_METRICS: Final = "metrics"
_NAMES: Final = ", ".join((*FILES, _METRICS))


def reference(name: Annotated[str, typer.Argument(help=f"One of {_NAMES}.")]) -> None:
    """Print a Grafana dashboard, Prometheus' alert rules, or what each metric means."""
    if name == _METRICS:
        typer.echo(as_markdown(), nl=False)
        return
    if name not in FILES:
        raise StartupError(f"There is no reference {name!r}; there are {_NAMES}.")
    typer.echo(files("percorso").joinpath(FILES[name]).read_text(encoding="utf-8"), nl=False)


def as_markdown() -> str:
    """All metrics as a Markdown table."""
    rows = ["| metric | kind | labels | what it says |", "| --- | --- | --- | --- |"]
    for metric in metrics.every():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.says} |")
    return "\n".join(rows) + "\n"
