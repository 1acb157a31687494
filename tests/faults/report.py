"""What came of each kind of fault: a row a scenario, and the table of them all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from faults.clusters import Cluster
from faults.ledger import Account, Ledger
from faults.loads import Load
from faults.watch import Watch

_HEAD: Final = (
    "| fault | rounds | acknowledged | lost | doubled | never sent | next write, s | ready again, s | |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


@dataclass(slots=True)
class Row:
    """One kind of fault: how often it was made, what the account says, and how long it took to recover each time.

    `writes` are seconds from the end of the fault to the next acknowledged write, `readies` to `/health/ready` being
    200. `remark` is for what only this kind has.
    """

    kind: str
    rounds: int = 0
    account: Account | None = None
    writes: list[float] = field(default_factory=list)
    readies: list[float] = field(default_factory=list)
    remark: str = ""

    def __str__(self) -> str:
        if self.account is None:
            counts: Sequence[object] = ("did not end", "", "", "")
        else:
            account = self.account
            counts = (f"{account.acknowledged:,}", account.lost, account.doubled, account.unsent)
        cells = (self.kind, self.rounds, *counts, _seconds(self.writes), _seconds(self.readies), self.remark)
        return "|" + "|".join(f" {cell} " if cell != "" else " " for cell in cells) + "|"


def _seconds(values: Sequence[float]) -> str:
    return f"{median(values):.2f}, at most {max(values):.2f}" if values else "–"


def table(rows: Iterable[Row]) -> str:
    """The rows, as Markdown."""
    return "\n".join([*_HEAD, *map(str, rows)])


class Trial:
    """One scenario's run: its ledger, where it is stored in the end, and its row of the report."""

    def __init__(self, cluster: Cluster) -> None:
        self.ledger = Ledger()
        self.row = Row("")
        self.cluster = cluster

    async def recovered(self, load: Load, watch: Watch | None, since: float, seconds: float = 60) -> None:
        """A round is over: wait until writes are acknowledged again, and the service is ready."""
        self.row.writes.append(await load.acknowledged_after(since, seconds))
        if watch is not None:
            self.row.readies.append(await watch.ready_after(since, seconds))
        self.row.rounds += 1

    async def settle(self, load: Load) -> None:
        """Send again what was not acknowledged, then hold every id against the tables; all must be good."""
        await load.settle()
        await self.account()
        assert not load.unexpected, load.unexpected[:5]

    async def account(self) -> None:
        """Hold every id against the tables: nothing lost, nothing doubled, nothing that was never sent."""
        self.row.account = await self.ledger.reconcile(self.cluster.url)
        assert self.row.account.good, self.row.account
