"""What this installation is: its salt, and the generation of its commit log."""

import secrets
from dataclasses import dataclass

from percorso.storage.database import WriteSession


@dataclass(frozen=True, slots=True)
class Deployment:
    """`salt` keys every hash; `generation` orders commits across restores to another cluster."""

    salt: bytes
    generation: int


async def ensure(session: WriteSession) -> Deployment:
    """Read the deployment, made at the first start; a database restored to another cluster gets a new generation."""
    cluster = await session.fetchval("SELECT system_identifier::text FROM pg_control_system()")
    await session.execute(
        "INSERT INTO deployment (salt, generation, system_identifier) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING",
        secrets.token_bytes(32),
        cluster,
    )
    await session.execute(
        "UPDATE deployment SET generation = generation + 1, system_identifier = $1 WHERE system_identifier <> $1",
        cluster,
    )
    [record] = await session.fetch("SELECT salt, generation FROM deployment")
    return Deployment(record["salt"], record["generation"])


async def prove(session: WriteSession) -> None:
    """Commit a write that changes nothing: a database whose disk is full, say, answers and yet stores nothing."""
    await session.execute("UPDATE deployment SET generation = generation")
