"""Who may call what: keys and tokens, and the scopes they have."""

import asyncio
from datetime import datetime
from math import inf
from time import monotonic, time
from typing import Annotated, Final, Literal, get_args

from asyncpg.pgproto.pgproto import UUID
from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import Forbidden, Unauthorized
from percorso.http.callers import Caller, key_of
from percorso.http.rates import Rates
from percorso.http.tokens import Tokens, is_token
from percorso.ingest.allowed import Allowed
from percorso.queries import api_keys
from percorso.queries.api_keys import ApiKey
from percorso.storage.api_keys import hash_key
from percorso.storage.database import reading

Scope = Literal["ingest", "read", "write", "privacy", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_MOST_REMEMBERED = 10_000
_LONGEST_KEY: Final = 1024
"""Characters; one that is longer is not looked for."""


class Keys:
    """The keys lately used, so that a request need not ask the database; forgotten `seconds` after it was asked.

    The database is asked once for all requests that wait for the same answer, and anew before the last one is too old:
    else every request of a busy service would ask at the same moment. A key that expires does so at its moment.
    """

    def __init__(self, engine: AsyncEngine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._remembered: dict[bytes, tuple[float, Caller | None]] = {}
        self._asking: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._used: dict[UUID, float] = {}

    async def valid(self, key: str) -> Caller | None:
        """Who calls with this key, where it is valid or was so `seconds` ago."""
        if len(key) > _LONGEST_KEY or not _fit(key):
            return None
        caller = await self._known(hash_key(key))
        now = time()
        if caller is None or now >= caller.until:
            return None
        if caller.key_id is not None:
            self._used[caller.key_id] = now
        return caller

    def forget(self) -> None:
        """Ask the database anew for every key, after a change in this process."""
        self._remembered.clear()
        self._asking.clear()

    def take_used(self) -> dict[UUID, float]:
        """The keys that were used since this was last asked, and when each was last: Unix time."""
        used, self._used = self._used, {}
        return used

    async def _known(self, key_hash: bytes) -> Caller | None:
        left, known = self._remembered.get(key_hash, (0.0, None))
        left -= monotonic()
        if left > self._seconds / 2:
            return known
        asking = self._asking.get(key_hash) or self._ask(key_hash)
        return known if left > 0 else await asyncio.shield(asking)

    def _ask(self, key_hash: bytes) -> "asyncio.Task[Caller | None]":
        asking = self._asking[key_hash] = asyncio.create_task(self._asked(key_hash))
        asking.add_done_callback(lambda done: self._answered(key_hash, done))
        return asking

    async def _asked(self, key_hash: bytes) -> Caller | None:
        until = monotonic() + self._seconds
        async with reading(self._engine) as session:
            found = await api_keys.valid(session, key_hash)
        known = None if found is None else _caller(*found)
        if self._asking.get(key_hash) is asyncio.current_task():
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key_hash] = until, known
        return known

    def _answered(self, key_hash: bytes, asking: "asyncio.Task[Caller | None]") -> None:
        if self._asking.get(key_hash) is asking:
            del self._asking[key_hash]
        if not asking.cancelled():
            # Where it failed, whoever waits is told; where no one does, the next request asks again.
            asking.exception()


def _fit(key: str) -> bool:
    """Whether a key is text: JSON, in which some send theirs, can spell halves of characters."""
    return key.isascii() or not any("\ud800" <= each <= "\udfff" for each in key)


def _caller(key: ApiKey, until: datetime | None) -> Caller:
    """Who calls with a key."""
    sources, channels = (None if each is None else frozenset(each) for each in (key.sources, key.channels))
    return Caller(
        name=key.name,
        scopes=frozenset(key.scopes),
        key_id=key.key_id,
        allowed=None if sources is None and channels is None else Allowed(sources, channels),
        until=inf if until is None else until.timestamp(),
        rate=key.rate,
        burst=key.burst,
    )


def authorization(request: Request) -> tuple[str, str]:
    """The scheme that a request is authorized by, in lower case, and what it gives; two empty texts where none is.

    Raises Unauthorized where the header is sent more than once: whoever stands before us may have read the other one.
    """
    given = request.headers.getlist("authorization")
    if not given:
        return "", ""
    if len(given) > 1:
        raise Unauthorized("Send `Authorization` once.")
    scheme, _, credentials = given[0].partition(" ")
    return scheme.lower(), credentials.strip()


class May(SecurityBase):
    """A dependency: the caller, whose key or token has one of these scopes; `admin` has them all.

    Where they must be `keyed`, a token is not enough: for what lasts, which ends with a key and would outlive a token.
    """

    def __init__(self, *scopes: Scope, keyed: bool = False) -> None:
        self._keyed = keyed
        self._scopes = frozenset((*scopes, "admin"))
        self._needed = f"One of these scopes is needed: {', '.join(sorted(self._scopes))}."
        self.model = BearerModel(
            description="A key, from `percorso keys create` or `POST /v1/keys`; or a token (JWT) of the issuer that "
            "`PERCORSO_JWT_ISSUER` names."
        )
        self.scheme_name = "key"

    async def __call__(self, request: Request) -> Caller:
        """Raise Unauthorized, Forbidden or TooManyRequests, or give the caller."""
        scheme, key = authorization(request)
        if scheme != "bearer" or not key:
            raise Unauthorized("Send a key as `Authorization: Bearer <key>`.")
        return await self.checked(request, key)

    async def checked(self, request: Request, key: str) -> Caller:
        """Who calls with this key or token, however it was given. Raise Unauthorized, Forbidden, TooManyRequests."""
        caller = await _who(request, key)
        if caller.customer is not None:
            self.require_own(request, caller.customer)
        elif self._scopes.isdisjoint(caller.scopes):
            raise Forbidden(self._needed)
        if self._keyed:
            key_of(caller)
        rates: Rates = request.app.state.services.rates
        await rates.spend(request, caller)
        return caller

    def require_own(self, request: Request, customer: UUID) -> None:  # noqa: ARG002 - `own.py` needs them
        """Raise Forbidden, unless the request is for what a token for this one customer may read: here nothing."""
        raise only_own()


def only_own() -> Forbidden:
    """What a customer's token is told, whatever else it asks for."""
    return Forbidden(
        "The token is for the journey and the summary of one customer, as the identifier in it names them."
    )


async def _who(request: Request, key: str) -> Caller:
    tokens: Tokens | None = request.app.state.services.tokens
    if tokens is not None and is_token(key):
        return await tokens.caller(key)
    keys: Keys = request.app.state.services.keys
    caller = await keys.valid(key)
    if caller is None:
        raise Unauthorized("The key is not valid.")
    return caller


MayIngest = Annotated[Caller, Depends(May("ingest"))]
MayRead = Annotated[Caller, Depends(May("read"))]
MaySubscribe = Annotated[Caller, Depends(May("read", keyed=True))]
MayWrite = Annotated[Caller, Depends(May("write"))]
MayPrivacy = Annotated[Caller, Depends(May("privacy"))]
MayAdminister = Annotated[Caller, Depends(May())]
