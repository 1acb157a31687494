"""The Postgres protocol, as far as a proxy must follow it: messages, and where a transaction that writes is committed.

See "Frontend/Backend Protocol" in PostgreSQL's manual. What is followed is one connection of a client that waits for
the answer to each exchange, and does not encrypt.
"""

import re
from typing import Final

_LENGTH: Final = 4
_PROTOCOL_3: Final = 3 << 16
_WRITES: Final = re.compile(rb"\b(?:COPY|INSERT|UPDATE|DELETE|MERGE|CALL)\b|\binteraction", re.IGNORECASE)
_ENDS: Final = re.compile(rb"(?:^|;)\s*(?:COMMIT|END)\b", re.IGNORECASE)
_COPIES: Final = re.compile(rb"\bCOPY\b[^;]*\bFROM\s+STDIN\b", re.IGNORECASE)


class Messages:
    """Cuts one direction of a connection into messages; the first that a client sends has no byte for its type."""

    def __init__(self, *, of_client: bool) -> None:
        self._held = bytearray()
        self._untyped = of_client

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that this completes, in order."""
        self._held += data
        complete = []
        while (size := self._size()) is not None and size <= len(self._held):
            complete.append(bytes(self._held[:size]))
            del self._held[:size]
            self._untyped = False
        return complete

    def rest(self) -> bytes:
        """The beginning of a message whose end did not come."""
        return bytes(self._held)

    def _size(self) -> int | None:
        begin = 0 if self._untyped else 1
        if len(self._held) < begin + _LENGTH:
            return None
        return begin + int.from_bytes(self._held[begin : begin + _LENGTH])


class Conversation:
    """Follows both directions of a connection, message by message.

    `name`: its application_name. `started`: whether the server has said that it is ready. `committed`: whether the
    exchange that ended last committed something written.
    """

    def __init__(self) -> None:
        self.name = ""
        self.started = False
        self.committed = False
        self._begun = False
        self._in_transaction = False
        self._statements: dict[bytes, tuple[bool, bool]] = {}
        self._wrote = False
        self._ends = False
        self._failed = False
        self._committing = False

    def asks(self, message: bytes) -> bool:
        """Follow a message of the client; whether the server, once it has it, commits something written."""
        if not self._begun:
            self._begun = True
            self.name = _application_name(message)
            return False
        kind, body = message[:1], message[1 + _LENGTH :]
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._statements[name] = bool(_WRITES.search(text)), bool(_ENDS.search(text))
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            writes, ends = self._statements.get(name, (False, False))
            self._wrote |= writes
            self._ends |= ends
        elif kind == b"Q":
            self._wrote |= bool(_WRITES.search(body))
            self._ends |= bool(_ENDS.search(body))
        last = kind in b"Sc" or (kind == b"Q" and not _COPIES.search(body))
        self._committing = last and self._wrote and (self._ends or not self._in_transaction)
        return self._committing

    def answers(self, message: bytes) -> bool:
        """Follow a message of the server; whether an exchange ends with it."""
        kind = message[:1]
        if kind == b"E" or message[1 + _LENGTH :] == b"ROLLBACK\0":
            self._failed = True
        if kind != b"Z":
            return False
        self.started = True
        self._in_transaction = message[-1:] != b"I"
        self.committed = self._committing and not self._in_transaction and not self._failed
        self._ends = self._failed = self._committing = False
        self._wrote &= self._in_transaction
        return True


def _application_name(startup: bytes) -> str:
    """The name a client gives at start-up; none where it came to cancel another's statement."""
    if int.from_bytes(startup[_LENGTH : 2 * _LENGTH]) != _PROTOCOL_3:
        return ""
    words = startup[2 * _LENGTH :].split(b"\0")
    return dict(zip(words[::2], words[1::2], strict=False)).get(b"application_name", b"").decode()
