"""Whether the database answers, at which version its schema is, and whether there is anything in it."""

from percorso.storage.database import ReadSession


async def schema_version(session: ReadSession) -> str | None:
    """The version of the schema; None where there is none."""
    if await session.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    version: str | None = await session.fetchval("SELECT version_num FROM alembic_version")
    return version


async def empty(session: ReadSession) -> bool:
    """Whether there is no table where percorso's would be; goes through `pg_class` once."""
    tables = "SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
    return not await session.fetchval(f"SELECT EXISTS ({tables})")
