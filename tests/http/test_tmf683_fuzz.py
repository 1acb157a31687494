"""Whatever is sent to the TMF683 routes is answered, in their own words where it is refused."""

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges import database_from, healthy
from support import running

ROOT = "/tmf-api/partyInteraction/v4"
GOOD = {"channel": [{"id": "phone"}], "direction": "inbound", "reason": "question"}
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.dictionaries(
    st.sampled_from([
        "id", "href", "channel", "direction", "reason", "status", "description", "interactionDate", "relatedParty",
        "attachment", "externalIdentifier", "interactionItem", "relatedChannel", "creationDate", "callback", "query",
    ]) | st.text(max_size=5),
    VALUES,
    max_size=5,
)  # fmt: skip
BODIES = st.binary(max_size=60) | st.builds(lambda more: json.dumps(GOOD | more).encode(), MEMBERS)
QUERIES = st.dictionaries(
    st.sampled_from(["id", "channel.id", "fields", "offset", "limit", "relatedParty.id", "reason"])
    | st.text(max_size=6),
    st.text(max_size=10) | st.integers(0, 3).map(str),
    max_size=3,
)


def check(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()
        assert answer.headers["content-type"] == "application/json"
        assert error.keys() == {"code", "reason", "message", "status", "referenceError", "errors"}
        assert error["status"] == str(answer.status_code)
        assert all(isinstance(error[name], str) for name in ("code", "reason", "message", "referenceError"))
        assert answer.status_code not in {400, 422} or error["errors"] or error["code"] != "rejected"


def test_whatever_is_sent_is_answered_in_their_words(server_url: str, template: str) -> None:
    async def explore(url: str) -> None:
        async with running(url) as (_, client):
            loop = asyncio.get_running_loop()
            made = (await client.post(f"{ROOT}/partyInteraction", json=GOOD)).json()

            def send(method: str, path: str, **sent: Any) -> httpx.Response:
                return asyncio.run_coroutine_threadsafe(client.request(method, path, **sent), loop).result(30)

            @settings(max_examples=60)
            @given(BODIES, QUERIES)
            def try_out(body: bytes, query: dict[str, str]) -> None:
                check(posted := send("POST", f"{ROOT}/partyInteraction", content=body))
                if posted.status_code == 201:
                    given_, back = json.loads(body), posted.json()
                    own = {"id", "href", "creationDate"}
                    assert {name: back[name] for name in given_.keys() - own} == {
                        name: value for name, value in given_.items() if name not in own
                    }
                check(send("PATCH", made["href"], content=body))
                check(send("GET", f"{ROOT}/partyInteraction", params=query))
                check(send("GET", made["href"], params={"fields": query.get("fields", "")}))
                check(send("POST", f"{ROOT}/hub", content=body))

            await asyncio.to_thread(try_out)
            assert await healthy(client)

    with database_from(server_url, template) as url:
        asyncio.run(explore(url))
