"""What the worker reads that keeps rollups and steps."""

from typing import Final

FOLLOWER: Final = "rollups"
"""The name of the cursor in the commit log, and of the worker."""
