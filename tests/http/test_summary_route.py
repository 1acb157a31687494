import json
import httpx
from support import FIXTURES
from exchanges import store_all


async def test_show(client: httpx.AsyncClient) -> None:
    for name in ("interactions", "every_channel"):
        items = [json.loads(l) for l in (FIXTURES / f"{name}.ndjson").read_text().splitlines()]
        await store_all(client, items)
    for who in ("crm_id:C-20417", "email:marco.rossi@example.com"):
        a = await client.get(f"/v1/customers/{who}/summary")
        print(json.dumps(a.json(), indent=1))
        a = await client.get(f"/v1/customers/{who}/episodes")
        print(json.dumps(a.json(), indent=1))
