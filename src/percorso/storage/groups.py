"""A group of interactions in one round trip: functions that a writing connection defines for itself.

What a round trip costs a busy process does not depend on the rows, and the lock on links is held between two of them.
With functions a small group is stored by one call, which is its own transaction, and links are made by one. They belong
to the connection (`pg_temp`), so they are always those of the release that calls them, and no migration knows of them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from percorso.storage import commits, epoch, linking
from percorso.storage.database import WriteSession
from percorso.storage.epoch import ENTER
from percorso.storage.identities import Identifier, Link
from percorso.storage.interactions import Row
from percorso.storage.linking import Guards
from percorso.storage.tombstones import Erased

Met = tuple[Row, Identifier]
"""An identifier that may not be stored, and a row that names it."""
Made = tuple[Row, Link]
"""A link that may not be stored, and the row that makes it."""

_MEET: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_meet(
    the_id uuid[], the_kind text[], the_value text[], the_strong bool[], the_at timestamptz[],
    the_a uuid[], the_b uuid[], the_interaction uuid[], the_source text[], the_linked timestamptz[],
    the_time timestamptz
) RETURNS TABLE (met uuid, customer uuid) LANGUAGE plpgsql AS $$
DECLARE
    fresh uuid[];
    new record;
BEGIN
    WITH inserted AS (
        INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at)
        SELECT DISTINCT ON (m.id) m.id, m.kind, m.value, m.strong, m.id, m.at
        FROM unnest(the_id, the_kind, the_value, the_strong, the_at) AS m(id, kind, value, strong, at)
        WHERE NOT EXISTS (SELECT FROM identities known WHERE known.identity_id = m.id)
        ORDER BY m.id, m.at
        ON CONFLICT DO NOTHING RETURNING identity_id
    )
    SELECT array_agg(identity_id) INTO fresh FROM inserted;
    IF fresh IS NOT NULL AND EXISTS (SELECT FROM erased_identities WHERE identity_id = ANY(fresh)) THEN
        RAISE EXCEPTION USING ERRCODE = '{Erased.sqlstate}', MESSAGE = 'of someone who was erased';
    END IF;
    IF the_a <> '{{}}' THEN
        SELECT
            array_agg(l.a) AS a, array_agg(l.b) AS b, array_agg(l.interaction) AS interaction,
            array_agg(l.source) AS source, array_agg(l.at) AS at, bool_or(l.state IS NOT NULL) AS stopped
        INTO new FROM (
            SELECT once.*, known.state FROM (
                SELECT DISTINCT ON (a, b) * FROM unnest(the_a, the_b, the_interaction, the_source, the_linked)
                WITH ORDINALITY AS given(a, b, interaction, source, at, n) ORDER BY a, b, at, interaction
            ) AS once
            LEFT JOIN identity_links known ON known.identity_a = once.a AND known.identity_b = once.b
            WHERE known.state IS DISTINCT FROM 'active'
            -- Where a guard rail stops one of several, it is the later, and in one interaction the lower in rank.
            ORDER BY at, interaction, n
        ) AS l;
        IF new.a IS NOT NULL THEN
            PERFORM pg_temp.percorso_link(
                new.a, new.b, new.interaction, new.source, new.at, the_time, new.stopped
            );
        END IF;
    END IF;
    RETURN QUERY SELECT identity_id, customer_id FROM identities WHERE identity_id = ANY(the_id);
END $$
"""

_STORE: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_store(
    the_key uuid[], the_identity uuid[], the_id uuid[], the_received timestamptz[], the_touchpoint int[],
    the_channel text[], the_kind text[], the_function text[], the_direction text[], the_document text[],
    the_hour timestamptz[], the_generation int, the_time timestamptz,
    met_by uuid[], met_id uuid[], met_kind text[], met_value text[], met_strong bool[], met_at timestamptz[],
    link_by uuid[], link_a uuid[], link_b uuid[], link_interaction uuid[], link_source text[], link_at timestamptz[],
    the_epoch bigint, the_trace text[]
) RETURNS TABLE (stored uuid, met uuid, customer uuid) LANGUAGE plpgsql AS $$
DECLARE
    now_is bigint;
    new uuid[];
BEGIN
    {ENTER.strip()}
    WITH inserted AS (
        INSERT INTO interaction_keys (key, identity_id, interaction_id)
        SELECT * FROM unnest(the_key, the_identity, the_id) ON CONFLICT DO NOTHING RETURNING key
    )
    SELECT array_agg(key) INTO new FROM inserted;
    IF new IS NULL THEN
        RETURN;
    END IF;
    WITH fresh AS (
        SELECT g.* FROM unnest(
            the_key, the_identity, the_id, the_received, the_touchpoint, the_channel, the_kind, the_function,
            the_direction, the_document, the_hour, the_trace
        ) AS g(
            key, identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document, hour, trace
        ) WHERE cardinality(new) = cardinality(the_key) OR g.key = ANY(new)
    ), logged AS (
        INSERT INTO commits (generation, xid8, at, what, hours, identity_ids, interaction_ids)
        SELECT the_generation, pg_current_xact_id(), the_time, 'stored',
            array_agg(DISTINCT hour), array_agg(identity_id), array_agg(id)
        FROM fresh
    )
    INSERT INTO interactions
        (identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document, traceparent)
    SELECT identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document::json, trace
    FROM fresh;
    RETURN QUERY SELECT key, NULL::uuid, NULL::uuid FROM unnest(new) AS key;
    IF met_id = '{{}}' THEN
        RETURN;
    END IF;
    IF cardinality(new) < cardinality(the_key) THEN
        -- A row whose key was stored already leaves nothing behind.
        SELECT array_agg(id), array_agg(kind), array_agg(value), array_agg(strong), array_agg(at)
        INTO met_id, met_kind, met_value, met_strong, met_at
        FROM unnest(met_by, met_id, met_kind, met_value, met_strong, met_at) AS m(by, id, kind, value, strong, at)
        WHERE by = ANY(new);
        SELECT coalesce(array_agg(a), '{{}}'), array_agg(b), array_agg(interaction), array_agg(source), array_agg(at)
        INTO link_a, link_b, link_interaction, link_source, link_at
        FROM unnest(link_by, link_a, link_b, link_interaction, link_source, link_at)
            AS l(by, a, b, interaction, source, at)
        WHERE by = ANY(new);
    END IF;
    RETURN QUERY SELECT NULL::uuid, m.* FROM pg_temp.percorso_meet(
        met_id, met_kind, met_value, met_strong, met_at, link_a, link_b, link_interaction, link_source, link_at,
        the_time
    ) AS m;
END $$
"""


async def define(session: WriteSession, guards: Guards) -> None:
    """Define the functions for this connection, whose links these guard rails watch over."""
    await epoch.define(session)
    await linking.define(session, guards)
    for function in (_MEET, _STORE):
        await session.execute(function)
    # So that the driver has asked for every type before the first group comes.
    since = await epoch.current(session)
    await store(session, (), met=(), links=(), touchpoint_ids={}, generation=0, at=datetime.now(UTC), since=since)


async def store(
    session: WriteSession,
    rows: Sequence[Row],
    *,
    met: Sequence[Met],
    links: Sequence[Made],
    touchpoint_ids: Mapping[str, int],
    generation: int,
    at: datetime,
    since: int,
) -> tuple[Collection[UUID], dict[UUID, UUID]]:
    """Store those rows, sorted by key and none twice, whose keys are not stored, with all that follows from them.

    That is their row of the commit log, the identities `met` in them and the `links` that they make.
    Gives back the keys that were new, and the customer of each identity of `met`. The day's partition must exist.
    Does nothing where what is not in `met` and `links` was left out for what was known in an epoch `since` which
    another has begun (OutOfDate), or where someone is met who was erased (Erased).
    """
    records = await session.fetch(
        "SELECT * FROM pg_temp.percorso_store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, "
        "$17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)",
        [row.key for row in rows],
        [row.identifiers[0].id for row in rows],
        [row.id for row in rows],
        [row.received_at for row in rows],
        [touchpoint_ids[row.touchpoint] for row in rows],
        [row.channel for row in rows],
        [row.kind for row in rows],
        [row.function for row in rows],
        [row.direction for row in rows],
        [row.document.decode() for row in rows],
        [commits.hour(row.occurred_ms) for row in rows],
        generation,
        at,
        [row.key for row, _ in met],
        *_identities(met),
        [row.key for row, _ in links],
        *_links(links),
        since,
        [row.traceparent for row in rows],
    )
    keys = {key for key, _, _ in records if key is not None}
    return keys, _customers(met, (row[1:] for row in records if row[1] is not None))


async def meet(session: WriteSession, met: Sequence[Met], links: Sequence[Made], *, at: datetime) -> dict[UUID, UUID]:
    """Insert identities where they are not stored, and make links between them; the customer of each.

    Where a link is new it takes the lock on links: nothing that can wait for another transaction may follow it but the
    commit. Raises Erased where someone is met who was erased.
    """
    records = await session.fetch(
        "SELECT * FROM pg_temp.percorso_meet($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        *_identities(met),
        *_links(links),
        at,
    )
    return _customers(met, map(tuple, records))


def _customers(met: Sequence[Met], customers: Iterable[tuple[UUID, UUID]]) -> dict[UUID, UUID]:
    """The customer of each identity, in the objects of `met` where they name the same: it is remembered once then."""
    own = {identifier.id: identifier.id for _, identifier in met}
    return {own[identity]: own.get(customer, customer) for identity, customer in customers}


def _identities(met: Sequence[Met]) -> tuple[list[object], ...]:
    return (
        [identifier.id for _, identifier in met],
        [identifier.kind for _, identifier in met],
        [identifier.value for _, identifier in met],
        [identifier.strong for _, identifier in met],
        [row.received_at for row, _ in met],
    )


def _links(links: Sequence[Made]) -> tuple[list[object], ...]:
    return (
        [link.a for _, link in links],
        [link.b for _, link in links],
        [link.interaction_id for _, link in links],
        [link.source for _, link in links],
        [link.at for _, link in links],
    )
