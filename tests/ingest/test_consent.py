"""Opt-outs that arrive as interactions take consent away, in whatever way and order they are stored."""

import json
from typing import Any

import pytest

from percorso.http.services import Services
from percorso.ingest import enrich
from percorso.ingest.consent import status_of
from percorso.queries import consents, customers
from percorso.queries.consents import Decision
from percorso.storage.database import reading, writing
from support import Make
from writing import Database, Way, count, processes, statuses, take

Item = dict[str, Any]


def opt_out(**members: Any) -> Item:
    return {"channel": "email", "outcome": "unsubscribed", **members}


async def decided(services: Services, channel: str = "email", email: str = "anna@example.com") -> Decision:
    """Whether marketing by a channel is allowed."""
    async with reading(services.engine) as session:
        this = await customers.by_identity(session, services.identifiers.one("email", email).id)
        current = await consents.current(session, this.identity_ids)
    return consents.decide(current, "marketing", channel)


async def patch(services: Services, interaction_id: Any, **members: Any) -> None:
    async with writing(services.engine) as session:
        await enrich.enrich(session, interaction_id, json.dumps(members).encode(), by="t", generation=1, max_bytes=9999)


def test_outcomes_and_the_events_of_emails_speak_and_where_they_disagree_the_denial_counts() -> None:
    for outcome, event, wanted in (
        ("unsubscribed", None, "denied"),
        ("complained", None, "denied"),
        ("subscribed", None, "granted"),
        ("delivered", "unsubscribed", "denied"),
        (None, "complained", "denied"),
        (None, "subscribed", "granted"),
        ("subscribed", "unsubscribed", "denied"),
        ("unsubscribed", "subscribed", "denied"),
        ("subscribed", "opened", "granted"),
        ("opened", "opened", None),
        (None, None, None),
    ):
        assert status_of({"channel": "email", "outcome": outcome, "details": {"event": event}}) == wanted
    assert status_of({"channel": "email", "details": None}) is None
    assert status_of({"channel": "email"}) is None
    assert status_of({"channel": "other", "details": {"event": "unsubscribed"}}) is None
    assert status_of({"channel": "sms", "outcome": "complained", "details": {"event": "x"}}) == "denied"


async def test_an_opt_out_denies_marketing_by_its_channel_and_is_itself_the_evidence(
    services: Services, database: Database, make: Make
) -> None:
    [verdict] = await take(services, make(occurred_at="2026-03-01T10:00:00.1234+01:00", source="mailer", **opt_out()))
    said = await decided(services)
    assert (said.allowed, said.reason) == (False, "denied")
    assert (await decided(services, "sms")).reason == "nothing_said"
    [row] = await database.fetch("SELECT * FROM consents")
    assert row["occurred_at"].isoformat() == "2026-03-01T09:00:00.123400+00:00"
    assert (row["interaction_id"], row["received_at"]) == (verdict.interaction_id, verdict.received_at)
    assert (row["purpose"], row["channel"], row["status"]) == ("marketing", "email", "denied")
    assert (row["lawful_basis"], row["evidence"], row["source"], row["set_by"]) == ("consent", None, "mailer", None)
    assert row["identity_id"] == services.identifiers.one("email", "anna@example.com").id
    # The transaction is that of the interaction.
    assert await database.fetchval("SELECT count(DISTINCT xmin::text) FROM (SELECT xmin FROM interactions UNION ALL "
                                   "SELECT xmin FROM consents) AS stored") == 1  # fmt: skip


async def test_a_subscription_grants_and_what_occurred_last_holds_in_whatever_order_they_arrive(
    services: Services, make: Make
) -> None:
    later = make(channel="email", details={"event": "subscribed"}, occurred_at="2026-03-05T00:00:00Z")
    earlier = make(occurred_at="2026-03-04T00:00:00Z", **opt_out())
    await take(services, later)
    await take(services, earlier)
    assert (await decided(services)).allowed
    await take(services, make(occurred_at="2026-03-06T00:00:00Z", **opt_out(outcome="complained")))
    assert not (await decided(services)).allowed


@pytest.mark.parametrize(("statement_rows", "broken"), [(200, 0), (200, 1), (0, 0)])
async def test_duplicates_and_conflicts_say_nothing_and_a_batch_says_all_that_is_new(
    database_url: str, database: Database, make: Make, statement_rows: int, broken: int
) -> None:
    async with processes(database_url, 1, statement_rows=statement_rows) as [this]:
        known = make(**opt_out(customer={"email": "0@example.com"}))
        new = [
            make(**opt_out(customer={"email": f"{number}@example.com", "phone": f"+3906698{number}"}))
            for number in range(1, 4)
        ]
        plain = make(customer={"email": "9@example.com"})
        assert await statuses(this, known, plain) == ["stored", "stored"]
        conflict = plain | {"outcome": "unsubscribed"}
        told = await statuses(this, known, *new, new[0], conflict, *[{"broken": 1}] * broken)
        assert told == ["duplicate", "stored", "stored", "stored", "duplicate", "conflict", *["rejected"] * broken]
        assert await statuses(this, *new, conflict) == ["duplicate"] * 3 + ["conflict"]
        for number in range(4):
            assert (await decided(this, email=f"{number}@example.com")).reason == "denied"
        assert (await decided(this, "phone", "9@example.com")).reason == "nothing_said"
    assert await count(database, "consents") == 4


@pytest.mark.parametrize("statement_rows", [0, 200])
async def test_an_opt_out_is_stored_with_its_interaction_or_not_at_all(
    database_url: str, database: Database, make: Make, statement_rows: int
) -> None:
    async with Way(database_url) as way, processes(way.url, 1, statement_rows=statement_rows) as [this]:
        for number, cut in enumerate(("before", "during", "after")):
            way.cut = cut  # type: ignore[assignment] # one of the three
            assert await statuses(this, make(**opt_out(customer={"email": f"{number}@example.com"}))) == ["stored"]
        assert way.cuts == 3
    assert await count(database, "interactions") == 3
    assert await count(database, "consents c JOIN interactions i ON i.id = c.interaction_id") == 3
    assert await count(database, "consents") == 3


async def test_a_row_that_postgres_refuses_takes_no_opt_out_of_its_neighbours_with_it(
    services: Services, database: Database, make: Make
) -> None:
    await database.execute(
        "ALTER TABLE interactions ADD CONSTRAINT refusing CHECK (document::text NOT LIKE '%cursed%')"
    )
    items = [make(**opt_out(customer={"email": f"{number}@example.com"})) for number in range(4)]
    items[2]["text"] = "cursed"
    assert await statuses(services, *items) == ["stored", "stored", "rejected", "stored"]
    assert await count(database, "consents") == 3


async def test_an_outcome_that_is_added_later_denies_from_now_on_and_grants_from_when_it_occurred(
    services: Services, database: Database, make: Make
) -> None:
    [sent] = await take(services, make(channel="email", occurred_at="2026-03-01T00:00:00Z"))
    [agreed] = await take(services, make(occurred_at="2026-03-02T00:00:00Z", **opt_out(outcome="subscribed")))
    assert (await decided(services)).allowed
    before = await database.fetchval("SELECT clock_timestamp()")
    await patch(services, sent.interaction_id, outcome="unsubscribed")
    said = await decided(services)
    assert said.decided_by is not None
    assert (said.allowed, said.decided_by.interaction_id) == (False, sent.interaction_id)
    assert said.decided_by.occurred_at >= before
    assert said.decided_by.set_by is None
    [late] = await take(services, make(channel="email", occurred_at="2026-03-03T00:00:00Z"))
    await patch(services, late.interaction_id, outcome="subscribed")
    assert not (await decided(services)).allowed
    assert await database.fetchval(
        "SELECT occurred_at FROM consents WHERE interaction_id = $1", late.interaction_id
    ) == await database.fetchval("SELECT '2026-03-03T00:00:00Z'::timestamptz")
    assert agreed.interaction_id != sent.interaction_id


async def test_a_change_of_anything_else_says_nothing_and_an_outcome_taken_back_leaves_the_consent_as_it_is(
    services: Services, database: Database, make: Make
) -> None:
    [verdict] = await take(services, make(**opt_out()))
    for members in ({"text": "t"}, {"outcome": "complained"}, {"outcome": "opened"}, {"outcome": None}):
        await patch(services, verdict.interaction_id, **members)
    assert await count(database, "consents") == 1
    assert not (await decided(services)).allowed


async def test_the_evidence_may_be_deleted_and_the_consent_stays(services: Services, make: Make) -> None:
    [verdict] = await take(services, make(**opt_out()))
    assert verdict.interaction_id is not None
    async with writing(services.engine) as session:
        await enrich.delete(session, verdict.interaction_id, generation=1)
    said = await decided(services)
    assert said.decided_by is not None
    assert (said.allowed, said.decided_by.interaction_id) == (False, verdict.interaction_id)
