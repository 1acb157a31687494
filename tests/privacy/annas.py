"""A customer of whom much is held in many places."""

from typing import Any

import httpx

from exchanges import NDJSON, store
from support import Make

PERSONAL = [
    "anna@example.com",
    "anna.rossi@example.com",
    "+390669821234",
    "C-1789-anna",
    "cookie-of-anna",
    "Rossi",
    "Zoë",
]
"""What is known of her, each of which is written in some other way somewhere."""

EVERYWHERE = {"identities", "interactions", "interaction_revisions", "rejected_interactions", "traits", "consents"}
"""The tables that hold some of that."""


async def a_rich_customer(client: httpx.AsyncClient, make: Make) -> list[dict[str, Any]]:
    """Store her, and another with whom she shares a tablet; what was sent of both, but for what was refused."""
    anna = {"email": "Anna@Example.com", "phone": "+39 06 6982 1234"}
    items = [
        make(customer=anna, text="Anna Rossi called"),
        make(customer={"email": "anna@example.com", "crm_id": "C-1789-anna", "cookie_id": "cookie-of-anna"}),
        make(customer={"cookie_id": "cookie-of-anna"}, channel="web", occurred_at="2021-07-01T10:30:00Z"),
        make(customer={"email": ["anna.rossi@example.com", "anna@example.com"]}, attributes={"name": "Zoë Rossi"}),
        make(customer={"phone": "+390669821234"}, details={"from_number": "+390669821234"}),
        make(customer={"email": "anna@example.com", "device_id": "shared-tablet"}),
        make(customer={"email": "beppe@example.com", "device_id": "shared-tablet"}),
        make(customer={"device_id": "shared-tablet"}, channel="app"),
        make(customer={"email": "beppe@example.com"}, text="nothing to do with her"),
    ]
    receipts = await store(client, *items)
    for number, patch in ((0, {"text": "Anna Rossi called again"}), (3, {"attributes": {"name": "Rossi"}})):
        one = f"/v1/interactions/{receipts[number]['interaction_id']}"
        assert (await client.patch(one, json=patch)).status_code == 200
        assert (await client.patch(one, json={"status": "open"})).status_code == 200
    for refused in (
        make(customer=anna, occurred_at="yesterday"),
        make(customer={"email": "anna@example.com"}, channel="telepathy", text="Rossi"),
    ):
        assert (await client.post("/v1/interactions", json=refused)).status_code == 422
    broken = (
        b'{"source": "x", "text": "written\\nANNA@example.com"\n'
        b'\xff\x00 phone: 0039 06-6982.1234, "crm_id": "C-1789-anna" \xc3\xa9'
    )
    answer = await client.post("/v1/interactions/batch", content=broken, headers=NDJSON)
    assert answer.json()["rejected"] == 2
    said = {"traits": {"name": "Anna Rossi", "city": "Roma"}, "source": "crm"}
    assert (await client.put("/v1/customers/crm_id:C-1789-anna/traits", json=said)).status_code == 200
    agreed = {"purpose": "newsletter", "status": "granted", "evidence": "Signed by Anna Rossi in the shop."}
    answer = await client.put("/v1/customers/email:anna@example.com/consents", json={"consents": [agreed]})
    assert answer.status_code == 200
    return items
