"""Under whom the interactions of an identity are counted in rollups and steps, where that is another."""

from collections.abc import Collection, Mapping

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


async def mark(session: WriteSession, becoming: Mapping[UUID, UUID]) -> None:
    """From now on these identities are counted under these customers, though not in all of their hours yet.

    Relies on the primary key.
    """
    await session.execute(
        "INSERT INTO counted_identities (identity_id, customer_id, stale) "
        "SELECT identity_id, customer_id, true FROM unnest($1::uuid[], $2::uuid[]) AS t(identity_id, customer_id) "
        "ON CONFLICT (identity_id) DO UPDATE SET customer_id = excluded.customer_id, stale = true",
        list(becoming.keys()),
        list(becoming.values()),
    )


async def settle(session: WriteSession, becoming: Mapping[UUID, UUID]) -> None:
    """These identities are counted so in all of their hours; what says that one is counted as itself goes.

    One that became another's meanwhile is left. Relies on the primary key.
    """
    await session.execute(
        "WITH settled AS (UPDATE counted_identities c SET stale = false "
        "FROM unnest($1::uuid[], $2::uuid[]) AS t(identity_id, customer_id) "
        "WHERE c.identity_id = t.identity_id AND c.customer_id = t.customer_id AND c.identity_id <> c.customer_id) "
        "DELETE FROM counted_identities c USING unnest($1::uuid[], $2::uuid[]) AS t(identity_id, customer_id) "
        "WHERE c.identity_id = t.identity_id AND c.customer_id = t.customer_id AND c.identity_id = c.customer_id",
        list(becoming.keys()),
        list(becoming.values()),
    )


async def begin(session: WriteSession, pairs: Collection[tuple[UUID, UUID]]) -> None:
    """Count these identities under these customers, while nothing is counted yet. Relies on the primary key."""
    await session.execute(
        "INSERT INTO counted_identities (identity_id, customer_id, stale) "
        "SELECT identity_id, customer_id, false FROM unnest($1::uuid[], $2::uuid[]) AS t(identity_id, customer_id) "
        "ON CONFLICT (identity_id) DO UPDATE SET customer_id = excluded.customer_id",
        [identity for identity, _ in pairs],
        [customer for _, customer in pairs],
    )
