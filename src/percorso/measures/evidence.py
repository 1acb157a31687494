"""How figures name the interactions they come from."""

import uuid
from typing import Final, TypeAlias

Id: TypeAlias = uuid.UUID
"""An interaction's id."""

NAMED: Final = 100
"""Most interactions or findings that a figure names; the figure itself counts them all."""
