"""What commands share: the settings they were given, and the database they run on."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import Problem, StartupError
from percorso.ops import embedded
from percorso.settings import Settings
from percorso.storage import schema
from percorso.storage.database import create_engine, url_of


def settings_with(**given: Any) -> Settings:
    """The settings of the environment, with what the command line gives; StartupError names what is wrong."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = [
            Problem("PERCORSO_" + "_".join(str(part) for part in each["loc"]).upper(), each["msg"])
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise StartupError("A setting is not as it must be.", problems=problems) from None
    except SettingsError as error:
        raise StartupError(f"A setting is not as it must be: {error}.") from None


@contextmanager
def with_database(settings: Settings, *, exclusive: bool = False) -> Iterator[Settings]:
    """The settings with a database: the one they name, or the embedded one, which is stopped at the end."""
    if settings.database_url is not None:
        yield settings
        return
    server = embedded.start(settings.data_dir, exclusive=exclusive)
    try:
        yield settings.model_copy(update={"database_url": SecretStr(server.url)})
    finally:
        server.stop()


@asynccontextmanager
async def pool_of(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """A pool on the settings' database, whatever its schema."""
    engine = create_engine(url_of(settings), settings)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def engine_of(settings: Settings, *, migrate: bool = False) -> AsyncIterator[AsyncEngine]:
    """A pool on the settings' database, whose schema is this release's (StartupError), or is made so by `migrate`."""
    async with pool_of(settings) as engine:
        if migrate:
            await schema.upgrade(engine)
        await schema.require(engine)
        yield engine
