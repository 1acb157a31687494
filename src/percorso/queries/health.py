"""Whether the database answers, and at which version its schema is."""

from percorso.storage.database import ReadSession


async def schema_version(session: ReadSession) -> str | None:
    """The version of the schema; None where there is none."""
    if await session.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    version: str | None = await session.fetchval("SELECT version_num FROM alembic_version")
    return version
