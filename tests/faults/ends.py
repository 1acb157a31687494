"""One end of a connection that a proxy passes on: what arrived there, and what is to be said there."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

_HELD: Final = 1024 * 1024
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class End(asyncio.Protocol):
    """One end of a way: holds what arrived there, within bounds, until it is passed on."""

    def __init__(self, made: "Callable[[End], None] | None" = None) -> None:
        self._made = made
        self._transport: asyncio.Transport | None = None
        self._arrived: deque[bytes] = deque()
        self._size = 0
        self._more = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        self._arrived.append(data)
        self._size += len(data)
        self._more.set()
        if self._size > _HELD and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.lost.set()
        self._more.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def take(self) -> bytes:
        """What arrived and was not taken yet; nothing once the connection is lost and all of it was taken."""
        await self._more.wait()
        data = b"".join(self._arrived)
        self._arrived.clear()
        if self._size > _HELD and self._transport is not None and not self.lost.is_set():
            self._transport.resume_reading()
        self._size = 0
        if not self.lost.is_set():
            self._more.clear()
        return data

    async def writable(self) -> None:
        """Wait until the other side reads."""
        await self._writable.wait()

    def write(self, data: bytes) -> None:
        """Pass this on, unless the connection is lost."""
        if self._transport is not None and not self.lost.is_set() and not self._transport.is_closing():
            self._transport.write(data)

    def end(self, *, reset: bool) -> None:
        """End the connection: at once with RST, or with FIN after what was passed on."""
        if self._transport is None or self._transport.is_closing():
            return
        if not reset:
            self._transport.close()
            return
        given = self._transport.get_extra_info("socket")
        with suppress(OSError):
            given.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()
