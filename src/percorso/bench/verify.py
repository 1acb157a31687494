"""Whether all that was acknowledged is stored, and once: the ledger of what was sent, held against the tables."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from percorso.storage.database import WriteSession

_FETCHED: Final = 10_000


@dataclass(slots=True)
class _Sent:
    """One source's events, a byte for each: whether it is acknowledged, how often it was found."""

    acknowledged: bytearray = field(default_factory=bytearray)
    found: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Verified:
    """`lost`: acknowledged and not stored. `doubled`: stored more than once. `unsent`: stored, and never sent.

    `unpaired`: interactions without their one key, and keys without their interaction.
    """

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    unsent: int
    unpaired: int

    @property
    def good(self) -> bool:
        """Whether the promises were kept."""
        return not (self.lost or self.doubled or self.unsent or self.unpaired)


class Ledger:
    """What was sent of each source, what of it was acknowledged, and what was found stored."""

    def __init__(self) -> None:
        self._sources: defaultdict[str, _Sent] = defaultdict(_Sent)
        self._stored = 0
        self._unsent = 0

    def following(self, source: str) -> int:
        """The number of the first event that was not sent yet."""
        return len(self._sources[source].acknowledged)

    def note(self, source: str, first: int, following: int, missing: Iterable[tuple[int, int]] = ()) -> None:
        """Events `first` up to `following` were sent, and all acknowledged but those in the ranges `missing`."""
        sent = self._sources[source]
        more = following - len(sent.acknowledged)
        sent.acknowledged += bytes(max(more, 0))
        at = first
        for begin, end in [*sorted(missing), (following, following)]:
            if at < begin:
                sent.acknowledged[at:begin] = b"\1" * (begin - at)
            at = max(at, end)

    def find(self, source: str, number: int) -> None:
        """An event is found stored."""
        self._stored += 1
        sent = self._sources.get(source)
        if sent is None or not 0 <= number < len(sent.acknowledged):
            self._unsent += 1
            return
        if len(sent.found) < len(sent.acknowledged):
            sent.found += bytes(len(sent.acknowledged) - len(sent.found))
        sent.found[number] = min(sent.found[number] + 1, 255)

    def verified(self, *, unpaired: int) -> Verified:
        """The account."""
        lost = doubled = 0
        for sent in self._sources.values():
            found = sent.found or bytes(len(sent.acknowledged))
            lost += sum(1 for was, times in zip(sent.acknowledged, found, strict=True) if was and not times)
            doubled += sum(times - 1 for times in found if times > 1)
        acknowledged = sum(sum(sent.acknowledged) for sent in self._sources.values())
        return Verified(acknowledged, self._stored, lost, doubled, self._unsent, unpaired)


async def verify(session: WriteSession, ledger: Ledger) -> Verified:
    """Count what is stored against what was sent; once a ledger. Reads both tables in full, in bounded memory."""
    async with session.transaction(isolation="repeatable_read", readonly=True):
        cursor = await session.cursor("SELECT document->>'source', document->>'id' FROM interactions")
        stored = 0
        while records := await cursor.fetch(_FETCHED):
            stored += len(records)
            for source, sender_id in records:
                ledger.find(source, int(sender_id))
        [[keyless, empty, pairs]] = await session.fetch(
            "SELECT count(*) FILTER (WHERE k.key IS NULL), count(*) FILTER (WHERE i.id IS NULL), "
            "count(*) FILTER (WHERE k.key IS NOT NULL AND i.id IS NOT NULL) FROM interactions i "
            "FULL JOIN interaction_keys k ON k.identity_id = i.identity_id AND k.interaction_id = i.id"
        )
    several = pairs - (stored - keyless)
    return ledger.verified(unpaired=keyless + empty + several)
