"""Who calls: the holder of a key, or of a token."""

from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from percorso.errors import Forbidden
from percorso.ingest.allowed import Allowed

TOKENS_ARE_NAMED: Final = "token:"
"""What the names begin with of those who come with a token; no key has such a name."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what they may.

    `name` stands in the audit log, and wherever it is said who did something. `key_id` is None of one who came with a
    token; `allowed` is what they may send, None anything; `customer` is the identity whose journey and summary are all
    that may be read; `until` is when what they came with ends, Unix time. `rate` is what they may send a second,
    `burst` at once; None: as the settings say.
    """

    name: str
    scopes: frozenset[str]
    key_id: UUID | None
    allowed: Allowed | None = None
    customer: UUID | None = None
    until: float = inf
    rate: float | None = None
    burst: int | None = None

    @property
    def counted_as(self) -> UUID:
        """The id under which it is counted what they send."""
        return self.key_id or self.customer or UUID(sha256(self.name.encode()).digest()[:16])


def key_of(caller: Caller) -> UUID:
    """The caller's key; Forbidden where they have none: what lasts needs something that can be revoked."""
    if caller.key_id is None:
        raise Forbidden("This needs a key: it lasts, and a token does not.")
    return caller.key_id
