"""Ids are laid out as their docstring says, and what is read from them is what went in."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

from asyncpg.pgproto.pgproto import UUID
from hypothesis import given
from hypothesis import strategies as st

from percorso import ids
from percorso.storage.partitions import months_of

SALT = b"s" * 32
MOST_MS = (1 << 48) - 1
times = st.integers(0, MOST_MS)
sixteen = st.binary(min_size=16, max_size=16)


@given(ms=times, identity=sixteen, key=sixteen)
def test_an_id_holds_time_identity_and_key_where_it_says(ms: int, identity: bytes, key: bytes) -> None:
    made = uuid.UUID(bytes=ids.interaction_id(ms, identity, key))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    bits = f"{made.int:0128b}"
    assert int(bits[:48], 2) == ms == ids.occurred_ms(made.bytes)
    assert bits[52:64] == f"{int.from_bytes(key[:2], 'big'):016b}"[4:]
    assert bits[66:96] == f"{int.from_bytes(identity, 'big'):0128b}"[:30]
    assert bits[96:] == f"{int.from_bytes(key[2:6], 'big'):032b}"


@given(one=st.tuples(times, sixteen, sixteen), other=st.tuples(times, sixteen, sixteen))
def test_ids_are_ordered_as_their_times_are(one: tuple[int, bytes, bytes], other: tuple[int, bytes, bytes]) -> None:
    if one[0] < other[0]:
        assert ids.interaction_id(*one) < ids.interaction_id(*other)


@given(ms=times, identity=sixteen, key=sixteen)
def test_the_identity_is_within_the_range_that_an_id_gives(ms: int, identity: bytes, key: bytes) -> None:
    low, high = ids.identity_range(ids.interaction_id(ms, identity, key))
    assert low <= UUID(identity) <= high
    assert high.int - low.int == (1 << 98) - 1


@given(ms=st.integers(0, 253_402_300_799_000), within=st.integers(0, 999), identity=sixteen, key=sixteen)
def test_the_first_id_of_a_moment_bounds_those_before_from_those_after(
    ms: int, within: int, identity: bytes, key: bytes
) -> None:
    moment = ids.from_unix_ms(ms) + timedelta(microseconds=within)
    assert ids.unix_ms(moment) == ms
    first = ids.first_id_at(moment).bytes
    assert first <= ids.interaction_id(ms, identity, key)
    assert ms == 0 or ids.interaction_id(ms - 1, identity, key) < first


def test_bounds_hold_at_the_ends() -> None:
    assert ids.first_id_at(datetime(1900, 1, 1, tzinfo=UTC)) == ids.LOWEST
    assert ids.successor(ids.HIGHEST) == ids.HIGHEST
    assert ids.successor(ids.LOWEST).int == 1
    late = ids.interaction_id(MOST_MS, b"\xff" * 16, b"\xff" * 16)
    assert ids.LOWEST < UUID(late) < ids.HIGHEST
    assert ids.unix_ms(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)) == -1
    assert ids.unix_ms(datetime(2026, 3, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == ids.unix_ms(
        datetime(2026, 3, 1, tzinfo=UTC)
    )
    first = ids.unix_ms(datetime(1990, 1, 1, tzinfo=UTC))
    assert months_of([first]) == {1990 * 12}
    assert months_of([first - 1, first, first + 1]) == {1989 * 12 + 11, 1990 * 12}


@given(parts=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=2, max_size=2, unique=True))
def test_no_two_senders_ids_share_a_key(parts: list[tuple[str, str]]) -> None:
    one, other = (ids.dedup_key(SALT, *part) for part in parts)
    assert one != other
    assert len(one) == 16


def test_hashes_depend_on_the_salt_and_on_what_they_are_for() -> None:
    assert ids.identity_id(SALT, "email", "a") != ids.identity_id(b"t" * 32, "email", "a")
    assert ids.dedup_key(SALT, "email", "a") != ids.dedup_key(b"t" * 32, "email", "a")
    assert ids.identity_id(SALT, "email", "a") == ids.identity_id(SALT, "email", "a")
    assert ids.identity_id(SALT, "email", "a") != ids.identity_id(SALT, "phone", "a")
