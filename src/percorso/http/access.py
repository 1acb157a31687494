"""Who may call what: keys with scopes."""

import asyncio
from time import monotonic
from typing import Annotated, Literal, get_args

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import Forbidden, Unauthorized
from percorso.http.rates import Rates
from percorso.queries import api_keys
from percorso.queries.api_keys import ApiKey
from percorso.storage.api_keys import hash_key
from percorso.storage.database import reading

Scope = Literal["ingest", "read", "write", "privacy", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_MOST_REMEMBERED = 10_000


class Keys:
    """The keys lately used, so that a request need not ask the database; forgotten `seconds` after it was asked.

    The database is asked once for all requests that wait for the same answer, and anew before the last one is too old:
    else every request of a busy service would ask at the same moment.
    """

    def __init__(self, engine: AsyncEngine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._remembered: dict[bytes, tuple[float, ApiKey | None]] = {}
        self._asking: dict[bytes, asyncio.Task[ApiKey | None]] = {}

    async def valid(self, key: str) -> ApiKey | None:
        """The key, where it is valid or was so `seconds` ago."""
        key_hash = hash_key(key)
        left, known = self._remembered.get(key_hash, (0.0, None))
        left -= monotonic()
        if left > self._seconds / 2:
            return known
        asking = self._asking.get(key_hash) or self._ask(key_hash)
        return known if left > 0 else await asyncio.shield(asking)

    def forget(self) -> None:
        """Ask the database anew for every key, after a change in this process."""
        self._remembered.clear()
        self._asking.clear()

    def _ask(self, key_hash: bytes) -> "asyncio.Task[ApiKey | None]":
        asking = self._asking[key_hash] = asyncio.create_task(self._asked(key_hash))
        asking.add_done_callback(lambda done: self._answered(key_hash, done))
        return asking

    async def _asked(self, key_hash: bytes) -> ApiKey | None:
        until = monotonic() + self._seconds
        async with reading(self._engine) as session:
            known = await api_keys.valid(session, key_hash)
        if self._asking.get(key_hash) is asyncio.current_task():
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key_hash] = until, known
        return known

    def _answered(self, key_hash: bytes, asking: "asyncio.Task[ApiKey | None]") -> None:
        if self._asking.get(key_hash) is asking:
            del self._asking[key_hash]
        if not asking.cancelled():
            # Where it failed, whoever waits is told; where no one does, the next request asks again.
            asking.exception()


class May(SecurityBase):
    """A dependency: the caller's key, which has one of these scopes; `admin` has them all."""

    def __init__(self, *scopes: Scope) -> None:
        self._scopes = frozenset((*scopes, "admin"))
        self.model = BearerModel(description="A key, from `percorso keys create` or `POST /v1/keys`.")
        self.scheme_name = "key"

    async def __call__(self, request: Request) -> ApiKey:
        """Raise Unauthorized, Forbidden or TooManyRequests, or give the key."""
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not key:
            raise Unauthorized("Send a key as `Authorization: Bearer <key>`.")
        return await self.checked(request, key.strip())

    async def checked(self, request: Request, key: str) -> ApiKey:
        """What is known of a key, however it was given; or raise Unauthorized, Forbidden or TooManyRequests."""
        services = request.app.state.services
        keys: Keys = services.keys
        known = await keys.valid(key)
        if known is None:
            raise Unauthorized("The key is not valid.")
        if self._scopes.isdisjoint(known.scopes):
            raise Forbidden(f"The key needs one of these scopes: {', '.join(sorted(self._scopes))}.")
        rates: Rates = services.rates
        await rates.spend(request, known)
        return known


MayIngest = Annotated[ApiKey, Depends(May("ingest"))]
MayRead = Annotated[ApiKey, Depends(May("read"))]
MayWrite = Annotated[ApiKey, Depends(May("write"))]
MayPrivacy = Annotated[ApiKey, Depends(May("privacy"))]
MayAdminister = Annotated[ApiKey, Depends(May())]
