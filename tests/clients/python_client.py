"""Sends calls with a client of Python: `python_client.py segment|rudderstack URL KEY`; the calls as JSON on input."""

import importlib
import json
import re
import sys
from datetime import datetime
from typing import Any


def send(library: str, url: str, key: str, calls: list[dict[str, Any]]) -> None:
    """Send them, and wait until the client has; RuntimeError where it gave up."""
    failed: list[str] = []
    client = importlib.import_module(f"{library}.analytics.client").Client(
        key,
        host=f"{url}/segment",
        upload_size=10,
        upload_interval=0.2,
        on_error=lambda error, _: failed.append(repr(error)),
    )
    for call in calls:
        members = {re.sub("(?=[A-Z])", "_", name).lower(): value for name, value in call.items() if name != "type"}
        if at := members.get("timestamp"):
            members["timestamp"] = datetime.fromisoformat(at)
        getattr(client, call["type"])(**members)
    client.shutdown()
    if failed:
        raise RuntimeError(failed)


if __name__ == "__main__":
    library, url, key = sys.argv[1:]
    send(library, url, key, json.load(sys.stdin))
