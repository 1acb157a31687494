"""How links are made, and what customers follow from them: functions that a connection defines for itself.

Customers are a pure function of the active links; `identities.py` states it. Here it stands twice: link by link as
interactions arrive (`percorso_link`), which costs least, and anew for whole customers (`percorso_rebuild`), where
links have gone or come by hand. Whatever calls them holds the lock on links until its transaction ends.

Guard rails keep silent what should not be decided silently. A link that would give a customer too many strong
identifiers of a kind is stored as suspected, and joins no one; an email or phone that would link too many customers
within days becomes weak, so that those whom it had joined stand apart again. One that someone restored since stays
strong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from percorso.errors import StartupError
from percorso.interaction import IDENTIFIER_KINDS_STRONG
from percorso.settings import Settings
from percorso.storage.database import WriteSession

LOCK: Final = 0x70657263_6C696E6B
"""Advisory lock: whoever changes links, or what follows from them, does it alone."""

_SHAREABLE: Final = ("email", "phone")
"""Kinds that a household, a shop or a placeholder can stand behind."""


@dataclass(frozen=True, slots=True)
class Guards:
    """Where joining stops: `most` strong identifiers of a kind, `customers` that one may link within `days`."""

    most: Mapping[str, int]
    customers: int
    days: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The guard rails of these settings; StartupError where they name a kind that joins no one anyway."""
        if unknown := settings.max_identifiers.keys() - set(IDENTIFIER_KINDS_STRONG):
            raise StartupError(
                f"PERCORSO_MAX_IDENTIFIERS names {', '.join(sorted(unknown))}; "
                f"there can be limits for {', '.join(IDENTIFIER_KINDS_STRONG)}."
            )
        return cls(settings.max_identifiers, settings.shared_customers, settings.shared_days)


_ID: Final = """
CREATE OR REPLACE FUNCTION pg_temp.percorso_id(the_time timestamptz) RETURNS uuid LANGUAGE sql AS $$
    SELECT (
        lpad(to_hex(floor(extract(epoch FROM the_time) * 1000)::bigint), 12, '0')
        || '8' || substr(gen_random_uuid()::text, 16)
    )::uuid
$$
"""


def neighbours(of: str, where: str = "state = 'active'") -> str:
    """SQL: the identities, as `other`, that links lead to from the identity that the expression `of` gives."""
    return (
        f"SELECT identity_b AS other FROM identity_links WHERE identity_a = {of} AND {where} "
        f"UNION ALL SELECT identity_a FROM identity_links WHERE identity_b = {of} AND {where}"
    )


# Looks for a first customer and then for another than that, so that a device shared by thousands costs two look-ups.
_LEADS_TO: Final = f"""
    SELECT s.customer_id FROM ({neighbours("w.id")}) AS l JOIN identities s ON s.identity_id = l.other AND s.strong
"""
_PLACE: Final = f"""
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

# Of these customers the weak identities beside their strong ones that stand alone: they may lead to one customer now.
_ALONE: Final = f"""
    SELECT w.identity_id FROM identities s
    CROSS JOIN LATERAL ({neighbours("s.identity_id")}) AS l
    JOIN identities w ON w.identity_id = l.other AND NOT w.strong AND w.customer_id = w.identity_id
    WHERE s.strong AND s.customer_id = ANY
"""

_PART: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_part(root uuid, apart_from uuid) RETURNS uuid[] LANGUAGE sql AS $$
    WITH RECURSIVE part(id) AS (
        SELECT root
        UNION
        SELECT s.identity_id FROM part CROSS JOIN LATERAL ({neighbours("part.id")}) AS l
        JOIN identities s ON s.identity_id = l.other AND s.strong
        WHERE l.other IS DISTINCT FROM apart_from
    )
    SELECT array_agg(id) FROM part
$$
"""

# The oldest comes first, so that whoever is met as a root gives its part the id.
_REBUILD: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_rebuild(the_customers uuid[], others uuid[]) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    weak uuid[];
    root uuid;
    roots uuid[] := '{{}}';
    part uuid[];
    done uuid[] := '{{}}';
BEGIN
    SELECT coalesce(array_agg(identity_id), '{{}}') || others INTO weak
    FROM identities WHERE customer_id = ANY(the_customers) AND NOT strong;
    FOR root IN
        SELECT identity_id FROM identities WHERE customer_id = ANY(the_customers) AND strong
        ORDER BY first_seen_at, identity_id
    LOOP
        CONTINUE WHEN root = ANY(done);
        part := pg_temp.percorso_part(root, NULL);
        UPDATE identities SET customer_id = root WHERE identity_id = ANY(part) AND customer_id <> root;
        roots := roots || root;
        done := done || part;
    END LOOP;
    weak := weak || ARRAY({_ALONE}(roots));
    PERFORM pg_temp.percorso_place(weak);
    RETURN done || weak;
END $$
"""

_SUSPECT: Final = """
CREATE OR REPLACE FUNCTION pg_temp.percorso_suspect(
    the_a uuid, the_b uuid, the_why text, the_detail jsonb, the_interaction uuid, the_source text, the_at timestamptz
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO identity_suspicions AS known (
        suspicion_id, identity_a, identity_b, why, detail, first_at, last_at, times, interaction_id, source
    ) VALUES (
        pg_temp.percorso_id(the_at), the_a, the_b, the_why, the_detail, the_at, the_at, 1, the_interaction, the_source
    )
    -- What was merged and has been split since is to be decided anew; what was dismissed stays so.
    ON CONFLICT (identity_a, identity_b, why) DO UPDATE SET
        times = known.times + 1,
        last_at = greatest(known.last_at, excluded.last_at),
        interaction_id = excluded.interaction_id,
        source = excluded.source,
        decided_at = CASE WHEN known.decision = 'merged' THEN NULL ELSE known.decided_at END,
        decided_by = CASE WHEN known.decision = 'merged' THEN NULL ELSE known.decided_by END,
        reason = CASE WHEN known.decision = 'merged' THEN NULL ELSE known.reason END,
        decision = nullif(known.decision, 'merged')
$$
"""

# Links that were suspected of a strong identity join nobody once it is weak: they say that it is shared.
_DEMOTE: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_demote(
    the_identity uuid, the_detail jsonb, the_interaction uuid, the_source text, the_time timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    customer uuid;
    beside uuid[];
    touched uuid[];
BEGIN
    UPDATE identities SET strong = false WHERE identity_id = the_identity RETURNING customer_id INTO customer;
    INSERT INTO identity_changes (change_id, at, what, identity_a, state, interaction_id, source)
    VALUES (
        pg_temp.percorso_id(the_time), the_time, 'demoted', the_identity, 'weak', the_interaction, the_source
    );
    PERFORM pg_temp.percorso_suspect(
        the_identity, NULL, 'shared', the_detail, the_interaction, the_source, the_time
    );
    WITH freed AS (
        UPDATE identity_links SET state = 'active'
        WHERE (identity_a = the_identity OR identity_b = the_identity) AND state = 'suspected'
        RETURNING identity_a, identity_b
    ), decided AS (
        UPDATE identity_suspicions s SET decided_at = the_time, decision = 'dismissed'
        FROM freed WHERE s.identity_a = freed.identity_a AND s.identity_b = freed.identity_b
        AND s.why = 'too_many' AND s.decided_at IS NULL
    )
    INSERT INTO identity_changes (
        change_id, at, what, identity_a, identity_b, state, interaction_id, source
    )
    SELECT pg_temp.percorso_id(the_time), the_time, 'demoted', identity_a, identity_b, 'active', the_interaction,
        the_source
    FROM freed;
    SELECT coalesce(array_agg(w.identity_id), '{{}}') || the_identity INTO beside
    FROM ({neighbours("the_identity")}) AS l JOIN identities w ON w.identity_id = l.other AND NOT w.strong;
    touched := pg_temp.percorso_rebuild(ARRAY[customer], beside);
    UPDATE identity_epoch SET epoch = epoch + 1;
    -- A moment later than what else the transaction logs, since that is the key.
    INSERT INTO commits (generation, xid8, at, what, hours, identity_ids, interaction_ids)
    SELECT generation, pg_current_xact_id(), the_time + (clock_timestamp() - statement_timestamp()), 'identity', '{{}}',
        touched, '{{}}'
    FROM deployment;
END $$
"""

# How many customers it would hold together: the parts that those whom it was lately linked with fall into without it.
# What someone restored is left alone: whoever did so knew that it links many.
_WATCH: Final = """
CREATE OR REPLACE FUNCTION pg_temp.percorso_watch(the_identity uuid, the_time timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    lately uuid[];
    one uuid;
    seen uuid[] := '{{}}';
    parts int := 0;
    latest record;
BEGIN
    SELECT array_agg(s.identity_id) INTO lately
    FROM ({lately}) AS l JOIN identities s ON s.identity_id = l.other AND s.strong;
    IF cardinality(lately) <= {customers} OR EXISTS (
        SELECT FROM identity_suspicions
        WHERE identity_a = the_identity AND identity_b IS NULL AND why = 'shared' AND decision = 'restored'
    ) THEN
        RETURN;
    END IF;
    FOREACH one IN ARRAY lately LOOP
        CONTINUE WHEN one = ANY(seen);
        seen := seen || pg_temp.percorso_part(one, the_identity);
        parts := parts + 1;
    END LOOP;
    IF parts > {customers} THEN
        SELECT i.kind, l.interaction_id, l.source INTO latest FROM identities i
        JOIN identity_links l ON l.identity_a = i.identity_id OR l.identity_b = i.identity_id
        WHERE i.identity_id = the_identity ORDER BY l.linked_at DESC, l.interaction_id LIMIT 1;
        PERFORM pg_temp.percorso_demote(
            the_identity,
            jsonb_build_object('kind', latest.kind, 'limit', {customers}, 'count', parts, 'days', {days}),
            latest.interaction_id, latest.source, the_time
        );
    END IF;
END $$
"""

# Components grow by one link at a time, each time into the oldest; whatever the order, the result is the same, but
# for what guard rails stop. Those need not look where two have just been met and are linked for the first time.
_LINK: Final = """
CREATE OR REPLACE FUNCTION pg_temp.percorso_link(
    the_a uuid[], the_b uuid[], the_interaction uuid[], the_source text[], the_at timestamptz[], the_time timestamptz,
    stopped boolean
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this xid := pg_current_xact_id()::xid;
    new record;
    ends record;
    over_kind text;
    over_limit int;
    over_count int;
    survivor uuid;
    survivors uuid[] := '{{}}';
    weak uuid[] := '{{}}';
    watched uuid[] := '{{}}';
    often uuid[] := '{{}}';
BEGIN
    PERFORM pg_advisory_xact_lock({lock});
    IF cardinality(the_a) > {customers} THEN
        often := ARRAY(SELECT id FROM unnest(the_a || the_b) AS id GROUP BY id HAVING count(*) > {customers});
    END IF;
    FOR new IN
        INSERT INTO identity_links (identity_a, identity_b, interaction_id, source, linked_at)
        SELECT * FROM unnest(the_a, the_b, the_interaction, the_source, the_at)
        ON CONFLICT DO NOTHING
        RETURNING identity_a AS a, identity_b AS b, interaction_id AS interaction, source, linked_at AS at
    LOOP
        SELECT a.strong AS a_strong, a.customer_id AS a, a.kind AS a_kind,
            b.strong AS b_strong, b.customer_id AS b, b.kind AS b_kind,
            -- Under its own id, in a row that this transaction wrote: met by it, and joined to nobody older.
            a.xmin = this AND a.customer_id = new.a AS a_fresh, b.xmin = this AND b.customer_id = new.b AS b_fresh
        INTO ends FROM identities a, identities b WHERE a.identity_id = new.a AND b.identity_id = new.b;
        IF ends.a_strong AND ends.b_strong AND ends.a <> ends.b THEN
            over_kind := NULL;
            IF ends.a_kind = ends.b_kind OR NOT ends.a_fresh OR NOT ends.b_fresh
                OR new.a = ANY(survivors) OR new.b = ANY(survivors)
            THEN
                SELECT m.kind, most.number, count(*) INTO over_kind, over_limit, over_count
                FROM identities m JOIN (VALUES {most}) AS most(kind, number) ON most.kind = m.kind
                WHERE m.customer_id IN (ends.a, ends.b) AND m.strong
                GROUP BY m.kind, most.number
                HAVING count(*) > most.number
                AND count(*) FILTER (WHERE m.customer_id = ends.a) BETWEEN 1 AND count(*) - 1
                ORDER BY m.kind LIMIT 1;
            END IF;
            IF over_kind IS NULL THEN
                SELECT identity_id INTO survivor FROM identities WHERE identity_id IN (ends.a, ends.b)
                ORDER BY first_seen_at, identity_id LIMIT 1;
                UPDATE identities SET customer_id = survivor
                WHERE customer_id = CASE survivor WHEN ends.a THEN ends.b ELSE ends.a END;
                survivors := survivors || survivor;
            ELSE
                UPDATE identity_links SET state = 'suspected' WHERE identity_a = new.a AND identity_b = new.b;
                INSERT INTO identity_changes (
                    change_id, at, what, identity_a, identity_b, state, interaction_id, source
                ) VALUES (
                    pg_temp.percorso_id(new.at), new.at, 'suspected', new.a, new.b, 'suspected', new.interaction,
                    new.source
                );
                PERFORM pg_temp.percorso_suspect(
                    new.a, new.b, 'too_many',
                    jsonb_build_object('kind', over_kind, 'limit', over_limit, 'count', over_count),
                    new.interaction, new.source, new.at
                );
            END IF;
            IF ends.a_kind IN ({shareable}) AND (NOT ends.a_fresh OR new.a = ANY(often)) THEN
                watched := watched || new.a;
            END IF;
            IF ends.b_kind IN ({shareable}) AND (NOT ends.b_fresh OR new.b = ANY(often)) THEN
                watched := watched || new.b;
            END IF;
        ELSIF ends.a_strong AND NOT ends.b_strong THEN
            weak := weak || new.b;
        ELSIF ends.b_strong AND NOT ends.a_strong THEN
            weak := weak || new.a;
        END IF;
    END LOOP;
    IF survivors <> '{{}}' THEN
        weak := weak || ARRAY({alone}(survivors));
    END IF;
    IF weak <> '{{}}' THEN
        PERFORM pg_temp.percorso_place(weak);
    END IF;
    IF watched <> '{{}}' THEN
        PERFORM pg_temp.percorso_watch(id, the_time) FROM (SELECT DISTINCT unnest(watched) AS id) AS w;
    END IF;
    IF stopped THEN
        PERFORM pg_temp.percorso_suspect(
            g.a, g.b, CASE l.state WHEN 'cut' THEN 'split_before' ELSE 'too_many' END, '{{}}',
            g.interaction, g.source, g.at
        )
        FROM unnest(the_a, the_b, the_interaction, the_source, the_at) AS g(a, b, interaction, source, at)
        JOIN identity_links l ON l.identity_a = g.a AND l.identity_b = g.b AND l.state <> 'active'
        JOIN identities a ON a.identity_id = g.a JOIN identities b ON b.identity_id = g.b
        WHERE a.customer_id <> b.customer_id AND g.interaction IS DISTINCT FROM l.interaction_id;
    END IF;
END $$
"""

_NO_LIMIT: Final = "('', 0)"


async def define(session: WriteSession, guards: Guards) -> None:
    """Define the functions for this connection. The user may make temporary objects, as Postgres lets any user."""
    most = ", ".join(f"('{kind}', {number})" for kind, number in guards.most.items()) or _NO_LIMIT
    shareable = ", ".join(f"'{kind}'" for kind in _SHAREABLE)
    recent = f"state <> 'cut' AND linked_at > the_time - interval '{guards.days} days'"
    lately = neighbours("the_identity", recent)
    watch = _WATCH.format(customers=guards.customers, days=guards.days, lately=lately)
    link = _LINK.format(lock=LOCK, customers=guards.customers, most=most, shareable=shareable, alone=_ALONE)
    for function in (_ID, _PLACE, _PART, _REBUILD, _SUSPECT, _DEMOTE, watch, link):
        await session.execute(function)


async def ensure(session: WriteSession, guards: Guards) -> None:
    """Define the functions where this connection has not done so yet."""
    if await session.fetchval("SELECT to_regproc('pg_temp.percorso_link') IS NULL"):
        await define(session, guards)
