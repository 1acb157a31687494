"""Segment's and RudderStack's own clients, unmodified, against a running service that is not always there for them."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from clients.refusing import Act, front
from exchanges import items_at, journey_of, serving_at, walk
from support import KEY

HERE: Final = Path(__file__).parent
NODE: Final = str(Path(sys.executable).parent / "node")
CLIENTS: Final = {
    "segment-analytics-python": [sys.executable, "python_client.py", "segment"],
    "rudder-sdk-python": [sys.executable, "python_client.py", "rudderstack"],
    "@segment/analytics-node": [NODE, "segment_node.mjs"],
    "@rudderstack/rudder-sdk-node": [NODE, "rudder_node.mjs"],
}
PLAN: Final[tuple[Act, ...]] = ("pass", "busy", "pass", "away", "lost", "pass", "busy", "away")
BEGINNING: Final = datetime(2026, 11, 20, 10, tzinfo=UTC)
COUNT: Final = 60

Call = dict[str, Any]


def steps() -> list[Call]:
    """Events a second apart, each with a time of its own."""
    return [
        {
            "type": "track",
            "messageId": f"step-{number:03}",
            "userId": "anna",
            "event": f"Step {number} Taken",
            "properties": {"step": number, "città": "Forlì"},
            "timestamp": (BEGINNING + timedelta(seconds=number)).isoformat(timespec="milliseconds"),
        }
        for number in range(COUNT)
    ]


def others() -> list[Call]:
    """One of each other call, when it is sent."""
    return [
        {"type": "identify", "messageId": "identify", "userId": "anna", "anonymousId": "a-1",
         "traits": {"email": "anna@example.com", "plan": "gold"}},
        {"type": "group", "messageId": "group", "userId": "anna", "groupId": "acme", "traits": {"name": "Acme"}},
        {"type": "page", "messageId": "page", "userId": "anna", "name": "Home", "properties": {"path": "/"}},
        {"type": "screen", "messageId": "screen", "userId": "anna", "name": "Start"},
        {"type": "alias", "messageId": "alias", "userId": "anna", "previousId": "anna-before"},
        {"type": "track", "messageId": "order", "userId": "anna", "event": "Order Completed",
         "properties": {"order_id": "A-1", "total": 12.5, "currency": "EUR"}},
    ]  # fmt: skip


async def run(command: list[str], url: str, calls: list[Call]) -> None:
    """Let a client send these; it must end well."""
    if command[0] == NODE and not (HERE / "node_modules").exists():
        pytest.fail("the clients are not there: run `npm ci` in tests/clients")
    process = await asyncio.create_subprocess_exec(
        *command, url, KEY, cwd=HERE, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(json.dumps(calls).encode()), 120)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()


@pytest.mark.parametrize("command", CLIENTS.values(), ids=CLIENTS)
async def test_all_that_a_client_sends_arrives_once_and_in_order_whatever_it_is_refused(
    command: list[str], database_url: str, tmp_path: Path
) -> None:
    with serving_at(database_url, tmp_path) as served:
        async with front(served.url, PLAN) as between, served.client() as client:
            begun = datetime.now(UTC)
            await run(command, between.url, steps() + others())
            ended = datetime.now(UTC)
            assert set(between.done) == {"pass", "busy", "away", "lost"}
            stored = [item async for page in walk(client, journey_of("user_id:anna")) for item in page][::-1]
            by_id = {item["id"]: item for item in stored}
            assert len(stored) == len(by_id) == COUNT + len(others())
            assert [item["id"] for item in stored[:COUNT]] == [call["messageId"] for call in steps()]
            for call in steps():
                item = by_id[call["messageId"]]
                assert datetime.fromisoformat(item["occurred_at"]) == datetime.fromisoformat(call["timestamp"])
                assert item["attributes"] == call["properties"]
                assert item["source_fields"]["event"] == call["event"]
            for call in others():
                assert begun - timedelta(seconds=1) <= datetime.fromisoformat(by_id[call["messageId"]]["occurred_at"])
                assert datetime.fromisoformat(by_id[call["messageId"]]["occurred_at"]) <= ended
            assert {name: (by_id[name]["channel"], by_id[name]["kind"]) for name in ("page", "screen", "order")} == {
                "page": ("web", "page_viewed"),
                "screen": ("app", "screen_viewed"),
                "order": ("purchase", "order_completed"),
            }
            for other in ("anonymous_id:a-1", "email:anna@example.com", "user_id:anna-before"):
                assert len(await items_at(client, journey_of(other), limit=100)) == len(stored)
            traits = (await client.get("/v1/customers/user_id:anna/traits")).json()["traits"]
            assert {"plan": "gold", "group_id": "acme", "group_name": "Acme"}.items() <= {
                name: trait["value"] for name, trait in traits.items()
            }.items()
            assert await items_at(client, "/v1/rejected") == []


@pytest.mark.parametrize("command", CLIENTS.values(), ids=CLIENTS)
async def test_a_client_whose_key_is_not_valid_gives_up_at_once(
    command: list[str], database_url: str, tmp_path: Path
) -> None:
    with serving_at(database_url, tmp_path, PERCORSO_BOOTSTRAP_KEY="another") as served:
        async with front(served.url, ()) as between:
            with pytest.raises(AssertionError):
                await run(command, between.url, steps()[:3])
            # Each batch is sent once: a refusal that a client does not understand it repeats.
            assert 1 <= len(between.done) <= 2
