"""POST /v1/interactions/batch: arrays and lines, whole and broken."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import zstandard

from exchanges import NDJSON, Item, check_problem, ids_at, journey_of, pointers
from support import Make, ndjson

PATH = "/v1/interactions/batch"
JOURNEY = journey_of("email:anna@example.com")
COMPRESSIONS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("identity", bytes),
    ("gzip", gzip.compress),
    ("zstd", zstandard.compress),
]
NOTHING = {"received": 0, "stored": 0, "duplicate": 0, "conflict": 0, "rejected": 0, "retry": 0}


def counts(receipt: Item) -> Item:
    return {name: receipt[name] for name in NOTHING if receipt[name]}


async def lines(client: httpx.AsyncClient, body: bytes, **params: str) -> Item:
    answer = await client.post(PATH, content=body, headers=NDJSON, params=params)
    assert answer.status_code == 200, answer.text
    receipt: Item = answer.json()
    assert receipt["received"] == sum(receipt[name] for name in NOTHING if name != "received")
    return receipt


@pytest.mark.parametrize("form", ["array", "lines"])
@pytest.mark.parametrize(("encoding", "compress"), COMPRESSIONS)
async def test_a_batch_is_stored_in_either_form_and_any_encoding(
    client: httpx.AsyncClient, make: Make, form: str, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    items = [make() for _ in range(1200)]
    body = json.dumps(items).encode() if form == "array" else ndjson(*items)
    headers = {"Content-Encoding": encoding} | (NDJSON if form == "lines" else {})
    answer = await client.post(PATH, content=compress(body), headers=headers)
    assert answer.json() == NOTHING | {"received": 1200, "stored": 1200, "results": []}
    assert answer.headers["content-type"] == "application/json"
    assert await ids_at(client, JOURNEY, order="asc", limit=3) == ["event-1", "event-2", "event-3"]


async def test_each_verdict_stands_under_the_items_place_in_the_batch(client: httpx.AsyncClient, make: Make) -> None:
    first = make(id="a")
    await client.post("/v1/interactions", json=first)
    receipt = await lines(
        client,
        ndjson(
            make(id="b"), first, make(id="a", text="other"), {"source": "test"}, make(id="b2"), make(id="b2", kind="x")
        ),
    )
    assert counts(receipt) == {"received": 6, "stored": 2, "duplicate": 1, "conflict": 2, "rejected": 1}
    assert [(each["index"], each["status"]) for each in receipt["results"]] == [
        (1, "duplicate"),
        (2, "conflict"),
        (3, "rejected"),
        (5, "conflict"),
    ]
    duplicate, conflict, rejected, _ = receipt["results"]
    assert duplicate["interaction_id"] == conflict["interaction_id"]
    assert (await client.get(f"/v1/interactions/{conflict['interaction_id']}")).json()["id"] == "a"
    assert sorted(pointers(rejected)) == ["/channel"] or "/customer" in pointers(rejected)
    assert (await client.get(f"/v1/rejected/{rejected['rejection_id']}")).json()["errors"] == rejected["errors"]


@pytest.mark.parametrize("form", ["array", "lines"])
async def test_results_all_names_every_item_in_order(client: httpx.AsyncClient, make: Make, form: str) -> None:
    items = [make(id=f"e-{number}") for number in range(1100)]
    items[700] = {"no": "interaction"}
    body = json.dumps(items).encode() if form == "array" else ndjson(*items)
    answer = await client.post(f"{PATH}?results=all", content=body, headers=NDJSON if form == "lines" else {})
    results = answer.json()["results"]
    assert [each["index"] for each in results] == list(range(1100))
    assert [each["index"] for each in results if each["status"] != "stored"] == [700]
    stored = await client.get(f"/v1/interactions/{results[1099]['interaction_id']}")
    assert stored.json()["id"] == "e-1099"
    assert stored.json()["customer_id"] == results[1099]["customer_id"]


async def test_a_batch_sent_again_is_all_duplicates(client: httpx.AsyncClient, make: Make) -> None:
    body = ndjson(*(make() for _ in range(700)))
    await lines(client, body)
    assert counts(await lines(client, body)) == {"received": 700, "duplicate": 700}


async def test_lines_may_be_blank_end_in_crlf_begin_with_a_mark_and_lack_the_last_newline(
    client: httpx.AsyncClient, make: Make
) -> None:
    good = [json.dumps(make(id=f"e-{number}")).encode() for number in range(4)]
    body = (
        b"\xef\xbb\xbf\r\n" + good[0] + b"\r\n\n  \t\r\n" + good[1] + b"\n" + b"oops\r\n" + good[2] + b"\r\n" + good[3]
    )
    receipt = await lines(client, body)
    assert counts(receipt) == {"received": 5, "stored": 4, "rejected": 1}
    assert [each["index"] for each in receipt["results"]] == [2]
    assert await ids_at(client, JOURNEY) == ["e-3", "e-2", "e-1", "e-0"]


async def test_a_line_that_is_no_json_is_one_rejected_item(client: httpx.AsyncClient, make: Make) -> None:
    body = ndjson(make(id="a")) + b'{"source": "test", "id": "half\n' + ndjson(make(id="b"))
    receipt = await lines(client, body)
    assert counts(receipt) == {"received": 3, "stored": 2, "rejected": 1}
    [result] = receipt["results"]
    assert pointers(result) == [""]
    kept = (await client.get(f"/v1/rejected/{result['rejection_id']}")).json()
    assert kept["payload"] == '{"source": "test", "id": "half'


async def test_an_oversized_line_is_one_rejected_item_of_which_the_beginning_is_kept(
    client: httpx.AsyncClient, make: Make
) -> None:
    body = ndjson(make(id="a"), make(id="large", text="x" * 3_000_000), make(id="b"))
    receipt = await lines(client, body)
    assert counts(receipt) == {"received": 3, "stored": 2, "rejected": 1}
    [result] = receipt["results"]
    assert (result["index"], pointers(result)) == (1, [""])
    kept = (await client.get(f"/v1/rejected/{result['rejection_id']}")).json()
    assert kept["size"] > 3_000_000
    assert kept["truncated"]
    assert len(kept["payload"]) == 65_536


async def test_an_item_of_an_array_that_is_no_json_is_one_rejected_item(client: httpx.AsyncClient, make: Make) -> None:
    a, b = (json.dumps(make(id=name)).encode() for name in "ab")
    answer = await client.post(PATH, content=b"[" + a + b', {"source": tru}, ' + b + b', "text", null, [1]]')
    receipt = answer.json()
    assert counts(receipt) == {"received": 6, "stored": 2, "rejected": 4}
    assert [each["index"] for each in receipt["results"]] == [1, 3, 4, 5]


async def test_an_empty_batch_is_no_error(client: httpx.AsyncClient) -> None:
    for body, headers in ((b"[]", {}), (b" [ ] ", {}), (b"", NDJSON), (b"\r\n\n", NDJSON)):
        answer = await client.post(PATH, content=body, headers=headers)
        assert answer.status_code == 200
        assert answer.json() == NOTHING | {"results": []}


async def test_what_is_no_array_is_malformed_and_nothing_of_it_stored(client: httpx.AsyncClient) -> None:
    for body in (
        b"",
        b"[",
        b"[1,",
        b"[1 2",
        b"[]]",
        b"[] []",
        b"[,]",
        b"[1,]",
        b'["a',
        b"null",
        b'"[]"',
        b"1",
        b"\xff[]",
    ):
        answer = await client.post(PATH, content=body)
        if answer.status_code == 200:  # the separators are right: it is the items that are bad
            assert counts(answer.json()) == {"received": 1, "rejected": 1}
            return
        document = check_problem(answer, 422, "malformed_body")
        assert pointers(document) == [""]
        assert {name: document[name] for name in NOTHING} == NOTHING


async def test_a_truncated_array_stores_nothing_and_says_so(client: httpx.AsyncClient, make: Make) -> None:
    body = json.dumps([make() for _ in range(50)]).encode()[:-30]
    document = check_problem(await client.post(PATH, content=body), 422, "malformed_body")
    assert (document["received"], document["stored"]) == (0, 0)
    answer = await client.get(JOURNEY)
    check_problem(answer, 404, "unknown_customer")


async def test_lines_sent_as_an_array_are_refused_with_the_right_content_type(
    client: httpx.AsyncClient, make: Make
) -> None:
    document = check_problem(await client.post(PATH, content=ndjson(make(), make())), 422, "malformed_body")
    assert "application/x-ndjson" in document["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("count", [20, 3000])
async def test_of_a_compressed_stream_cut_short_every_whole_line_is_stored_and_the_answer_says_how_many(
    client: httpx.AsyncClient, make: Make, encoding: str, count: int
) -> None:
    body = ndjson(*(make(id=f"e-{number}", text=f"{number * 7919 % 10_007}") for number in range(count)))
    if encoding == "gzip":
        compressing = zlib.compressobj(wbits=31)
        sent = compressing.compress(body) + compressing.flush(zlib.Z_SYNC_FLUSH)
    else:
        stream = zstandard.ZstdCompressor().compressobj()
        sent = stream.compress(body) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    answer = await client.post(PATH, content=sent, headers=NDJSON | {"Content-Encoding": encoding})
    document = check_problem(answer, 422, "malformed_body")
    assert (document["received"], document["stored"]) == (count, count)
    found = (await client.get("/v1/customers/email:anna@example.com")).json()
    assert found["interactions"]["total"] == count


async def test_an_unfinished_line_of_a_broken_stream_is_no_item(client: httpx.AsyncClient, make: Make) -> None:
    compressing = zlib.compressobj(wbits=31)
    body = ndjson(make(id="a")) + b'{"source": "te'
    sent = compressing.compress(body) + compressing.flush(zlib.Z_SYNC_FLUSH)
    answer = await client.post(PATH, content=sent, headers=NDJSON | {"Content-Encoding": "gzip"})
    document = check_problem(answer, 422, "malformed_body")
    assert (document["received"], document["stored"], document["rejected"]) == (1, 1, 0)


async def test_an_array_of_10_000_is_taken_and_one_more_refused(client: httpx.AsyncClient) -> None:
    bad = b"[" + b",".join([b"0"] * 10_000) + b"]"
    assert counts((await client.post(PATH, content=bad)).json()) == {"received": 10_000, "rejected": 10_000}
    document = check_problem(await client.post(PATH, content=bad[:-1] + b",0]"), 413, "body_too_large")
    assert "newline-delimited" in document["detail"]
    assert document["received"] == 0


async def test_an_array_over_16_mib_is_too_large_whether_that_was_announced_or_not(client: httpx.AsyncClient) -> None:
    body = b'["' + b"x" * (16 * 1024 * 1024) + b'"]'

    async def crumbs() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1024 * 1024):
            yield body[at : at + 1024 * 1024]

    for content in (body, crumbs()):
        answer = await client.post(PATH, content=content)
        assert "16 MiB" in check_problem(answer, 413, "body_too_large")["detail"]


async def test_compressed_the_limit_is_on_what_comes_out(client: httpx.AsyncClient) -> None:
    body = gzip.compress(b'["' + b"x" * (16 * 1024 * 1024) + b'"]')
    check_problem(await client.post(PATH, content=body, headers={"Content-Encoding": "gzip"}), 413, "body_too_large")


async def test_another_content_type_is_refused_and_the_right_ones_named(client: httpx.AsyncClient) -> None:
    for kind in ("text/csv", "text/plain", "application/xml", "multipart/form-data; boundary=x"):
        answer = await client.post(PATH, content=b"[]", headers={"Content-Type": kind})
        detail = check_problem(answer, 415, "unsupported_encoding")["detail"]
        assert "application/json" in detail
        assert "application/x-ndjson" in detail


async def test_another_content_encoding_is_refused(client: httpx.AsyncClient) -> None:
    for headers in ({}, NDJSON):
        for encoding in ("br", "deflate", "gzip, gzip"):
            answer = await client.post(PATH, content=b"[]", headers=headers | {"Content-Encoding": encoding})
            check_problem(answer, 415, "unsupported_encoding")


async def test_lines_are_known_by_their_other_names(client: httpx.AsyncClient, make: Make) -> None:
    for kind in ("application/ndjson", "application/jsonl", "Application/X-NDJSON; charset=utf-8"):
        answer = await client.post(PATH, content=ndjson(make(), make()), headers={"Content-Type": kind})
        assert counts(answer.json()) == {"received": 2, "stored": 2}


async def test_results_takes_no_other_word(client: httpx.AsyncClient) -> None:
    document = check_problem(await client.post(f"{PATH}?results=some", content=b"[]"), 422, "invalid_request")
    assert pointers(document) == ["/query/results"]
