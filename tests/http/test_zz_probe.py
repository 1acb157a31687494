import json, asyncio
from urllib.parse import quote
import httpx, pytest, base64
async def test_probe(client, make):
    async def show(method, url, **k):
        a = await client.request(method, url, **k)
        print(method, url[:110], a.status_code, {k:v for k,v in a.headers.items() if k not in('content-length','content-type')}, a.text[:400]); return a
    await show("POST","/v1/interactions", json=make(customer={"social":"mastodon:юля/x?y#z"}))
    await show("POST","/v1/interactions", json=make(customer={"social":"mastodon:юля/x?y#z"}))
    await show("GET","/v1/customers/"+quote("social:mastodon:юля/x?y#z",safe="")+"/journey?limit=1")
    await show("POST","/v1/interactions", json=[1])
    await show("POST","/v1/interactions", content=b"")
    a = await show("POST","/v1/interactions", json={"source":"x","channel":"fone"})
    await show("GET","/v1/rejected?limit=1")
    await show("GET","/v1/rejected?from=9999-12-31T23:59:59-23:59")
    await show("GET","/v1/rejected?from=0001-01-01T00:00:00%2B14:00")
    await show("GET","/v1/rejected?from=yesterday")
    c = base64.urlsafe_b64encode(b"\x03abcjourney-desc").decode().rstrip("=")
    await show("GET","/v1/customers/"+quote("social:mastodon:юля/x?y#z",safe="")+"/journey?cursor="+c)
    c = base64.urlsafe_b64encode(b"\x08abcdefghtouchpoints").decode().rstrip("=")
    await show("GET","/v1/touchpoints?cursor="+c)
    await show("GET","/v1/interactions/")
    await show("PUT","/v1/touchpoints/a%2Fb", json={"na/me":1, "name": 3})
    await show("GET","/v1/touchpoints/")
    await show("BREW","/v1/interactions")
    await show("GET","/nowhere")
    await show("POST","/v1/keys", json={}, headers={"Authorization":""})
    await show("PUT","/v1/touchpoints/x", json={"channel":1}, headers={"Authorization":""})
    await show("GET","/v1/interactions?limit=1&x=2")
    await show("GET","/v1/interactions?source=1&id=2&id=3")
    await show("POST","/v1/interactions/batch", content=b"a,b", headers={"Content-Type":"text/csv"})
    await show("POST","/v1/interactions/batch", content=b"", headers={"Content-Type":"application/x-ndjson"})
    await show("POST","/v1/interactions/batch", content=b"")
    await show("POST","/v1/interactions/batch", content=b"[")
    await show("GET","/v1/interactions/a/b")
    m = (await client.get("/metrics")).text
    print("\n".join(l for l in m.splitlines() if "http_requests_total" in l or "percorso_interactions" in l))
