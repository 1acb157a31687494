"""What the tests of privacy share: a look at everything a database holds."""

import json
import re
from collections.abc import Sequence
from typing import Any

from writing import Database

_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = 'public' ORDER BY 1
"""
_BYTES = """
SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND atttypid = 'bytea'::regtype AND attnum > 0
"""


async def everything(database: Database) -> dict[str, list[str]]:
    """Every row of every table as text, read without any index, bytes as they are; by table."""
    await database.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off")
    found = {}
    for [table] in await database.fetch(_TABLES):
        binary = [row["attname"] for row in await database.fetch(_BYTES, table)]
        columns = "".join(f", t.{column}" for column in binary)
        rows = await database.fetch(f"SELECT t::text{columns} FROM {table} AS t")  # noqa: S608 - names of the catalogue
        found[table] = [" ".join(_readable(value) for value in row) for row in rows]
    return found


def _readable(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


async def traces(database: Database, values: Sequence[str]) -> dict[str, list[str]]:
    """The rows that hold one of these values, in whatever case, or the digits of one; by table."""
    words = [re.escape(value) for value in values]
    words += [json.dumps(value)[1:-1].replace("\\", "\\\\") for value in values if not value.isascii()]
    words += [r"[ ()./-]*".join(value[1:]) for value in values if re.fullmatch(r"\+\d+", value)]
    pattern = re.compile("|".join(words), re.IGNORECASE)
    rows = {table: [row for row in rows if pattern.search(row)] for table, rows in (await everything(database)).items()}
    return {table: found for table, found in rows.items() if found}
