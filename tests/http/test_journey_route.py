"""GET /v1/customers/{customer}/journey: filters, order, pages, names and bounds."""

import json
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from typing import Any

import httpx
import pytest

from exchanges import Item, check_problem, ids_at, items_at, journey_of, pointers, store, store_all, walk
from support import Make, running

ANNA = journey_of("email:anna@example.com")


def many(make: Make) -> list[Item]:
    """Twelve interactions that differ in everything that can be filtered."""
    channels = ["phone", "email", "web"]
    return [
        make(
            id=f"i-{number:02}",
            occurred_at=f"2026-03-{number + 1:02}T10:00:00+01:00",
            channel=channels[number % 3],
            kind=f"kind_{number % 4}",
            touchpoint=f"place/{number % 2}",
            function=["sales", "service", None][number % 3],
            direction=["inbound", "outbound"][number // 6],
        )
        for number in range(12)
    ]


FILTERS: dict[str, tuple[list[str], Any]] = {
    "channel": (["phone", "web"], lambda item: item["channel"] in {"phone", "web"}),
    "exclude_channel": (["web"], lambda item: item["channel"] != "web"),
    "touchpoint": (["place/0"], lambda item: item["touchpoint"] == "place/0"),
    "kind": (["kind_1", "kind_2"], lambda item: item["kind"] in {"kind_1", "kind_2"}),
    "function": (["sales"], lambda item: item.get("function") == "sales"),
    "direction": (["outbound"], lambda item: item["direction"] == "outbound"),
    "from": (["2026-03-03T09:00:00Z"], lambda item: item["id"] >= "i-02"),
    "to": (["2026-03-10T09:00:00Z"], lambda item: item["id"] < "i-09"),
}


async def test_every_filter_and_every_two_of_them_narrow_the_journey(client: httpx.AsyncClient, make: Make) -> None:
    items = many(make)
    await store_all(client, items)
    for count in (1, 2, len(FILTERS)):
        for names in combinations(FILTERS, count):
            wanted = [item["id"] for item in items if all(FILTERS[name][1](item) for name in names)]
            params = {name: FILTERS[name][0] for name in names}
            assert await ids_at(client, ANNA, **params, order="asc") == wanted, names
            assert await ids_at(client, ANNA, **params) == wanted[::-1], names


async def test_a_filter_that_nothing_meets_gives_an_empty_page(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    for name, value in {"touchpoint": "nowhere", "kind": "nothing", "channel": "fax", "direction": "none"}.items():
        assert await ids_at(client, ANNA, **{name: value}) == []


async def test_pages_follow_each_other_without_gap_or_repetition(client: httpx.AsyncClient, make: Make) -> None:
    items = many(make)
    await store_all(client, items)
    for limit in (1, 5, 12, 500):
        for order in ("asc", "desc"):
            pages = [page async for page in walk(client, ANNA, order=order, limit=limit)]
            assert all(len(page) == limit for page in pages[:-1])
            ids = [item["id"] for page in pages for item in page]
            assert ids == sorted((item["id"] for item in items), reverse=order == "desc")
            assert len(pages) == -(-12 // limit)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_stay_right_while_interactions_arrive_and_customers_are_joined(
    client: httpx.AsyncClient, make: Make, order: str
) -> None:
    def at(day: int, **members: Any) -> Item:
        return make(id=f"day-{day:02}", occurred_at=f"2026-03-{day:02}T12:00:00Z", **members)

    phone = {"phone": "+39066982"}
    await store_all(client, [at(day) for day in range(10, 22, 2)] + [at(day, customer=phone) for day in (11, 15, 19)])
    seen: list[str] = []
    cursor: str | None = None
    for step in range(20):
        params = {"order": order, "limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = (await client.get(ANNA, params=params)).json()
        seen += [item["id"] for item in answer["items"]]
        cursor = answer["next_cursor"]
        if step == 0:  # seen so far: 10 and 12, or 20 and 18
            await store_all(client, [at(9), at(13), at(17), at(21)])
        if step == 1:  # and now 13, 14 or 17, 16
            joining = {"email": "anna@example.com"} | phone
            await store(client, make(id="join", occurred_at="2026-01-01T00:00:00Z", customer=joining))
        if cursor is None:
            break
    if order == "asc":
        assert seen == [f"day-{day}" for day in (10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)]
    else:
        assert seen == [f"day-{day:02}" for day in (20, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9)] + ["join"]


async def test_the_link_header_leads_through_all_pages_with_the_same_filters(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store_all(client, many(make))
    url = f"{ANNA}?limit=3&channel=phone&channel=web&from=2026-03-02T00:00:00+01:00&kind=kind_0&kind=kind_1&kind=kind_2"
    seen: list[str] = []
    for _ in range(9):
        answer = await client.get(url)
        seen += [item["id"] for item in answer.json()["items"]]
        if "next" not in answer.links:
            break
        url = answer.links["next"]["url"]
        assert url.startswith("/v1/customers/")
    assert seen == ["i-09", "i-08", "i-06", "i-05", "i-02"]


async def test_a_cursor_of_another_list_or_order_is_refused(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, many(make))
    desc = (await client.get(ANNA, params={"limit": 1})).json()["next_cursor"]
    for path, params in (
        (ANNA, {"order": "asc"}),
        ("/v1/touchpoints", {}),
        ("/v1/touchpoints/place%2F0/interactions", {}),
        ("/v1/rejected", {}),
    ):
        document = check_problem(await client.get(path, params=params | {"cursor": desc}), 422, "invalid_request")
        assert pointers(document) == ["/query/cursor"]


async def test_a_forged_cursor_is_refused(client: httpx.AsyncClient, make: Make) -> None:
    for cursor in ("", "x", "%FF", "AAAA", "A2FiY2pvdXJuZXktZGVzYw", "é", "=", "x" * 512, "x" * 513):
        await store(client, make())
        document = check_problem(await client.get(ANNA, params={"cursor": cursor}), 422, "invalid_request")
        assert pointers(document) == ["/query/cursor"]


async def test_an_unchanged_page_is_not_sent_again_and_a_changed_one_is(client: httpx.AsyncClient, make: Make) -> None:
    [receipt] = await store(client, make())
    tags: list[str] = []
    for change in ("none", "another", "enriched"):
        if change == "another":
            await store(client, make())
        if change == "enriched":
            await client.patch(f"/v1/interactions/{receipt['interaction_id']}", json={"status": "completed"})
        fresh = await client.get(ANNA, headers={"If-None-Match": ", ".join(tags)} if tags else {})
        assert fresh.status_code == 200, change
        tag = fresh.headers["etag"]
        same = await client.get(ANNA, headers={"If-None-Match": f'"other", W/{tag}'})
        assert same.status_code == 304
        assert same.content == b""
        assert same.headers["etag"] == tag
        tags.append(tag)
    assert len(set(tags)) == 3


async def test_a_304_still_names_the_next_page(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, many(make))
    fresh = await client.get(ANNA, params={"limit": 3})
    same = await client.get(ANNA, params={"limit": 3}, headers={"If-None-Match": fresh.headers["etag"]})
    assert same.status_code == 304
    assert same.headers["link"] == fresh.headers["link"]


async def test_without_details_the_bulky_members_are_left_out(client: httpx.AsyncClient, make: Make) -> None:
    bulky: Item = {
        "details": {"queue": "q"},
        "text": "t",
        "attachments": [{"url": "u"}],
        "attributes": {"a": 1},
        "source_fields": {"b": 2},
    }
    await store(client, make(topics=["billing"], **bulky))
    [whole] = await items_at(client, ANNA)
    [slim] = await items_at(client, ANNA, details="false")
    assert {name: whole[name] for name in bulky} == bulky
    assert slim == {name: value for name, value in whole.items() if name not in bulky}


async def test_from_is_inclusive_and_to_exclusive_to_the_millisecond(client: httpx.AsyncClient, make: Make) -> None:
    for name in ("000", "001", "002"):
        await store(client, make(id=name, occurred_at=f"2026-03-01T10:00:00.{name}Z"))
    bounds = {"from": "2026-03-01T11:00:00.001+01:00", "to": "2026-03-01T10:00:00.002Z"}
    assert await ids_at(client, ANNA, **bounds) == ["001"]


async def test_a_plus_that_was_not_encoded_is_understood(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(id="a", occurred_at="2026-03-01T10:00:00+01:00"))
    assert len((await client.get(f"{ANNA}?from=2026-03-01T10:00:00+01:00")).json()["items"]) == 1
    assert (await client.get(f"{ANNA}?from=2026-03-01T10:00:00.001+01:00")).json()["items"] == []


async def test_a_bound_that_is_no_moment_is_refused_with_an_example(client: httpx.AsyncClient, make: Make) -> None:
    for moment in (
        "2026-03-01",
        "2026-03-01T10:00:00",
        "1772359200",
        "yesterday",
        "2026-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "",
    ):
        await store(client, make())
        for name in ("from", "to"):
            document = check_problem(await client.get(ANNA, params={name: moment}), 422, "invalid_request")
            assert pointers(document) == [f"/query/{name}"]
            assert "2026-11-20T10:00:00+01:00" in document["errors"][0]["detail"]


async def test_bounds_at_the_ends_of_time_are_taken(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(id="a"))
    bounds = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}
    assert await ids_at(client, ANNA, **bounds) == ["a"]
    assert await ids_at(client, ANNA, **bounds, order="asc") == ["a"]
    assert await ids_at(client, ANNA, to="1969-01-01T00:00:00Z") == []


async def test_an_empty_range_is_refused(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    bounds = {"from": "2026-03-01T10:00:00Z", "to": "2026-03-01T11:00:00+01:00"}
    assert pointers(check_problem(await client.get(ANNA, params=bounds), 422, "invalid_request")) == ["/query/to"]


async def test_a_customer_goes_by_any_name_and_by_every_id_it_ever_had(client: httpx.AsyncClient, make: Make) -> None:
    [first] = await store(client, make(id="a"))
    [second] = await store(client, make(id="b", customer={"crm_id": "C-17"}))
    assert first["customer_id"] != second["customer_id"]
    [third] = await store(client, make(id="c", customer={"email": "anna@example.com", "crm_id": "C-17"}))
    names = [first["customer_id"], second["customer_id"], third["customer_id"].replace("-", "").upper()]
    names += ["email:Anna@Example.COM", "email: anna@example.com ", "crm_id:C-17"]
    for name in names:
        answer = (await client.get(journey_of(name))).json()
        assert [item["id"] for item in answer["items"]] == ["c", "b", "a"], name
        assert answer["customer_id"] == third["customer_id"]


async def test_any_identifier_can_stand_percent_encoded_in_the_path(client: httpx.AsyncClient, make: Make) -> None:
    for number, (kind, value) in enumerate(
        (
            ("social", "twitter:x/y"),
            ("social", "mastodon:юля@пример.рф"),
            ("account_id", "https://shop.example/users/7?tab=orders#top"),
            ("account_id", "50% off & more + <b>"),
            ("account_id", "a%2Fb"),
            ("user_id", ".."),
            ("shop_id", "/journey"),
            ("account_id", "org/journey"),
            ("account_id", "a:b:c"),
            ("account_id", "x" * 512),
        )
    ):
        ids = [f"{number}-a", f"{number}-b"]
        await store_all(client, [make(id=name, customer={kind: value}) for name in ids])
        path = journey_of(f"{kind}:{value}")
        first = await client.get(path, params={"limit": 1})
        assert [item["id"] for item in first.json()["items"]] == ids[1:]
        second = await client.get(first.links["next"]["url"])
        assert [item["id"] for item in second.json()["items"]] == ids[:1]
        customer = await client.get(path.removesuffix("/journey"))
        assert [each["value"] for each in customer.json()["identifiers"]] == [value]


async def test_slashes_need_no_encoding(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(id="a", customer={"social": "twitter:x/y"}))
    assert len((await client.get("/v1/customers/social:twitter:x/y/journey")).json()["items"]) == 1


async def test_an_unknown_customer_is_not_found(client: httpx.AsyncClient) -> None:
    for name in ("email:nobody@example.com", "crm_id:C-18", "d345ea01-9b1c-4f7e-8a55-3f0c2f6a7b88"):
        check_problem(await client.get(journey_of(name)), 404, "unknown_customer")


async def test_what_cannot_be_a_customer_is_told_from_one_that_is_unknown(client: httpx.AsyncClient) -> None:
    for name in ("email:nobody", "phone:12", "phone:066982", "social:anna", "anna", ":", "crm_id:", "x" * 701):
        document = check_problem(await client.get(journey_of(name)), 422, "invalid_request")
        assert pointers(document) == ["/path/customer"]


async def test_a_journey_over_decades_is_whole_and_in_order(client: httpx.AsyncClient, make: Make) -> None:
    years = [1990, 1999, 2005, 2015, 2024, 2025]
    items = [make(id=f"y-{year}", occurred_at=f"{year}-06-15T12:00:00Z") for year in years]
    items += [make(id="y-now", occurred_at=None), make(id="y-2026", occurred_at="2026-11-01T00:00:00Z")]
    for item in items:
        await store(client, item)
    wanted = [f"y-{year}" for year in years] + ["y-2026", "y-now"]
    for limit in (1, 3, 50):
        newest = [item["id"] async for page in walk(client, ANNA, limit=limit) for item in page]
        oldest = [item["id"] async for page in walk(client, ANNA, limit=limit, order="asc") for item in page]
        assert (newest, oldest) == (wanted[::-1], wanted), limit


async def test_a_journey_of_many_identities_over_decades_is_whole_and_in_order(database_url: str, make: Make) -> None:
    names = [{"email": f"anna.{number}@example.com"} for number in range(8)]
    dice = Random(7)
    moments = sorted(
        datetime(2026, 11, 1, tzinfo=UTC) - timedelta(minutes=dice.randrange(60 * 24 * 365 * 30)) for _ in range(90)
    )
    all_of_them = {"email": [name["email"] for name in names]}
    items = [
        make(id=f"m-{n:02}", occurred_at=moment.isoformat(), customer=dice.choice(names) if n else all_of_them)
        for n, moment in enumerate(moments)
    ]
    dice.shuffle(items)
    async with running(database_url, max_identifiers={}) as (_, client):
        await store_all(client, items)
        wanted = [f"m-{n:02}" for n in range(90)]
        path = journey_of("email:anna.5@example.com")
        for limit in (1, 7, 50, 90):
            newest = [item["id"] async for page in walk(client, path, limit=limit) for item in page]
            oldest = [item["id"] async for page in walk(client, path, limit=limit, order="asc") for item in page]
            assert (newest, oldest) == (wanted[::-1], wanted), limit


async def test_interactions_of_the_same_millisecond_keep_one_order_over_pages(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store_all(client, [make(id=f"s-{n}", occurred_at="2026-03-01T00:00:00Z") for n in range(9)])
    newest = [item["id"] async for page in walk(client, ANNA, limit=2) for item in page]
    oldest = [item["id"] async for page in walk(client, ANNA, limit=4, order="asc") for item in page]
    assert sorted(newest) == [f"s-{n}" for n in range(9)]
    assert newest == oldest[::-1]


async def test_a_parameter_that_cannot_be_taken_is_pointed_at(client: httpx.AsyncClient, make: Make) -> None:
    for query, wrong in (
        ("limit=0", "/query/limit"),
        ("limit=501", "/query/limit"),
        ("limit=many", "/query/limit"),
        ("limit=1&limit=2", "/query/limit"),
        ("order=up", "/query/order"),
        ("channel=fone", "/query/channel/0"),
        ("function=none", "/query/function/0"),
        ("details=perhaps", "/query/details"),
        ("channels=phone", "/query/channels"),
        ("a~/b=1", "/query/a~0~1b"),
        ("kind=%00", "/query/kind"),
    ):
        await store(client, make())
        document = check_problem(await client.get(f"{ANNA}?{query}"), 422, "invalid_request")
        assert pointers(document) == [wrong]


async def test_a_page_of_500_is_given_whole(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, [make(text=json.dumps(list(range(200)))) for _ in range(501)])
    page = await client.get(ANNA, params={"limit": 500})
    assert len(page.json()["items"]) == 500
