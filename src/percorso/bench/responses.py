"""HTTP/1.1 answers out of a stream of bytes: the status and the body, and nothing else that costs time."""

from typing import NamedTuple

_END = b"\r\n\r\n"


class Answer(NamedTuple):
    """One answer."""

    status: int
    body: bytes


class Answers:
    """Feed it what arrives, in pieces of any size; it gives back the answers that are complete."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that this piece completes, in order; ValueError where it is no HTTP."""
        self._held += data
        complete = []
        while (found := _answer(self._held)) is not None:
            answer, end = found
            complete.append(answer)
            self._held = self._held[end:]
        return complete


def _answer(held: bytes) -> tuple[Answer, int] | None:
    """The first answer, and where it ends; None while it is incomplete."""
    end = held.find(_END)
    if end < 0:
        return None
    head, begin = held[:end].lower(), end + len(_END)
    if not head.startswith(b"http/1.1 "):
        raise ValueError("This is no HTTP/1.1 answer.")
    status = int(head[9:12])
    if b"\r\ntransfer-encoding: chunked" in head:
        found = _chunked(held, begin)
        return None if found is None else (Answer(status, found[0]), found[1])
    _, _, after = head.partition(b"\r\ncontent-length: ")
    size = int(after.partition(b"\r\n")[0] or 0)
    if len(held) < begin + size:
        return None
    return Answer(status, held[begin : begin + size]), begin + size


def _chunked(held: bytes, at: int) -> tuple[bytes, int] | None:
    pieces: list[bytes] = []
    while (end := held.find(b"\r\n", at)) >= 0:
        size = int(held[at:end], 16)
        begin = end + 2
        if len(held) < begin + size + 2:
            return None
        if size == 0:
            return b"".join(pieces), begin + 2
        pieces.append(held[begin : begin + size])
        at = begin + size + 2
    return None
