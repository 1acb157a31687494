"""Touchpoints that are one: merged and parted again, with all that happened there, and no interaction changed."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from test_finding_plans import most_rows
from test_statements import OTHERS, plan_of, statements_read

from exchanges import check_problem, ids_at, items_at, journey_of, pointers, store, store_all, walk
from percorso.http.services import Services
from percorso.queries import touchpoints
from percorso.storage.database import reading
from support import Make, running
from writing import Database

PATH = "/v1/touchpoints"
ANNA = journey_of("email:anna@example.com")
WHY = "One line under two names."


async def merge(client: httpx.AsyncClient, slug: str, into: str) -> dict[str, Any]:
    answer = await client.post(f"{PATH}/{slug}/merge", json={"into": into, "reason": WHY})
    assert answer.status_code == 200, answer.text
    merged: dict[str, Any] = answer.json()
    return merged


async def unmerge(client: httpx.AsyncClient, slug: str) -> dict[str, Any]:
    answer = await client.post(f"{PATH}/{slug}/unmerge", json={"reason": "They are two."})
    assert answer.status_code == 200, answer.text
    parted: dict[str, Any] = answer.json()
    return parted


async def test_the_history_of_a_merged_touchpoint_follows_and_returns_to_it_exactly(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    slugs = ["line", "hotline", "shop"]
    await store_all(client, [make(id=f"{slug}-{n}", touchpoint=slug) for n in range(3) for slug in slugs])
    before = await database.fetch("SELECT * FROM interactions ORDER BY id")
    alone = {slug: await ids_at(client, f"{PATH}/{slug}/interactions") for slug in slugs}
    document = await merge(client, "hotline", "line")
    assert (document["slug"], document["asked_for"], document["merged"]) == ("line", "hotline", ["hotline"])
    await store(client, make(id="later", touchpoint="hotline"))
    together = ["later", "hotline-2", "line-2", "hotline-1", "line-1", "hotline-0", "line-0"]
    for slug in ("line", "hotline"):
        assert await ids_at(client, f"{PATH}/{slug}/interactions") == together
        assert await ids_at(client, f"{PATH}/{slug}/interactions", order="asc", limit=7) == together[::-1]
        assert await ids_at(client, ANNA, touchpoint=slug) == together
        read = (await client.get(f"{PATH}/{slug}")).json()
        assert (read["slug"], read["asked_for"], read["merged_into"]) == ("line", slug, None)
    assert await ids_at(client, ANNA, touchpoint="shop") == alone["shop"]
    [item] = await items_at(client, ANNA, touchpoint="line", limit=1)
    assert item["touchpoint"] == "hotline"
    listed = await items_at(client, PATH)
    assert sorted((each["slug"], each["merged"]) for each in listed) == [("line", ["hotline"]), ("shop", [])]
    parted = await unmerge(client, "hotline")
    assert (parted["slug"], parted["merged_into"], parted["merged"]) == ("hotline", None, [])
    for slug in slugs:
        there = await ids_at(client, f"{PATH}/{slug}/interactions")
        assert there == (["later"] if slug == "hotline" else []) + alone[slug]
        assert await ids_at(client, ANNA, touchpoint=slug) == there
    await client.delete(f"/v1/interactions/{(await items_at(client, ANNA, limit=1))[0]['interaction_id']}")
    assert await database.fetch("SELECT * FROM interactions ORDER BY id") == before


async def test_who_merged_and_parted_when_and_why_is_kept_and_audited(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await store_all(client, [make(touchpoint=slug) for slug in ("line", "hotline")])
    await merge(client, "hotline", "line")
    await merge(client, "hotline", "line")
    await unmerge(client, "hotline")
    for slug in ("line", "hotline"):
        changes = (await client.get(f"{PATH}/{slug}")).json()["changes"]
        assert [(each["slug"], each["into"], each["what"], each["by"], each["reason"]) for each in changes] == [
            ("hotline", "line", "unmerged", "bootstrap", "They are two."),
            ("hotline", "line", "merged", "bootstrap", WHY),
        ]
        assert changes[0]["at"] > changes[1]["at"]
    ids = {row["slug"]: row["touchpoint_id"] for row in await database.fetch("SELECT * FROM touchpoints")}
    logged = await database.fetch("SELECT act, actor, details::text AS details FROM audit_log ORDER BY seq")
    acts = [(row["act"], row["actor"]) for row in logged if row["act"] != "read"]
    assert acts == [("touchpoint_merged", "bootstrap"), ("touchpoint_unmerged", "bootstrap")]
    for row in logged:
        details = json.loads(row["details"])
        assert len(details.pop("reason")) == 64
        assert details == {"touchpoint": ids["hotline"], "into": ids["line"]}


async def test_what_cannot_be_merged_or_parted_says_why(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, [make(touchpoint=slug) for slug in ("a", "b", "c")])
    await merge(client, "a", "b")
    why = {"reason": WHY}
    for slug, into, says in (("b", "a", "count"), ("b", "b", "count"), ("a", "c", "merged into b")):
        answer = await client.post(f"{PATH}/{slug}/merge", json={"into": into} | why)
        assert says in check_problem(answer, 409, "cannot_merge_touchpoints")["detail"]
    check_problem(await client.post(f"{PATH}/b/unmerge", json=why), 409, "cannot_merge_touchpoints")
    check_problem(await client.post(f"{PATH}/none/unmerge", json=why), 404, "not_found")
    check_problem(await client.post(f"{PATH}/none/merge", json={"into": "a"} | why), 404, "not_found")
    for body, wrong in (
        ({"into": "none"} | why, ["/into"]),
        ({"into": "a"}, ["/reason"]),
        (why, ["/into"]),
        ({"into": "a", "reason": ""}, ["/reason"]),
        ({"into": 1, "by": "x"} | why, ["/into", "/by"]),
    ):
        document = check_problem(await client.post(f"{PATH}/c/merge", json=body), 422, "invalid_request")
        assert sorted(pointers(document)) == sorted(wrong)
    assert {item["slug"] for item in await items_at(client, PATH)} == {"b", "c"}


def groups_of(joined: dict[str, str], slugs: list[str]) -> dict[str, str]:
    """What each slug counts as, where all that they were merged into leads."""
    found = {}
    for slug in slugs:
        end = slug
        while end in joined:
            end = joined[end]
        found[slug] = end
    return found


async def test_after_any_merges_and_partings_the_groups_are_what_the_remaining_merges_say(
    database_url: str, make: Make
) -> None:
    slugs = [f"t-{number}" for number in range(8)]
    chance = random.Random(5)
    async with running(database_url) as (app, client):
        services: Services = app.state.services
        await store_all(client, [make(id=slug, touchpoint=slug) for slug in slugs])
        joined: dict[str, str] = {}
        for _ in range(120):
            slug, into = chance.sample(slugs, 2)
            ends = groups_of(joined, slugs)
            if slug in joined and chance.random() < 0.7:
                await unmerge(client, slug)
                del joined[slug]
            else:
                answer = await client.post(f"{PATH}/{slug}/merge", json={"into": into, "reason": WHY})
                may = joined.get(slug) == into or (slug not in joined and ends[into] != slug)
                assert answer.status_code == (200 if may else 409)
                if may:
                    joined[slug] = into
            ends = groups_of(joined, slugs)
            async with reading(services.engine) as session:
                of = {slug: (await touchpoints.by_slug(session, slug))["touchpoint_id"] for slug in slugs}
                assert await touchpoints.groups(session) == {
                    of[slug]: of[end] for slug, end in ends.items() if slug != end
                }
                for each in slugs:
                    ids = await touchpoints.ids_of(session, each)
                    assert ids[0] == of[ends[each]]
                    assert sorted(ids) == sorted(of[other] for other in slugs if ends[other] == ends[each])
        for slug in slugs:
            assert set(await ids_at(client, f"{PATH}/{slug}/interactions")) == {
                other for other in slugs if ends[other] == ends[slug]
            }


async def test_the_registry_is_narrowed_to_what_nobody_has_described(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, [make(touchpoint=slug) for slug in ("a", "b", "c", "d")])
    await client.put(f"{PATH}/b", json={"name": "B"})
    await merge(client, "c", "a")
    for narrowed, slugs in (
        ({"discovered": "true"}, ["a", "d"]),
        ({"discovered": "false"}, ["b"]),
        ({}, ["a", "b", "d"]),
    ):
        pages = walk(client, PATH, limit=1, **narrowed)
        assert sorted([item["slug"] async for page in pages for item in page]) == slugs
    document = check_problem(await client.get(PATH, params={"discovered": "maybe"}), 422, "invalid_request")
    assert pointers(document) == ["/query/discovered"]


async def test_a_merged_touchpoint_is_described_for_when_it_is_parted(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, [make(touchpoint=slug) for slug in ("a", "b")])
    await merge(client, "a", "b")
    said = (await client.put(f"{PATH}/a", json={"name": "A"})).json()
    assert (said["slug"], said["name"], said["merged_into"]) == ("a", "A", "b")
    assert (await client.get(f"{PATH}/a")).json()["name"] is None
    assert (await unmerge(client, "a"))["name"] == "A"


async def test_pages_of_merged_touchpoints_read_no_more_than_a_page_of_each(
    database_url: str, database: Database, make: Make
) -> None:
    async with running(database_url) as (app, client):
        now = datetime.now(UTC)
        months = [(now - timedelta(days=28 * number)).isoformat() for number in range(26)]
        await store_all(client, [make(touchpoint=slug, occurred_at=at) for at in months for slug in ("a", "b", "c")])
        await database.execute(OTHERS, 24, 1500)
        many = await database.fetchval("SELECT touchpoint_id FROM touchpoints WHERE slug = 'b'")
        await database.execute("UPDATE interactions SET touchpoint_id = $1 WHERE touchpoint_id > 1020", many)
        for slug in ("a", "b"):
            await merge(client, slug, "c")
        await database.execute("VACUUM ANALYZE interactions, touchpoints")
        seen: list[str] = []
        async for page in walk(client, f"{PATH}/a/interactions", limit=50):
            seen += [item["interaction_id"] for item in page]
            if len(seen) >= 300:
                break
        assert len(set(seen)) == len(seen) >= 300
        assert seen == sorted(seen, reverse=True)
        async with statements_read(app) as statements:
            assert (await client.get(f"{PATH}/a/interactions?limit=20")).status_code == 200
        [hot] = [each for each in statements if "FROM interactions" in each[0]]
        assert len(statements) <= 3
        for generic in (False, True):
            plan = await plan_of(database, hot, generic=generic)
            assert "Seq Scan on interactions" not in plan
            assert "touchpoint_id_id_idx" in plan
            # 19,000 are of one of the three; a page has 20, and one more of each is looked at.
            assert most_rows(plan) <= 3 * 21 + 24, plan
