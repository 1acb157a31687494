"""Tokens (JWT, RFC 7519) of the configured issuer: who calls with one, and what they may.

PyJWT verifies. What a token says of itself decides nothing before that: of its header only `alg`, `kid`, `typ` and
`crit` are looked at, and where it says that its key is (`jwk`, `jku`, `x5u`, `x5c`) is not.
"""

import re
from collections.abc import Iterable
from hashlib import blake2b, sha256
from time import monotonic, time
from typing import Any, Final

import jwt
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from percorso.errors import Unauthorized
from percorso.http.callers import TOKENS_ARE_NAMED, Caller
from percorso.http.issuer import IssuerKeys
from percorso.ingest.identity import Identifiers
from percorso.settings import Settings

_LONGEST: Final = 8192
"""Characters of a token; one that is longer is not read."""
_MOST_REMEMBERED: Final = 10_000
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""What `typ` may say (RFC 9068, section 2.1): tokens for other ends, such as logging out, are not taken."""
_NAME: Final = re.compile(r"[\w.@:/-]{1,100}", re.ASCII)
_CUSTOMER: Final = "customer"
"""Beside the scopes of keys: limited to what one customer may read of themselves."""

_Refused = (PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading or verifying a token may fail with: PyJWT lets some of Python's own errors through."""


def is_token(given: str) -> bool:
    """Whether this is a token by its form: a JSON object in base64url, and two dots."""
    return given.isascii() and given.startswith("eyJ") and given.count(".") == 2  # noqa: PLR2004 - of three parts


class Tokens:
    """One a process. What was found of a token is remembered for `key_cache_seconds`, as it is of a key."""

    def __init__(self, settings: Settings, keys: IssuerKeys, identifiers: Identifiers, *, salt: bytes) -> None:
        self._settings = settings
        self._keys = keys
        self._identifiers = identifiers
        self._salt = salt
        self._remembered: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, token: str) -> Caller:
        """Who calls with this token. Raise Unauthorized where it is not valid, Unavailable where no one can say."""
        if len(token) > _LONGEST:
            raise _invalid()
        digest = sha256(token.encode()).digest()
        left, known = self._remembered.get(digest, (0.0, None))
        if known is not None and left > monotonic() and time() < known.until:
            return known
        found = self._caller(await self._claims(token))
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = monotonic() + self._settings.key_cache_seconds, found
        return found

    async def _claims(self, token: str) -> dict[str, Any]:
        """What a token says, after it was verified."""
        try:
            header = jwt.get_unverified_header(token)
        except _Refused:
            raise _invalid() from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._settings.jwt_algorithms or "crit" in header or not isinstance(kid, str | None):
            raise _invalid()
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise _invalid()
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise _invalid()
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer,
                leeway=self._settings.jwt_leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except ExpiredSignatureError:
            # Its signature was found right before: only who was given it is told.
            raise Unauthorized("The token has expired.") from None
        except _Refused:
            raise _invalid() from None
        return claims

    def _caller(self, claims: dict[str, Any]) -> Caller:
        scopes = {
            scope
            for word in _words(_claim(claims, self._settings.jwt_scope_claim))
            for scope in self._settings.jwt_scopes.get(word, ())
        }
        name = TOKENS_ARE_NAMED + self._name(claims)
        until = float(claims["exp"]) + self._settings.jwt_leeway_seconds
        if _CUSTOMER not in scopes:
            return Caller(name, frozenset(scopes), None, until=until)
        value = _claim(claims, self._settings.jwt_customer_claim)
        try:
            identifier = self._identifiers.one(
                self._settings.jwt_customer_kind, value if isinstance(value, str) else ""
            )
        except ValueError:
            raise Unauthorized("The token does not name its customer.") from None
        return Caller(name, frozenset(), None, customer=identifier.id, until=until)

    def _name(self, claims: dict[str, Any]) -> str:
        """What stands for the caller in the audit log: what a claim says that the settings name, or else a keyed hash.

        A subject may be a person, whose name is not to stand there.
        """
        said = _claim(claims, self._settings.jwt_name_claim) if self._settings.jwt_name_claim else None
        if isinstance(said, str) and _NAME.fullmatch(said):
            return said
        who = f"{claims['iss']}\0{claims['sub']}".encode(errors="surrogatepass")
        return blake2b(who, digest_size=16, key=self._salt, person=b"subject").hexdigest()


def _invalid() -> Unauthorized:
    return Unauthorized("The token is not valid.")


def _claim(claims: dict[str, Any], name: str) -> Any:
    """A claim by its name, or else by the names that dots divide, such as `realm_access.roles`; None without."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _words(said: Any) -> Iterable[str]:
    """The words of a claim: divided by spaces (RFC 8693, section 4.2), or the texts of a list."""
    if isinstance(said, str):
        return said.split()
    return [each for each in said if isinstance(each, str)] if isinstance(said, list) else ()
