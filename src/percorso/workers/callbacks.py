"""One call of a subscriber: to an address that may be called, signed, bounded in time, with no redirects followed."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum, auto
from http import HTTPStatus
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

_SECONDS: Final = httpx.Timeout(10.0, connect=5.0)
_TOGETHER_SECONDS: Final = 20.0
"""How long a call may take in all, however slowly it is answered."""
_RESOLVE_SECONDS: Final = 5.0
_AGENT: Final = f"percorso/{version('percorso')}"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_TOO_SOON: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
MOST_URL: Final = 2048

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotCalled(Exception):
    """An address that is not called; the message says why, in words that follow its name."""


UNREACHED: Final = (httpx.HTTPError, httpx.InvalidURL, NotCalled, OSError, TimeoutError)
"""What a call raises where there is no answer."""


class Answer(Enum):
    """What came of a call."""

    TAKEN = auto()
    REFUSED = auto()
    FAILED = auto()
    GONE = auto()

    @classmethod
    def of(cls, status: int | None) -> "Answer":
        """What this status means; None: there was no answer."""
        if status is None:
            return cls.FAILED
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return cls.TAKEN
        if status == HTTPStatus.GONE:
            return cls.GONE
        refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _TOO_SOON
        return cls.REFUSED if refused else cls.FAILED


async def allowed(url: str, *, private: bool) -> Sequence[str]:
    """The IP addresses of a callback, each of which may be called; NotCalled.

    Unless `private` addresses are allowed, all that its host resolves to must be public.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise NotCalled("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not host or len(url) > MOST_URL or not url.isprintable() or " " in url:
        raise NotCalled(f"must be an http or https URL of at most {MOST_URL} characters")
    if parts.username is not None or parts.password is not None:
        raise NotCalled("must not have a name or password in it")
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise NotCalled("names a host that cannot be found") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not private and not all(_is_public(ipaddress.ip_address(each.partition("%")[0])) for each in addresses):
        raise NotCalled(
            "leads into a private network, or to this machine itself: PERCORSO_ALLOW_PRIVATE_CALLBACKS allows that"
        )
    return addresses


async def call(
    client: httpx.AsyncClient,
    url: str,
    body: bytes,
    *,
    id_: str,
    secret: str,
    private: bool,
    earlier_secret: str | None = None,
) -> int:
    """Post this, and give the status of the answer; NotCalled, httpx.HTTPError or TimeoutError where there is none.

    Signed as Standard Webhooks says: headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. The address
    that was found to be allowed is the one that is called, whatever its name resolves to a moment later. With an
    earlier secret there are two signatures, of which a subscriber needs to know one.
    """
    addresses = await allowed(url, private=private)
    given = httpx.URL(url)
    now = datetime.now(UTC)
    headers = {
        "Host": given.netloc.decode(),
        "Content-Type": "application/json",
        "User-Agent": _AGENT,
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(
            Webhook(each).sign(msg_id=id_, timestamp=now, data=body.decode())
            for each in (secret, earlier_secret)
            if each is not None
        ),
    }
    async with asyncio.timeout(_TOGETHER_SECONDS):
        for address in addresses:
            sent = client.build_request(
                "POST",
                given.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": given.raw_host.decode()},
            )
            try:
                answer = await client.send(sent, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
            else:
                await answer.aclose()
                return answer.status_code
    raise NotCalled("has no address")


def client() -> httpx.AsyncClient:
    """What calls are made with; it heeds no proxies of the environment, and follows nothing."""
    return httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False, trust_env=False)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return _is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast
