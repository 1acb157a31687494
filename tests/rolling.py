"""What tests of analytics share: rollups and steps of all that is stored."""

from datetime import UTC, datetime

import numpy as np

from percorso import ids
from percorso.analytics import cells, days
from percorso.analytics.dimensions import Level
from percorso.analytics.observe import Observer
from percorso.http.services import Services
from percorso.queries import outcomes
from following import follow
from percorso.storage import followers as cursors
from percorso.storage import rollups, steps, words
from percorso.storage.database import reading, writing
from percorso.analytics.steps import BUCKETS


async def roll(services: Services) -> None:
    async with reading(services.engine) as session:
        rows = await session.fetch(
            "SELECT i.id, i.identity_id, d.customer_id, touchpoint_id, channel, i.kind, function, direction, document::text "
            "FROM interactions i JOIN identities d USING (identity_id)"
        )
    observer = Observer()
    await follow(services)
    async with reading(services.engine) as session:
        came = await outcomes.between(session, ids.LOWEST, ids.HIGHEST)
    observer.add([tuple(r) for r in rows], {(o.interaction_id, o.identity_id): o for o in came})
    async with writing(services.engine) as session:
        known = await words.register(session, observer.words.met)
        observed = observer.observed(known)
        up = {}
        for day in sorted(set((observed.at // days.DAY_MS).tolist())):
            start = day * days.DAY_MS
            made = days.day_of(days.between(observed, start, start + days.DAY_MS), start)
            moment = ids.from_unix_ms(start)
            put = []
            for (scope, dim), c in made.cells.items():
                p = cells.pack(c)
                put.append(
                    rollups.Row(rollups.Key(scope, dim, Level.HOUR, moment), p.cells, p.customers, p.responses, p.costs)
                )
                if scope == 0:
                    up.setdefault((dim, Level.DAY, moment.replace(day=1)), []).append(
                        c.merged(np.full(len(c), moment.day), c.key.astype(np.int64))
                    )
                    up.setdefault((dim, Level.MONTH, moment.replace(day=1, month=1)), []).append(
                        c.merged(np.full(len(c), moment.month), c.key.astype(np.int64))
                    )
            await rollups.put(session, put)
            hours = {}
            for (bucket, hour), b in made.steps.items():
                hours.setdefault(ids.from_unix_ms(start + hour * 3600_000), []).append((bucket, b))
            await steps.put(
                session, list(hours), [steps.Row(bu, h, b) for h, x in hours.items() for bu, b in x], buckets=BUCKETS
            )
        put = []
        for (dim, level, start), parts in up.items():
            c = cells.joined(parts)
            c = c.merged(c.slot.astype(np.int64), c.key.astype(np.int64))
            p = cells.pack(c)
            put.append(rollups.Row(rollups.Key(0, dim, level, start), p.cells, p.customers, p.responses, p.costs))
        await rollups.put(session, put)
