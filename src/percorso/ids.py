"""The ids percorso makes, and what can be read from them.

An interaction id is a UUID of version 8 (RFC 9562, section 5.8), laid out so that the primary key
`(identity_id, id)` is the journey and a partition by id is a partition by time:

    48 bits  occurred_at, Unix time in ms
     4 bits  version (8)
    12 bits  hash of (source, id), part one
     2 bits  variant
    30 bits  the first 30 bits of the identity id
    32 bits  hash of (source, id), part two

All hashes are BLAKE2b with the deployment's salt as the key, so that an id tells nothing about a person to
whoever lacks the salt.
"""

import json
import struct
from datetime import UTC, datetime
from hashlib import blake2b

from asyncpg.pgproto.pgproto import UUID

EPOCH_YEAR = 1990
"""The first year with partitions: earlier events are refused."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = 0x8000
_VARIANT = 0x8000_0000
_PREFIX_MASK = 0x3FFF_FFFF
_pack = struct.Struct(">IHHII").pack
_length = struct.Struct(">I").pack


def dedup_key(salt: bytes, source: str, sender_id: str) -> bytes:
    """The 16 bytes under which `(source, id)` is stored exactly once."""
    encoded = source.encode()
    return blake2b(
        _length(len(encoded)) + encoded + sender_id.encode(), digest_size=16, key=salt, person=b"dedup"
    ).digest()


def identity_id(salt: bytes, kind: str, value: str) -> bytes:
    """The 16 bytes that stand for one identifier; `value` must be normalised."""
    return blake2b(f"{kind}:{value}".encode(), digest_size=16, key=salt, person=b"identity").digest()


def interaction_id(occurred_ms: int, identity: bytes, key: bytes) -> bytes:
    """The 16 bytes of an interaction's id, from its time, the identity it is stored under, and its dedup key."""
    prefix = int.from_bytes(identity[:4], "big") >> 2
    return _pack(
        occurred_ms >> 16,
        occurred_ms & 0xFFFF,
        _VERSION | (int.from_bytes(key[:2], "big") & 0x0FFF),
        _VARIANT | prefix,
        int.from_bytes(key[2:6], "big"),
    )


def occurred_ms(interaction: bytes) -> int:
    """The Unix time in ms at which the interaction of this id occurred."""
    return int.from_bytes(interaction[:6], "big")


def identity_range(interaction: bytes) -> tuple[UUID, UUID]:
    """The lowest and highest identity id that an interaction of this id can be stored under."""
    prefix = (int.from_bytes(interaction[8:12], "big") & _PREFIX_MASK) << 98
    return UUID(prefix.to_bytes(16, "big")), UUID((prefix | (1 << 98) - 1).to_bytes(16, "big"))


def successor(interaction: UUID) -> UUID:
    """The next id, or the highest."""
    return UUID(min(interaction.int + 1, (1 << 128) - 1).to_bytes(16, "big"))


LOWEST = UUID(bytes(16))
HIGHEST = UUID(b"\xff" * 16)


def first_id_at(moment: datetime) -> UUID:
    """The lowest interaction id that can occur at this moment, or at 1970: the bound of time ranges and partitions."""
    return UUID(max(unix_ms(moment), 0).to_bytes(6, "big") + bytes(10))


def unix_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded down; the moment must be aware."""
    since = moment - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def from_unix_ms(milliseconds: int) -> datetime:
    """The moment of a Unix time in ms."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)


def statement_digest(*said: str | None) -> bytes:
    """The 16 bytes that stand for all that a statement says; without the salt, for it stands beside what it is of."""
    return blake2b(json.dumps(said).encode(), digest_size=16, person=b"statement").digest()
