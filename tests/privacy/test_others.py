"""What an erasure takes out of that which is held of others, and what it leaves there."""

from typing import Any

import httpx
from traces import everything, traces

from exchanges import items_at, journey_of, store
from support import Make
from writing import Database

BEPPE = "/v1/customers/email:beppe@example.com"
PHONE = "+390669821234"


async def parted(client: httpx.AsyncClient, make: Make) -> list[dict[str, Any]]:
    """Beppe, with whose interactions a phone came that proved to be another's, and is parted from him."""
    both = {"email": "beppe@example.com", "phone": ["+39 06 6982 1234", "+390669820000"]}
    items = [
        make(customer=both, text="+39 06-6982 1234 called", details={"from_number": PHONE, "duration_seconds": 3}),
        make(customer={"email": "beppe@example.com"}, text=f"asked for {PHONE}, not for {PHONE}5"),
        make(
            customer={"email": "beppe@example.com"},
            attributes={PHONE: {"deep": [f"tel:{PHONE}", 390669821234, 3906698]}},
        ),
        make(customer={"email": "beppe@example.com"}, text="nothing of the other"),
        make(customer={"phone": PHONE}),
    ]
    [first, *_] = await store(client, *items)
    patch = await client.patch(f"/v1/interactions/{first['interaction_id']}", json={"text": "called"})
    assert patch.status_code == 200
    split = await client.post(f"{BEPPE}/split", json={"identifiers": [f"phone:{PHONE}"], "reason": "not his"})
    assert split.status_code == 200, split.text
    return items


async def test_an_erased_identifier_is_taken_out_of_what_is_held_of_others(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    items = await parted(client, make)
    certificate = (await client.delete("/v1/customers/phone:%2B390669821234")).json()
    assert certificate["found"]["documents_of_others"] == 4  # three, and what one said before
    assert certificate["found"]["interactions"] == 1
    assert certificate["found"]["identity_changes"] > 0
    found = await items_at(client, journey_of("email:beppe@example.com"), order="asc")
    assert found[0]["customer"] == {"email": "beppe@example.com", "phone": ["+390669820000"]}
    assert found[0]["details"] == {"from_number": "[erased]", "duration_seconds": 3}
    assert found[1]["text"] == f"asked for [erased], not for {PHONE}5"
    assert found[2]["attributes"] == {"[erased]": {"deep": ["tel:[erased]", "[erased]", 3906698]}}
    assert found[3]["text"] == items[3]["text"]
    before = await items_at(client, f"/v1/interactions/{found[0]['interaction_id']}/revisions")
    assert before[0]["interaction"]["text"] == "[erased] called"
    assert [row for rows in (await traces(database, [PHONE])).values() for row in rows if f"{PHONE}5" not in row] == []


async def test_the_commit_log_names_what_was_changed_of_others(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await parted(client, make)
    changed = "SELECT * FROM commits WHERE what = 'changed' ORDER BY xid8::text::bigint"
    before = len(await database.fetch(changed))
    await client.delete("/v1/customers/phone:%2B390669821234")
    [row] = (await database.fetch(changed))[before:]
    assert len(row["interaction_ids"]) == len(row["identity_ids"]) == 3
    assert len(set(row["identity_ids"])) == 1


async def test_a_short_identifier_is_taken_from_the_customer_of_others_and_left_in_their_words(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await store(client, make(customer={"email": "beppe@example.com", "crm_id": "C-17"}, text="C-17 is a seat number"))
    split = await client.post(f"{BEPPE}/split", json={"identifiers": ["crm_id:C-17"], "reason": "not his"})
    assert split.status_code == 200
    # The identifier is the strongest of the interaction, which is therefore stored under it, and goes with it.
    assert (await client.delete(BEPPE)).json()["found"] == {
        "documents_of_others": 1,
        "identities": 1,
        "identity_changes": 1,
        "identity_links": 1,
    }
    [left] = await items_at(client, journey_of("crm_id:C-17"))
    assert left["customer"] == {"crm_id": "C-17"}
    assert left["text"] == "C-17 is a seat number"
    assert await traces(database, ["beppe@example.com"]) == {}


async def test_what_was_merged_by_hand_is_erased_together_with_the_reasons(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await store(client, make(customer={"email": "beppe@example.com"}), make(customer={"phone": PHONE}))
    said = {"into": f"phone:{PHONE}", "reason": "Beppe Verdi said so"}
    assert (await client.post(f"{BEPPE}/merge", json=said)).status_code == 200
    assert await traces(database, ["Verdi"]) != {}
    certificate = (await client.delete(BEPPE)).json()
    assert certificate["identifiers"] == {"email": 1, "phone": 1}
    assert await traces(database, ["Verdi", "beppe@example.com", PHONE]) == {}
    acts = [item["act"] for item in await items_at(client, "/v1/audit", subject=f"phone:{PHONE}")]
    assert acts == ["erased", "erasing", "merged"]


async def test_what_others_say_of_themselves_is_left_byte_for_byte(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await parted(client, make)
    own = [make(customer={"email": "beppe@example.com"}, text=f"plain {number}") for number in range(5)]
    await store(client, *own)
    before = [row for row in (await everything(database))["interactions_2026_03"] if "plain" in row]
    await client.delete("/v1/customers/phone:%2B390669821234")
    after = [row for row in (await everything(database))["interactions_2026_03"] if "plain" in row]
    assert len(before) == 5
    assert after == before
