"""What a serving process asks of Python and of the system, once, before it serves."""

import contextlib
import gc
import resource

_YOUNG = 50_000
_MIDDLE = 20
_OLD = 100


def settle() -> None:
    """Look for garbage seldom, and never in what is there for good; open as many files as the system allows.

    Python counts references; the collector finds only what refers to itself, which the hot path never makes. Left
    alone, it looks through hundreds of thousands of remembered identities again and again, and none of them can go.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
