"""Alembic's entry: runs the migrations on the database that percorso hands over, or prints them as SQL."""

from alembic import context

from percorso.storage.tables import metadata


def is_ours(name: str | None, type_: str, _parents: object) -> bool:
    """Whether Alembic is to compare this object: partitions are made on demand and belong to no migration."""
    return type_ != "table" or name in metadata.tables


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        include_name=is_ours,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
