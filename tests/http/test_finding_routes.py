"""GET /v1/customers finds customers by what is said of them, in pages that stay right."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from exchanges import check_problem, items_at, pointers, store, walk
from following import follow
from percorso.http.services import Services
from support import Make, running

PATH = "/v1/customers"
NOW = datetime.now(UTC).replace(microsecond=0)
Item = dict[str, Any]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    async with running(database_url) as (app, client):
        yield app.state.services, client


def ago(**span: float) -> str:
    """A moment so long ago."""
    return (NOW - timedelta(**span)).isoformat()


def order(name: str, amount: float = 10, currency: str = "EUR") -> Item:
    """An order, as an interaction has it."""
    return {
        "channel": "purchase",
        "details": {"order_id": name, "total": {"amount": amount, "currency": currency}},
    }


@pytest.fixture
async def people(service: tuple[Services, httpx.AsyncClient], make: Make) -> httpx.AsyncClient:
    """Anna complains by phone, Bruno writes and was last here long ago, Carla only browsed."""
    services, client = service
    await store(
        client,
        make(customer={"email": "anna@example.com", "phone": "+39066982"}, kind="complaint", occurred_at=ago(days=3)),
        make(customer={"email": "anna.b@example.com", "crm_id": "C-2"}, channel="email", occurred_at=ago(days=200)),
        make(customer={"cookie_id": "ck-3"}, channel="web", occurred_at=ago(days=20)),
    )
    for customer, said in (
        ("phone:%2B39066982", {"city": "Milano", "tier": 2}),
        (
            "crm_id:C-2",
            {
                "city": "Roma",
                "likes": ["tea", 7],
                "vip": True,
                "share": 0.5,
                "about": {"short": "text"},
                "long": "x" * 8000,
            },
        ),
    ):
        assert (await client.put(f"{PATH}/{customer}/traits", json={"traits": said})).status_code == 200
    await follow(services)
    return client


async def named(client: httpx.AsyncClient, **params: Any) -> list[str]:
    """The first letters of the first identifier of each customer found, in order."""
    return [item["identifiers"][0]["value"] for item in await items_at(client, PATH, **params)]


async def test_customers_come_with_what_is_said_of_them_the_latest_contact_first(people: httpx.AsyncClient) -> None:
    items = await items_at(people, PATH)
    assert [item["channels"] for item in items] == [["phone"], ["web"], ["email"]]
    summary = (await people.get(f"{PATH}/phone:%2B39066982/summary")).json()
    anna = items[0]
    assert [(each["kind"], each["value"]) for each in anna["identifiers"]] == [
        (each["kind"], each["value"])
        for each in (await people.get(f"{PATH}/{anna['customer_id']}")).json()["identifiers"]
    ]
    assert anna["customer_id"] == summary["customer_id"]
    assert anna["first_contact_at"] == summary["first_contact_at"]
    assert anna["last_contact_at"] == summary["last_contact_at"]
    assert anna["interactions"] == summary["interactions"] == 1
    assert anna["relationship"] == summary["relationship"]["state"]
    assert anna["relationship_score"] == summary["relationship"]["score"]
    assert anna["open_complaints"] == summary["complaints"]["open"] == 1
    assert anna["buying"]["purchases"] == summary["buying"]["purchases"] == 0
    assert anna["traits"] == {"city": "Milano", "tier": 2}
    assert anna["rfm"] is None
    assert [item["channels"] for item in await items_at(people, PATH, order="asc")] == [["email"], ["web"], ["phone"]]


ANNA, BRUNO, CARLA = "phone", "email", "web"
"""The people, by their channels."""


FOUND: list[tuple[Item, list[str]]] = [
    ({"identifier": "email:an"}, [BRUNO, ANNA]),
    ({"identifier": "email:ANNA@"}, [ANNA]),
    ({"identifier": "email:b"}, []),
    ({"identifier": "phone:+39 06"}, [ANNA]),
    ({"identifier": "cookie_id:ck"}, [CARLA]),
    ({"identifier": "device_id:ck"}, []),
    ({"trait": "city:Milano"}, [ANNA]),
    ({"trait": "city:Mil"}, []),
    ({"trait": "tier:2"}, [ANNA]),
    ({"trait": "vip:true"}, [BRUNO]),
    ({"trait": "likes:tea"}, [BRUNO]),
    ({"trait": "likes:7"}, [BRUNO]),
    ({"trait": "share:0.5"}, [BRUNO]),
    ({"trait": "about:short"}, []),
    ({"trait": ["city:Milano", "tier:2"]}, [ANNA]),
    ({"trait": ["city:Milano", "tier:3"]}, []),
    ({"last_contact_from": ago(days=20)}, [ANNA, CARLA]),
    ({"last_contact_to": ago(days=20)}, [BRUNO]),
    ({"last_contact_from": ago(days=21), "last_contact_to": ago(days=4)}, [CARLA]),
    ({"last_contact_within": "21d"}, [ANNA, CARLA]),
    ({"last_contact_within": "24h"}, []),
    ({"last_contact_before": "10d"}, [CARLA, BRUNO]),
    ({"last_contact_before": "10d", "last_contact_within": "30d"}, [CARLA]),
    ({"channel": "phone"}, [ANNA]),
    ({"channel": ["phone", "web"]}, [ANNA, CARLA]),
    ({"relationship": "solid"}, [CARLA, BRUNO]),
    ({"relationship": ["watch", "cracked"]}, [ANNA]),
    ({"open_complaints": "true"}, [ANNA]),
    ({"open_complaints": "false"}, [CARLA, BRUNO]),
    ({"rfm": "champions"}, []),
    ({"identifier": "email:an", "channel": "phone"}, [ANNA]),
    ({"channel": "phone", "trait": "city:Roma"}, []),
]


async def test_filters_narrow_and_all_must_hold(people: httpx.AsyncClient) -> None:
    for params, found in FOUND:
        items = await items_at(people, PATH, **params)
        assert [item["channels"] for item in items] == [[channel] for channel in found], params


async def test_an_identifier_finds_customers_that_have_no_profile_yet(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    await store(
        client,
        make(customer={"email": ["an@example.com", "an2@example.com"]}),
        make(customer={"email": "b@example.com"}),
    )
    [item] = await items_at(client, PATH, identifier="email:an")
    assert {each["value"] for each in item["identifiers"]} == {"an@example.com", "an2@example.com"}
    assert all(value is None for name, value in item.items() if name not in {"customer_id", "identifiers"})
    answer = (await client.get(PATH)).json()
    assert answer["items"] == []
    assert answer["as_of"] is None
    assert await items_at(client, PATH, identifier="email:an", channel="phone") == []
    before = datetime.now(UTC)
    await follow(services)
    answer = (await client.get(PATH)).json()
    assert len(answer["items"]) == 2
    assert datetime.fromisoformat(answer["as_of"]) >= before - timedelta(milliseconds=1)
    await store(client, make())
    behind = (await client.get(PATH)).json()["as_of"]
    assert before <= datetime.fromisoformat(behind) <= datetime.now(UTC)
    assert (await client.get(PATH)).json()["as_of"] == behind


async def test_pages_have_each_customer_once_while_others_come_and_go(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    # Three at a time share the moment of their last contact.
    await store(
        client,
        *(make(customer={"crm_id": f"C-{n:02}"}, occurred_at=ago(days=10 + n // 3)) for n in range(12)),
    )
    await follow(services)
    for params in ({"order": "desc"}, {"order": "asc"}, {"identifier": "crm_id:C-"}):
        seen: list[str] = []
        pages = 0
        async for items in walk(client, PATH, limit=5, **params):
            seen += [item["identifiers"][0]["value"] for item in items]
            await store(client, make(customer={"crm_id": f"A-{pages}-{'-'.join(params.values())}"}))
            await follow(services)
            pages += 1
        assert pages >= 3, params
        known = [name for name in seen if name.startswith("C-")]
        assert len(known) == len(set(known)) == 12, params
        if "identifier" in params:
            assert seen == sorted(known)


async def test_those_without_any_contact_left_come_after_all_others(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    receipts = await store(client, *(make(customer={"crm_id": f"C-{n}"}) for n in range(4)))
    for receipt in receipts[:2]:
        await client.delete(f"/v1/interactions/{receipt['interaction_id']}")
    await follow(services)
    for order_, contacts in (("desc", [1, 1, 0, 0]), ("asc", [0, 0, 1, 1])):
        pages = [items async for items in walk(client, PATH, limit=1, order=order_)]
        assert [item["interactions"] for [item] in pages] == contacts
    assert len(await items_at(client, PATH, last_contact_to=ago(days=0))) == 2
    assert [item["last_contact_at"] for item in await items_at(client, PATH, order="asc", limit=1)] == [None]


async def test_a_next_page_is_linked_with_the_same_filters(people: httpx.AsyncClient) -> None:
    answer = await people.get(f"{PATH}?relationship=solid&relationship=watch&relationship=cracked&limit=2")
    following = await people.get(answer.links["next"]["url"])
    assert [item["channels"] for item in following.json()["items"]] == [["email"]]
    assert "next" not in following.links


async def test_buyers_are_classed_by_the_fifth_of_all_buyers_that_they_fall_in(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    # The higher the number, the later, the more often and the more.
    for buyer in range(5):
        for purchase in range(buyer + 1):
            at = ago(days=100 - 20 * buyer, minutes=purchase)
            await store(
                client,
                make(customer={"crm_id": f"C-{buyer}"}, occurred_at=at, **order(f"{buyer}-{purchase}", 10 * buyer + 1)),
            )
    await store(client, make(customer={"crm_id": "none"}))
    await follow(services)
    buyers = await items_at(client, PATH, identifier="crm_id:C-")
    scores = [[item["buying"][name] for name in ("recency", "frequency", "monetary")] for item in buyers]
    assert scores == [[n, n, n] for n in range(1, 6)]
    assert [item["rfm"] for item in buyers] == ["lost", "hibernating", "needs_attention", "loyal", "champions"]
    assert await named(client, rfm="champions") == ["C-4"]
    assert await named(client, rfm=["lost", "loyal"]) == ["C-3", "C-0"]
    # Who was last is first now, and all others fall behind.
    await store(
        client, *(make(customer={"crm_id": "C-0"}, occurred_at=ago(minutes=n), **order(f"x{n}", 500)) for n in range(9))
    )
    await follow(services)
    assert await named(client, rfm="champions") == ["C-0"]
    assert [item["rfm"] for item in await items_at(client, PATH, identifier="crm_id:C-")][1:] == [
        "lost", "hibernating", "needs_attention", "loyal",
    ]  # fmt: skip


async def test_money_is_compared_within_a_currency_and_fewer_than_five_buyers_have_no_fifths(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    services, client = service
    for buyer in range(4):
        await store(
            client, make(customer={"crm_id": f"C-{buyer}"}, occurred_at=ago(days=buyer), **order(f"e{buyer}", 100))
        )
    await follow(services)
    assert {item["rfm"] for item in await items_at(client, PATH)} == {None}
    await store(client, make(customer={"crm_id": "C-4"}, occurred_at=ago(days=4), **order("u", 1_000_000, "JPY")))
    await follow(services)
    items = await items_at(client, PATH, identifier="crm_id:C-")
    assert [item["buying"]["monetary"] for item in items] == [None] * 5
    assert [item["buying"]["frequency"] for item in items] == [1] * 5
    assert [item["rfm"] for item in items] == ["new", "promising", "about_to_sleep", "hibernating", "lost"]


REFUSED = [
    ("identifier=anna", "/query/identifier"),
    ("identifier=email:", "/query/identifier"),
    ("identifier=email:%20", "/query/identifier"),
    ("identifier=Mail:an", "/query/identifier"),
    ("identifier=phone:06", "/query/identifier"),
    ("identifier=email:a&identifier=email:b", "/query/identifier"),
    ("identifier=email:%00", "/query/identifier"),
    (f"identifier=email:{'a' * 400}", "/query/identifier"),
    ("trait=city", "/query/trait/0"),
    ("trait=a:b&trait=:Milano", "/query/trait/1"),
    ("&".join(f"trait=a:{n}" for n in range(31)), "/query/trait"),
    ("last_contact_from=yesterday", "/query/last_contact_from"),
    ("last_contact_from=2026-01-02T00:00:00Z&last_contact_to=2026-01-02T00:00:00Z", "/query/last_contact_to"),
    ("last_contact_within=90", "/query/last_contact_within"),
    ("last_contact_within=0d", "/query/last_contact_within"),
    ("last_contact_within=10d&last_contact_before=240h", "/query/last_contact_before"),
    ("channel=telepathy", "/query/channel/0"),
    ("relationship=fine", "/query/relationship/0"),
    ("rfm=best", "/query/rfm/0"),
    ("open_complaints=perhaps", "/query/open_complaints"),
    ("order=latest", "/query/order"),
    ("order=asc&identifier=email:an", "/query/order"),
    ("segment=No", "/query/segment"),
    ("limit=0", "/query/limit"),
    ("limit=501", "/query/limit"),
    ("cursor=nonsense", "/query/cursor"),
    ("sort=name", "/query/sort"),
]


async def test_what_cannot_be_asked_is_refused_with_a_pointer(client: httpx.AsyncClient) -> None:
    for query, pointer in REFUSED:
        document = check_problem(await client.get(f"{PATH}?{query}"), 422, "invalid_request")
        assert pointers(document) == [pointer], query


async def test_a_cursor_is_good_for_its_own_order_only(people: httpx.AsyncClient) -> None:
    cursors = {
        name: (await people.get(f"{PATH}?limit=1&{query}")).json()["next_cursor"]
        for name, query in (("desc", ""), ("asc", "order=asc"), ("identifier", "identifier=email:an"))
    }
    for name, cursor in cursors.items():
        for query in ("order=desc", "order=asc", "identifier=email:an"):
            answer = await people.get(f"{PATH}?limit=1&{query}&cursor={cursor}")
            if name in query:
                assert answer.status_code == 200
            else:
                assert pointers(check_problem(answer, 422, "invalid_request")) == ["/query/cursor"]


async def test_a_cursor_holds_no_identifier_and_says_so_where_that_was_erased(
    people: httpx.AsyncClient, database: Any
) -> None:
    cursor = (await people.get(f"{PATH}?limit=1&identifier=email:an")).json()["next_cursor"]
    await database.execute("DELETE FROM identities WHERE value = 'anna.b@example.com'")
    document = check_problem(await people.get(f"{PATH}?identifier=email:an&cursor={cursor}"), 422, "invalid_request")
    assert pointers(document) == ["/query/cursor"]


async def test_cursors_that_nobody_gave_are_refused_or_harmless(people: httpx.AsyncClient) -> None:
    from percorso.queries import cursor  # noqa: PLC0415

    for position in (b"\x7f" + b"\xff" * 23, b"\x80" + b"\0" * 23, b"\0" * 24):
        made = cursor.encode(position, list_="customers-desc")
        assert (await people.get(f"{PATH}?cursor={made}")).status_code in {200, 422}


@pytest.mark.parametrize("last", ["z", "\ud7ff", "\U0001f600", "\U0010ffff"])
async def test_a_beginning_may_end_with_any_character(client: httpx.AsyncClient, make: Make, last: str) -> None:
    for value in (f"a{last}", f"a{last}b", f"a{last}\U0010ffff", "a", "b"):
        await store(client, make(customer={"crm_id": value}))
    found = [item["identifiers"][0]["value"] for item in await items_at(client, PATH, identifier=f"crm_id:a{last}")]
    assert found == [f"a{last}", f"a{last}b", f"a{last}\U0010ffff"]
    await store(client, make(customer={"crm_id": f"{last}x"}))
    assert await named(client, identifier=f"crm_id:{last}") == [f"{last}x"]


async def test_identifiers_shown_are_few_and_the_strong_ones_come_first(
    service: tuple[Services, httpx.AsyncClient], make: Make
) -> None:
    _, client = service
    await store(client, *(make(customer={"email": "a@example.com", "cookie_id": f"c{n}"}) for n in range(25)))
    [item] = await items_at(client, PATH, identifier="email:a@")
    assert len(item["identifiers"]) == 20
    assert item["identifiers"][0]["kind"] == "email"
