"""The registry of touchpoints: those described by hand and those that interactions named first."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from percorso.storage.database import WriteSession


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """What may be said of a touchpoint by hand; None is not said."""

    channel: str | None = None
    name: str | None = None
    function: str | None = None
    stage: str | None = None
    owner: str | None = None
    location: str | None = None


async def register(session: WriteSession, channels: Mapping[str, str]) -> dict[str, int]:
    """The ids of these slugs, given with the channel they came on; unknown ones register themselves."""
    slugs = sorted(channels)
    await session.execute(
        "INSERT INTO touchpoints (slug, channel, discovered) SELECT slug, channel, true "
        "FROM unnest($1::text[], $2::text[]) AS t(slug, channel) "
        "WHERE NOT EXISTS (SELECT FROM touchpoints known WHERE known.slug = t.slug) ON CONFLICT DO NOTHING",
        slugs,
        [channels[slug] for slug in slugs],
    )
    known = await session.fetch("SELECT slug, touchpoint_id FROM touchpoints WHERE slug = ANY($1)", slugs)
    return {record["slug"]: record["touchpoint_id"] for record in known}


async def put(session: WriteSession, slug: str, said: Touchpoint) -> bool:
    """Say by hand what a touchpoint is, in full; whether it is new."""
    columns = asdict(said)
    names = ", ".join(columns)
    places = ", ".join(f"${number}" for number in range(2, len(columns) + 2))
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns)
    return bool(
        await session.fetchval(
            f"INSERT INTO touchpoints (slug, discovered, {names}) VALUES ($1, false, {places}) "
            f"ON CONFLICT (slug) DO UPDATE SET discovered = false, updated_at = now(), {updates} "
            "RETURNING xmax = 0",
            slug,
            *columns.values(),
        )
    )
