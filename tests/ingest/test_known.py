"""What a process knows to be stored stays bounded, and takes little room."""

import tracemalloc
from itertools import pairwise

from asyncpg.pgproto.pgproto import UUID

from percorso.http.services import Services
from percorso.ingest.identity import Identifiers
from percorso.ingest.known import Known, trim
from support import Make
from writing import statuses


def test_what_is_known_stays_bounded_and_forgets_the_oldest() -> None:
    known = {number: number for number in range(100)}
    trim(known, 100)
    assert len(known) == 100
    known[100] = 100
    trim(known, 100)
    assert len(known) <= 100
    assert 0 not in known
    assert 100 in known


async def test_what_is_remembered_of_an_identity_is_there_once(one_lane: Services, make: Make) -> None:
    both = {"email": "anna@example.com", "phone": "+39066982"}
    for customer in (both, {"crm_id": "C-1"}):
        assert await statuses(one_lane, make(customer=customer)) == ["stored"]
    many = [make(customer={"email": f"c{number}@example.com", "user_id": f"U-{number}"}) for number in range(300)]
    assert set(await statuses(one_lane, *many)) == {"stored"}  # copied
    known = one_lane.writer._known  # noqa: SLF001 - there is no other way to look
    remembered = {identity: identity for identity in known.customers}
    email, phone, crm = (one_lane.identifiers.one(kind, value).id for kind, value in (*both.items(), ("crm_id", "C-1")))
    for identity in (email, phone, crm):
        assert remembered[identity] is identity
    assert known.customers[crm] is crm
    assert known.customers[email] is known.customers[phone]
    assert known.customers[email] in (email, phone)
    assert len(remembered) == 603
    assert all(remembered[customer] is customer for customer in known.customers.values())


def test_a_link_is_known_by_both_its_ends() -> None:
    known = Known(10, 1)
    a, b, c = (UUID(bytes([number]) * 16) for number in (1, 2, 3))
    known.learn(1, {}, [(a, b)])
    assert known.has_link(UUID(a.bytes), UUID(b.bytes))
    assert not known.has_link(a, c)
    assert not known.has_link(b, c)


def test_two_kinds_may_have_the_same_value() -> None:
    identifiers = Identifiers(b"salt", None, 100)
    for _ in range(2):
        account, user = identifiers.one("account_id", "7"), identifiers.one("user_id", "7")
        [first, second] = identifiers.of({"user_id": "7", "account_id": "7"})
        assert (first, second) == (account, user)
        assert (account.kind, user.kind) == ("account_id", "user_id")
        assert account.id != user.id
    assert identifiers.one("account_id", "7") is account
    assert identifiers.one("user_id", "7") is user


def test_an_identity_is_remembered_in_few_bytes() -> None:
    count = 20_000
    values = [f"cliente.{number:06}@example.com" for number in range(count)]
    identifiers, known = Identifiers(b"salt", None, count), Known(count, 1)
    tracemalloc.start()
    try:
        made = [identifiers.one("email", value).id for value in values]
        del values
        known.learn(1, {identity: identity for identity in made}, pairwise(made))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Three tables, an id with its hash, an identifier, both ends of a link; the value that was given is not copied.
    assert held / count < 400
