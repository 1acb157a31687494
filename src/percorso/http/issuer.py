"""The public keys of the configured issuer of tokens: fetched, kept, and fetched anew when a token names another.

A token causes no request but this one, to the address that the settings name, and this one at most every
`jwt_refetch_seconds`, whatever is sent. Where the issuer does not answer, the keys that it had are taken for
`jwt_stale_seconds` more.
"""

import asyncio
import json
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from percorso.errors import Unavailable
from percorso.ops import metrics
from percorso.settings import Settings

_log = structlog.get_logger("percorso.tokens")

_DISCOVERY: Final = "/.well-known/openid-configuration"
_SECONDS: Final = 5.0
"""How long the issuer may take in all."""
_MOST_BYTES: Final = 256 * 1024
_MOST_KEYS: Final = 100
_LEAST_BITS: Final = 2048
"""Of an RSA key (RFC 7518, section 3.3)."""
_FIRST_PAUSE: Final = 2.0
"""Seconds between tries while there are no keys at all."""


class _NotFetched(Exception):
    """What the issuer answered cannot be used; the message says why."""


class IssuerKeys:
    """One a process, of the issuer that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(
            timeout=_SECONDS, follow_redirects=False, trust_env=False, headers={"Accept-Encoding": "identity"}
        )
        self._keys: Mapping[tuple[str | None, str], PyJWK] = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """The key of this id for an algorithm; where none is named, the only one there is for it. None is none.

        Raises Unavailable where no keys are known, or those that are known are too old.
        """
        if self._age() > self._settings.jwt_refresh_seconds:
            fetching = self._fetch_anew()
            if self._age() > self._settings.jwt_stale_seconds and fetching is not None:
                await asyncio.shield(fetching)
        found = self._of(kid, algorithm)
        if found is None and kid is not None and (fetching := self._fetch_anew()) is not None:
            await asyncio.shield(fetching)
            found = self._of(kid, algorithm)
        if self._age() > self._settings.jwt_stale_seconds:
            raise Unavailable("Tokens cannot be checked now: their issuer's keys cannot be fetched.", retry_after=2)
        return found

    async def close(self) -> None:
        """End what is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
        await self._client.aclose()

    def _age(self) -> float:
        return float("inf") if self._fetched is None else monotonic() - self._fetched

    def _of(self, kid: str | None, algorithm: str) -> PyJWK | None:
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fit = [key for (_, for_), key in self._keys.items() if for_ == algorithm]
        return fit[0] if len(fit) == 1 else None

    def _fetch_anew(self) -> "asyncio.Task[None] | None":
        """The fetching that is under way, or a new one; None where it is too early for one."""
        if self._fetching is None or self._fetching.done():
            pause = self._settings.jwt_refetch_seconds if self._keys else _FIRST_PAUSE
            if self._tried is not None and monotonic() - self._tried < pause:
                return None
            self._tried = monotonic()
            self._fetching = asyncio.create_task(self._fetch(), name="percorso-issuer")
        return self._fetching

    async def _fetch(self) -> None:
        """Fetch the keys; where that fails for whatever reason, those there are stay."""
        try:
            async with asyncio.timeout(_SECONDS):
                document = await self._get(self._settings.jwt_jwks_url or await self._discovered())
            keys = _read(document, self._settings.jwt_algorithms)
        except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
            why = str(error) if isinstance(error, _NotFetched) else type(error).__name__
            metrics.ISSUER_FETCHES.labels("failed").inc()
            _log.warning("the keys of the issuer of tokens could not be fetched", why=why, kept=len(self._keys))
            return
        metrics.ISSUER_FETCHES.labels("fetched").inc()
        self._keys, self._fetched = keys, monotonic()

    async def _discovered(self) -> str:
        """Where the issuer says that its keys are (OpenID Connect Discovery 1.0, section 4)."""
        issuer = self._settings.jwt_issuer or ""
        said = await self._get(issuer.rstrip("/") + _DISCOVERY)
        if not isinstance(said, dict) or said.get("issuer") != issuer:
            raise _NotFetched("names another issuer in its configuration")
        url = said.get("jwks_uri")
        if not isinstance(url, str) or urlsplit(url).scheme not in {"https", urlsplit(issuer).scheme}:
            raise _NotFetched("names no jwks_uri that could be used")
        return url

    async def _get(self, url: str) -> Any:
        """The JSON document at an address, which may be so large at most."""
        body = bytearray()
        async with self._client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK or "content-encoding" in answer.headers:
                raise _NotFetched(f"answered {answer.status_code}, or in an encoding that was not asked for")
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise _NotFetched(f"answered with more than {_MOST_BYTES} bytes")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise _NotFetched("answered with what is not JSON") from None


def _read(document: Any, algorithms: "tuple[str, ...]") -> dict[tuple[str | None, str], PyJWK]:
    """The keys of a JWK set that verify signatures by one of these algorithms, by id and algorithm; at least one."""
    given = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(given, list):
        raise _NotFetched("answered with what is not a JWK set")
    keys: dict[tuple[str | None, str], PyJWK] = {}
    for each in given[:_MOST_KEYS]:
        if isinstance(each, dict) and (key := _usable(each)) is not None and key.algorithm_name in algorithms:
            keys.setdefault((key.key_id, key.algorithm_name), key)
    if not keys:
        raise _NotFetched("names no key that could be used")
    return keys


def _usable(jwk: dict[str, Any]) -> PyJWK | None:
    """A public key that verifies signatures; None where it is anything else."""
    if jwk.get("kty") not in {"RSA", "EC", "OKP"} or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    if not isinstance(jwk.get("kid"), str | None) or "verify" not in jwk.get("key_ops", ("verify",)):
        return None
    try:
        key = PyJWK(jwk)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    small = isinstance(key.key, RSAPublicKey) and key.key.key_size < _LEAST_BITS
    return None if small else key
