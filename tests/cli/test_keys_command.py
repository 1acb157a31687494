"""`percorso keys`: a key with what it may send."""

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from percorso.cli import app
from percorso.errors import StartupError


def test_a_key_is_made_with_a_rate_and_listed_with_it(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("percorso.ops.logs.configure", lambda *_: None)
    environment = {"PERCORSO_DATABASE_URL": database_url, "COLUMNS": "200"}
    make = ("keys", "create", "crm", "--scope", "ingest")
    with capture_logs():
        made = CliRunner().invoke(app, [*make, "--rate", "2.5", "--burst", "700"], env=environment)
        assert made.exit_code == 0, made.output
        assert made.stdout.startswith("pcs_")
        listed = CliRunner().invoke(app, ["keys", "list"], env=environment)
        assert "2.5" in listed.stdout
        assert "700" in listed.stdout
        wrong = CliRunner().invoke(app, [*make, "--burst", "700"], env=environment)
        assert isinstance(wrong.exception, StartupError)
        assert CliRunner().invoke(app, [*make, "--rate", "0"], env=environment).exit_code == 2
