"""Whether the database answers, and at which version its schema is."""

from sqlalchemy import text

from percorso.storage.database import ReadSession


async def schema_version(session: ReadSession) -> str | None:
    """The version of the schema; None where there is none."""
    if (await session.execute(text("SELECT to_regclass('alembic_version')"))).scalar_one() is None:
        return None
    version: str | None = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    return version
