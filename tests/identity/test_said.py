"""What holds of a customer is a pure function of what was said of its identities, in whatever order it arrived."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from percorso.http.services import Services
from percorso.ingest import say
from percorso.queries import consents, customers, traits
from percorso.storage import consents as said_consents
from percorso.storage import traits as said_traits
from percorso.storage.consents import Status
from percorso.storage.database import reading, writing
from writing import take

KINDS: Final = ("crm_id", "user_id", "tax_id")
NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)

_example = count()


class Trait(NamedTuple):
    """On a day, of an identity."""

    kind: str
    day: int
    name: str
    value: int | None


class Consent(NamedTuple):
    """On a day, of an identity; `by_interaction`: not by hand."""

    kind: str
    day: int
    channel: str
    status: Status
    by_interaction: bool


class Link(NamedTuple):
    """Two identities are seen together."""

    kinds: tuple[str, ...]


Said = Trait | Consent | Link

_kinds = st.sampled_from(KINDS)
_traits = st.builds(Trait, _kinds, st.integers(0, 20), st.sampled_from("abc"), st.none() | st.integers(0, 9))
_days = st.integers(0, 4)
_statuses: Final = st.sampled_from(["granted", "denied"])
_by_hand = st.builds(Consent, _kinds, _days, st.sampled_from(["any", "email", "sms"]), _statuses, st.just(value=False))
_by_interaction = st.builds(Consent, _kinds, _days, st.sampled_from(["email", "sms"]), _statuses, st.just(value=True))


def day(number: int) -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)


def same_moment(said: Trait) -> tuple[str, int]:
    """Of two of these at the same moment the order of arrival decides, so there is one of each."""
    return said.name, said.day


def expected_traits(said: Sequence[Trait]) -> dict[str, int]:
    last = {each.name: each for each in sorted(said, key=lambda each: each.day)}
    return {name: each.value for name, each in last.items() if each.value is not None}


def expected_decision(said: Sequence[Consent], channel: str) -> bool:
    """Whether the last day on which something was said of the channel, or of all, no one said no."""
    speaking = [each for each in said if each.channel in {channel, "any"}]
    last = max((each.day for each in speaking), default=None)
    return last is not None and all(each.status == "granted" for each in speaking if each.day == last)


@settings(max_examples=50)
@given(
    data=st.data(),
    said=st.lists(_traits, max_size=8, unique_by=same_moment),
    agreed=st.lists(_by_hand | _by_interaction, max_size=8),
)
async def test_any_order_of_arrival_before_and_after_customers_are_joined_ends_in_the_same(
    services: Services, data: st.DataObject, said: list[Trait], agreed: list[Consent]
) -> None:
    example = next(_example)
    numbers = count()
    once: list[Said] = [*said, *agreed, Link(KINDS[:2]), Link(KINDS[1:])]
    repeated = data.draw(st.lists(st.sampled_from(once), max_size=3))
    identities = {kind: services.identifiers.one(kind, f"{kind}/{example}").id for kind in KINDS}

    async def see(*kinds: str, **members: Any) -> None:
        item = {"source": f"s{example}", "id": str(next(numbers)), "channel": "web"} | members
        [verdict] = await take(services, item | {"customer": {kind: f"{kind}/{example}" for kind in kinds}})
        assert verdict.status in {"stored", "duplicate"}

    async def arrive(one: Said) -> None:
        if isinstance(one, Link):
            await see(*one.kinds)
        elif isinstance(one, Consent) and one.by_interaction:
            outcome = {"granted": "subscribed", "denied": "unsubscribed"}[one.status]
            # What is repeated is the same interaction.
            name = f"{one}"
            await see(one.kind, id=name, channel=one.channel, outcome=outcome, occurred_at=day(one.day).isoformat())
        else:
            identity = identities[one.kind]
            async with writing(services.engine) as session:
                if isinstance(one, Trait):
                    value = None if one.value is None else json.dumps(one.value)
                    trait = said_traits.Trait(identity, one.name, value, day(one.day), "hand", NOW, "t")
                    await say.traits(session, identity, [trait], at=datetime.now(UTC), generation=1)
                else:
                    consent = said_consents.Consent(
                        identity, "marketing", one.channel, one.status, day(one.day), None, None, None, "hand", NOW, "t"
                    )
                    await say.consents(session, identity, [consent], at=datetime.now(UTC), generation=1)

    for kind in KINDS:
        await see(kind)
    for one in data.draw(st.permutations([*once, *repeated])):
        await arrive(one)

    async with reading(services.engine) as session:
        for identity in identities.values():
            this = await customers.by_identity(session, identity)
            assert len(this.identities) == len(KINDS)
            holds = await traits.current(session, this.identity_ids)
            assert {each.name: json.loads(each.value or "") for each in holds} == expected_traits(said)
            current = await consents.current(session, this.identity_ids)
            for channel in ("email", "sms", "phone"):
                decision = consents.decide(current, "marketing", channel)
                assert decision.allowed == expected_decision(agreed, channel)
                spoken = any(each.channel in {channel, "any"} for each in agreed)
                assert (decision.reason == "nothing_said") == (decision.decided_by is None) == (not spoken)
            all_ = await consents.page(session, this.identity_ids, purpose=None, channel=None, limit=99, after=None)
            assert len(all_.items) == len(set(agreed))
            spoken_traits = await traits.page(session, this.identity_ids, name=None, limit=99, after=None)
            assert len(spoken_traits.items) == len(said)
