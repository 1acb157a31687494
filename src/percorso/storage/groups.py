"""A group of interactions in one round trip: functions that a writing connection defines for itself.

What a round trip costs a busy process does not depend on the rows, and the lock on links is held between two of them.
With functions a small group is stored by one call, which is its own transaction, and links are made by one. They belong
to the connection (`pg_temp`), so they are always those of the release that calls them, and no migration knows of them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from percorso.storage import commits
from percorso.storage.database import WriteSession
from percorso.storage.identities import Identifier, Link
from percorso.storage.interactions import Row

Met = tuple[Row, Identifier]
"""An identifier that may not be stored, and a row that names it."""
Made = tuple[Row, Link]
"""A link that may not be stored, and the row that makes it."""

_LINK_LOCK: Final = 0x70657263_6C696E6B

# Components grow by one link at a time, each time into the oldest; whatever the order, the result is the same.
_LINK = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_link(
    the_a uuid[], the_b uuid[], the_interaction uuid[], the_source text[], the_at timestamptz[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new record;
    ends record;
    survivor uuid;
    survivors uuid[] := '{{}}';
    weak uuid[] := '{{}}';
BEGIN
    PERFORM pg_advisory_xact_lock({_LINK_LOCK});
    FOR new IN
        INSERT INTO identity_links (identity_a, identity_b, interaction_id, source, linked_at)
        SELECT * FROM unnest(the_a, the_b, the_interaction, the_source, the_at)
        ON CONFLICT DO NOTHING RETURNING identity_a AS a, identity_b AS b
    LOOP
        SELECT a.strong AS a_strong, a.customer_id AS a, b.strong AS b_strong, b.customer_id AS b
        INTO ends FROM identities a, identities b WHERE a.identity_id = new.a AND b.identity_id = new.b;
        IF ends.a_strong AND ends.b_strong AND ends.a <> ends.b THEN
            SELECT identity_id INTO survivor FROM identities WHERE identity_id IN (ends.a, ends.b)
            ORDER BY first_seen_at, identity_id LIMIT 1;
            UPDATE identities SET customer_id = survivor
            WHERE customer_id = CASE survivor WHEN ends.a THEN ends.b ELSE ends.a END;
            survivors := survivors || survivor;
        ELSIF ends.a_strong AND NOT ends.b_strong THEN
            weak := weak || new.b;
        ELSIF ends.b_strong AND NOT ends.a_strong THEN
            weak := weak || new.a;
        END IF;
    END LOOP;
    IF survivors <> '{{}}' THEN
        -- Weak identities that led to two customers may lead to one now.
        weak := weak || ARRAY(
            SELECT w.identity_id FROM identities s
            CROSS JOIN LATERAL (
                SELECT identity_b AS other FROM identity_links WHERE identity_a = s.identity_id
                UNION ALL SELECT identity_a FROM identity_links WHERE identity_b = s.identity_id
            ) AS l
            JOIN identities w ON w.identity_id = l.other AND NOT w.strong AND w.customer_id = w.identity_id
            WHERE s.strong AND s.customer_id = ANY(survivors)
        );
    END IF;
    IF weak <> '{{}}' THEN
        PERFORM pg_temp.percorso_place(weak);
    END IF;
END $$
"""

# Looks for a first customer and then for another than that, so that a device shared by thousands costs two look-ups.
_LEADS_TO = """
    SELECT s.customer_id FROM (
        SELECT identity_b AS other FROM identity_links WHERE identity_a = w.id
        UNION ALL SELECT identity_a FROM identity_links WHERE identity_b = w.id
    ) AS l JOIN identities s ON s.identity_id = l.other AND s.strong
"""
_PLACE = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_place(weak uuid[]) RETURNS void LANGUAGE sql AS $$
    UPDATE identities SET customer_id = placed.customer_id FROM (
        SELECT w.id, CASE
            WHEN first.customer_id IS NULL OR EXISTS ({_LEADS_TO} WHERE s.customer_id <> first.customer_id) THEN w.id
            ELSE first.customer_id
        END AS customer_id
        FROM (SELECT DISTINCT unnest(weak) AS id) AS w LEFT JOIN LATERAL ({_LEADS_TO} LIMIT 1) AS first ON true
    ) AS placed WHERE identity_id = placed.id AND identities.customer_id <> placed.customer_id
$$
"""

_MEET = """
CREATE OR REPLACE FUNCTION pg_temp.percorso_meet(
    the_id uuid[], the_kind text[], the_value text[], the_strong bool[], the_at timestamptz[],
    the_a uuid[], the_b uuid[], the_interaction uuid[], the_source text[], the_linked timestamptz[]
) RETURNS TABLE (met uuid, customer uuid) LANGUAGE plpgsql AS $$
DECLARE
    new record;
BEGIN
    INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at)
    SELECT DISTINCT ON (m.id) m.id, m.kind, m.value, m.strong, m.id, m.at
    FROM unnest(the_id, the_kind, the_value, the_strong, the_at) AS m(id, kind, value, strong, at)
    WHERE NOT EXISTS (SELECT FROM identities known WHERE known.identity_id = m.id)
    ORDER BY m.id, m.at
    ON CONFLICT DO NOTHING;
    IF the_a <> '{}' THEN
        SELECT
            array_agg(l.a) AS a, array_agg(l.b) AS b, array_agg(l.interaction) AS interaction,
            array_agg(l.source) AS source, array_agg(l.at) AS at
        INTO new FROM (
            SELECT DISTINCT ON (a, b) * FROM unnest(the_a, the_b, the_interaction, the_source, the_linked)
            AS given(a, b, interaction, source, at) ORDER BY a, b, at, interaction
        ) AS l
        WHERE NOT EXISTS (SELECT FROM identity_links WHERE identity_a = l.a AND identity_b = l.b);
        IF new.a IS NOT NULL THEN
            PERFORM pg_temp.percorso_link(new.a, new.b, new.interaction, new.source, new.at);
        END IF;
    END IF;
    RETURN QUERY SELECT identity_id, customer_id FROM identities WHERE identity_id = ANY(the_id);
END $$
"""

_STORE = """
CREATE OR REPLACE FUNCTION pg_temp.percorso_store(
    the_key uuid[], the_identity uuid[], the_id uuid[], the_received timestamptz[], the_touchpoint int[],
    the_channel text[], the_kind text[], the_function text[], the_direction text[], the_document text[],
    the_hour timestamptz[], the_generation int, the_time timestamptz,
    met_by uuid[], met_id uuid[], met_kind text[], met_value text[], met_strong bool[], met_at timestamptz[],
    link_by uuid[], link_a uuid[], link_b uuid[], link_interaction uuid[], link_source text[], link_at timestamptz[]
) RETURNS TABLE (stored uuid, met uuid, customer uuid) LANGUAGE plpgsql AS $$
DECLARE
    new uuid[];
BEGIN
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
            the_direction, the_document, the_hour
        ) AS g(
            key, identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document, hour
        ) WHERE cardinality(new) = cardinality(the_key) OR g.key = ANY(new)
    ), logged AS (
        INSERT INTO commits (generation, xid8, at, what, hours, identity_ids, interaction_ids)
        SELECT the_generation, pg_current_xact_id(), the_time, 'stored',
            array_agg(DISTINCT hour), array_agg(identity_id), array_agg(id)
        FROM fresh
    )
    INSERT INTO interactions
        (identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document)
    SELECT identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document::json FROM fresh;
    RETURN QUERY SELECT key, NULL::uuid, NULL::uuid FROM unnest(new) AS key;
    IF met_id = '{}' THEN
        RETURN;
    END IF;
    IF cardinality(new) < cardinality(the_key) THEN
        -- A row whose key was stored already leaves nothing behind.
        SELECT array_agg(id), array_agg(kind), array_agg(value), array_agg(strong), array_agg(at)
        INTO met_id, met_kind, met_value, met_strong, met_at
        FROM unnest(met_by, met_id, met_kind, met_value, met_strong, met_at) AS m(by, id, kind, value, strong, at)
        WHERE by = ANY(new);
        SELECT coalesce(array_agg(a), '{}'), array_agg(b), array_agg(interaction), array_agg(source), array_agg(at)
        INTO link_a, link_b, link_interaction, link_source, link_at
        FROM unnest(link_by, link_a, link_b, link_interaction, link_source, link_at)
            AS l(by, a, b, interaction, source, at)
        WHERE by = ANY(new);
    END IF;
    RETURN QUERY SELECT NULL::uuid, m.* FROM pg_temp.percorso_meet(
        met_id, met_kind, met_value, met_strong, met_at, link_a, link_b, link_interaction, link_source, link_at
    ) AS m;
END $$
"""


async def define(session: WriteSession) -> None:
    """Define the functions for this connection. The user may make temporary objects, as Postgres lets any user."""
    for function in (_PLACE, _LINK, _MEET, _STORE):
        await session.execute(function)
    # So that the driver has asked for every type before the first group comes.
    await store(session, (), met=(), links=(), touchpoint_ids={}, generation=0, at=datetime.now(UTC))


async def store(
    session: WriteSession,
    rows: Sequence[Row],
    *,
    met: Sequence[Met],
    links: Sequence[Made],
    touchpoint_ids: Mapping[str, int],
    generation: int,
    at: datetime,
) -> tuple[Collection[UUID], dict[UUID, UUID]]:
    """Store those rows, sorted by key and none twice, whose keys are not stored, with all that follows from them.

    That is their row of the commit log, the identities `met` in them and the `links` that they make.
    Gives back the keys that were new, and the customer of each identity of `met`. The day's partition must exist.
    """
    records = await session.fetch(
        "SELECT * FROM pg_temp.percorso_store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, "
        "$17, $18, $19, $20, $21, $22, $23, $24, $25)",
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
    )
    keys = {key for key, _, _ in records if key is not None}
    return keys, _customers(met, (row[1:] for row in records if row[1] is not None))


async def meet(session: WriteSession, met: Sequence[Met], links: Sequence[Made]) -> dict[UUID, UUID]:
    """Insert identities where they are not stored, and make links between them; the customer of each.

    Where a link is new it takes the lock on links: nothing that can wait for another transaction may follow it but the
    commit.
    """
    records = await session.fetch(
        "SELECT * FROM pg_temp.percorso_meet($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        *_identities(met),
        *_links(links),
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
