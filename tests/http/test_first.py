async def test_an_interaction_is_stored_and_read_back(client, make) -> None:
    r = await client.post("/v1/interactions", json=make())
    assert r.status_code == 201, r.text
    r = await client.get("/v1/customers/email:anna@example.com/journey")
    assert r.status_code == 200, r.text
    assert len(r.json()["items"]) == 1
