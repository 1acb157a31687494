"""What each process feels of itself, every second: its memory, its pools, what waits for the audit log."""

import asyncio
import contextlib
import resource
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from percorso.ops import metrics

_EVERY_SECONDS: Final = 1.0
_STATM: Final = Path("/proc/self/statm")
_FILES: Final = Path("/proc/self/fd")


@asynccontextmanager
async def felt(
    pools: Mapping[str, AsyncEngine], audit_waiting: Callable[[], int], *, schema: str
) -> AsyncIterator[None]:
    """Within this block the metrics say how this process is; `audit_waiting` counts reads that are not put down yet."""
    metrics.BUILD.labels(version("percorso"), schema).set(1)
    metrics.PROCESSES.set(1)
    task = asyncio.create_task(_feel(pools, audit_waiting), name="percorso-vitals")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _feel(pools: Mapping[str, AsyncEngine], audit_waiting: Callable[[], int]) -> None:
    computed = 0.0
    while True:
        for name, engine in pools.items():
            pool = engine.pool
            if isinstance(pool, QueuePool):
                metrics.POOL_USED.labels(name).set(pool.checkedout())
                metrics.POOL_LIMIT.labels(name).set(pool.size())
        metrics.AUDIT_WAITING.set(audit_waiting())
        usage = resource.getrusage(resource.RUSAGE_SELF)
        metrics.PROCESS_CPU.inc(usage.ru_utime + usage.ru_stime - computed)
        computed = usage.ru_utime + usage.ru_stime
        metrics.PROCESS_BYTES.set(_resident(usage))
        if _FILES.is_dir():
            metrics.PROCESS_FILES.set(sum(1 for _ in _FILES.iterdir()))
        metrics.PROCESS_FILES_LIMIT.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        await asyncio.sleep(_EVERY_SECONDS)


def _resident(usage: resource.struct_rusage) -> int:
    """Bytes of memory now; where the system does not say, the most there ever were."""
    if _STATM.is_file():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
