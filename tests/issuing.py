"""An issuer of tokens for the tests: it signs, and serves its public keys on a real socket."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "percorso-of-the-tests"
JWKS = "/jwks"

Private = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
_RSA = generate_rsa(public_exponent=65537, key_size=2048)


def private(algorithm: str) -> Private:
    """A new private key for this algorithm; RSA keys are one and the same, since they take long to find."""
    if algorithm == "RS256":
        return _RSA
    return generate_private_key(SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()


def public(key: Private, kid: str | None, /, **members: Any) -> dict[str, Any]:
    """Its public key, as a member of a JWK set."""
    if isinstance(key, RSAPrivateKey):
        made = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, EllipticCurvePrivateKey):
        made = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        made = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: value for name, value in (made | {"kid": kid, "use": "sig"} | members).items() if value is not None}


@dataclass
class Issuer:
    """What it serves can be changed at any time: `keys`, `answers` (status and body by path), `down`."""

    url: str = ""
    signing: dict[str, tuple[str, Private]] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    slow: float = 0

    def add(self, kid: str, algorithm: str) -> None:
        """A new key, with which tokens may be signed."""
        key = private(algorithm)
        self.signing[kid] = algorithm, key
        self.keys.append(public(key, kid))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a service that takes its tokens."""
        return {"jwt_issuer": self.url, "jwt_audience": AUDIENCE, "jwt_jwks_url": self.url + JWKS}

    def claims(self, scope: str = "", **others: Any) -> dict[str, Any]:
        """Valid claims, with what the test says otherwise; None leaves one out."""
        now = datetime.now(UTC)
        usual = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "anna@example.com",
            "exp": now + timedelta(minutes=5),
            "iat": now,
            "scope": " ".join(f"percorso:{each}" for each in scope.split()),
        }
        return {name: value for name, value in (usual | others).items() if value is not None}

    def token(
        self,
        scope: str = "",
        *,
        kid: str = "one",
        headers: dict[str, Any] | None = None,
        others: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token with these scopes, signed with this key; `others` are claims whose names are no Python names."""
        algorithm, key = self.signing[kid]
        given = {name: value for name, value in ({"kid": kid} | (headers or {})).items() if value is not None}
        return jwt.encode(self.claims(scope, **claims, **(others or {})), key, algorithm=algorithm, headers=given)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        self.asked.append(path)
        if not self.down:
            await asyncio.sleep(self.slow)
            status, body = self.answers.get(path) or (200, json.dumps({"keys": self.keys}).encode())
            head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nConnection: close\r\nLocation: {self.url}/x"
            writer.write(head.encode() + b"\r\n\r\n" + body)
        writer.close()


@asynccontextmanager
async def issuing(**algorithms: str) -> AsyncIterator[Issuer]:
    """An issuer with these keys, by id; `one` for ES256 where none are named."""
    issuer = Issuer()
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for kid, algorithm in (algorithms or {"one": "ES256"}).items():
        issuer.add(kid, algorithm)
    try:
        yield issuer
    finally:
        server.close()
        await server.wait_closed()


def part(value: Any) -> str:
    """A part of a token: JSON, or bytes as they are, in base64url."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
