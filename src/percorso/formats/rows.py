"""Rows of delimited text as interactions, as a mapping says.

A row's id is made of its own cells, so that a file imported again brings the same ids. A row that cannot be mapped is
`Refused`: what could be mapped of it, with the cells that could not as they are, and what is wrong with them.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import msgspec

from percorso.errors import Problem, StartupError
from percorso.formats import cells
from percorso.formats.mapping import WHITESPACE, Column, FileForm, Identifier, Member, RowMapping, closest, path_of

Cells = Sequence[str]

_LONGEST_ID: Final = 200
"""Characters; a longer id is replaced by its hash, since an interaction's id has at most 256."""
_ESCAPED: Final = str.maketrans({"%": "%25", "|": "%7C", "#": "%23"})
_DIGEST: Final = 16


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be mapped: the interaction as far as it goes, as JSON, and why it goes no further."""

    document: bytes
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True)
class _Part:
    """One member of every row's interaction; `of` gives its value, None to leave it out, ValueError for a bad cell."""

    path: tuple[str | int, ...]
    of: Callable[[Cells, str], Any]
    column: str | None
    index: int

    @property
    def pointer(self) -> str:
        return "/" + "/".join(str(step) for step in self.path)


def delimited(lines: Iterable[str], form: FileForm) -> Iterator[tuple[int, Cells | str]]:
    """The rows of these lines, each with the number of the line it begins on; a sentence for one that is broken.

    Blank lines are passed over. The header, where there is one, comes as the first row.
    """
    if form.delimiter == WHITESPACE:
        for number, line in enumerate(lines, 1):
            if row := line.split():
                yield number, row
        return
    reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"is no row of a delimited file: {error}"
            continue
        if row:
            yield number, row


class Rows:
    """Turns the rows of one file, which has these columns, into interactions; StartupError where a column is missing.

    With `occurrence` it remembers 16 bytes of each distinct row, which takes some 130 bytes of memory with what Python
    adds: 130 MB for a million rows.
    """

    def __init__(self, mapping: RowMapping, columns: Sequence[str]) -> None:
        self._mapping = mapping
        self._columns = [column.strip() for column in columns]
        self._at = {column: index for index, column in enumerate(self._columns)}
        if len(self._at) < len(self._columns):
            twice = next(column for column in self._columns if self._columns.count(column) > 1)
            raise StartupError(f"The file has two columns named {twice!r}: a mapping cannot tell them apart.")
        self._require_columns()
        given = mapping.id
        self._id_of = [self._at[column] for column in (given.columns if given else self._columns)]
        self._occurrences: dict[bytes, int] | None = {} if given is None or given.occurrence else None
        self._constants = [(path_of(name), value) for name, value in mapping.constants.items()]
        self._parts = list(self._compiled())
        self._rest = self._not_verbatim() if mapping.keep_rest else []
        paths = [path for path, _ in self._constants] + [part.path for part in self._parts]
        lists = {path[:depth] for path in paths for depth, step in enumerate(path) if isinstance(step, int)}
        self._lists = sorted(lists, key=len, reverse=True)

    def read(self, row: Cells) -> bytes | Refused:
        """The interaction of this row, as JSON. Call it once for each row, in the order of the file."""
        if len(row) != len(self._columns):
            problem = Problem("", f"has {len(row)} cells, and the file {len(self._columns)} columns")
            return self.broken([problem], row)
        row = [cell.strip() for cell in row]
        problems: list[Problem] = []
        row_id = self._identify(row)
        document: dict[str | int, Any] = {"source": self._mapping.source, "id": row_id}
        for path, value in self._constants:
            _put(document, path, value)
        for part in self._parts:
            try:
                value = part.of(row, row_id)
            except ValueError as error:
                problems.append(Problem(part.pointer, f"{error} (column {part.column})"))
                value = row[part.index]
            if value is not None:
                _put(document, part.path, value)
        for path in self._lists:
            _make_list(document, path)
        if rest := {column: row[index] for column, index in self._rest if row[index]}:
            document["source_fields"] = rest
        try:
            encoded = msgspec.json.encode(document)
        except UnicodeEncodeError:
            unread = [column for column, cell in zip(self._columns, row, strict=True) if _readable(cell) != cell]
            form = self._mapping.file.encoding
            problems += [Problem("", f"is not text in the encoding {form} (column {column})") for column in unread]
            return self.broken(problems, row)
        return Refused(encoded, problems) if problems else encoded

    def broken(self, problems: Sequence[Problem], row: Cells) -> Refused:
        """A row that cannot be mapped at all, kept as its cells."""
        kept = {"source": self._mapping.source, "source_fields": {"row": [_readable(cell) for cell in row]}}
        return Refused(msgspec.json.encode(kept), problems)

    def _require_columns(self) -> None:
        problems = [
            Problem(key, f"there is no column {column!r}{closest(column, self._columns)}")
            for key, column in _columns_named(self._mapping)
            if column not in self._at
        ]
        if problems:
            have = ", ".join(self._columns)
            raise StartupError(
                f"The mapping names columns that the file does not have. It has: {have}.", problems=problems
            )

    def _identify(self, row: Cells) -> str:
        """The row's id: of one column the cell, else all cells between bars, and from the second equal row a number."""
        if len(self._id_of) == 1 and self._occurrences is None:
            return row[self._id_of[0]]
        parts = (row[index] for index in self._id_of)
        made = "|".join(part.translate(_ESCAPED) for part in parts)
        digest = blake2b(made.encode(errors="surrogateescape"), digest_size=_DIGEST)
        if len(made) > _LONGEST_ID:
            made = digest.hexdigest()
        if self._occurrences is None:
            return made
        times = self._occurrences.get(digest.digest(), 0) + 1
        self._occurrences[digest.digest()] = times
        return made if times == 1 else f"{made}#{times}"

    def _compiled(self) -> Iterator[_Part]:
        decimal = self._mapping.file.decimal
        if told := self._mapping.time:
            index = self._at[told.column]
            yield _Part(("occurred_at",), _reading(index, cells.moment(told.format, told.zone)), told.column, index)
        for kind, identifier in self._mapping.customer.items():
            index = self._at[identifier.column]
            yield _Part(("customer", kind), _reading(index, _text(identifier)), identifier.column, index)
        for name, member in self._mapping.fields.items():
            index = self._at[member.column] if member.column else -1
            yield _Part(path_of(name), self._only_when(member, _value(member, index, decimal)), member.column, index)

    def _only_when(self, member: Member, of: Callable[[Cells, str], Any]) -> Callable[[Cells, str], Any]:
        if not member.when:
            return of
        wanted = [
            (self._at[column], frozenset((allowed,) if isinstance(allowed, str) else allowed))
            for column, allowed in member.when.items()
        ]
        return lambda row, row_id: of(row, row_id) if all(row[at] in allowed for at, allowed in wanted) else None

    def _not_verbatim(self) -> list[tuple[str, int]]:
        """The columns whose cells stand nowhere in every interaction just as they are."""
        verbatim = {one.column for one in self._mapping.customer.values() if not one.pattern and not one.prefix}
        verbatim |= {
            one.column
            for one in self._mapping.fields.values()
            if one.column and not (one.when or one.pattern or one.prefix or one.map is not None)
            if one.type in {"text", "number", "integer"}
        }
        return [(column, index) for column, index in self._at.items() if column not in verbatim]


def _columns_named(mapping: RowMapping) -> Iterator[tuple[str, Column]]:
    """Each column that a mapping names, with the key that names it."""
    if mapping.time:
        yield "time.column", mapping.time.column
    if mapping.id:
        yield from (("id.columns", column) for column in mapping.id.columns)
    for kind, identifier in mapping.customer.items():
        yield f"customer.{kind}.column", identifier.column
    for name, member in mapping.fields.items():
        if member.column:
            yield f"fields.{name}.column", member.column
        yield from ((f"fields.{name}.when", column) for column in member.when)


def _value(member: Member, index: int, decimal: str) -> Callable[[Cells, str], Any]:
    """What gives a member's value, conditions aside."""
    if member.id:
        return lambda _, row_id: row_id
    if member.column is None:
        return lambda _row, _id: member.value
    if member.map is not None:
        taken, values = _text(member), member.map
        return _reading(index, lambda cell: values.get(taken(cell), member.default), member.default)
    readers: dict[str, cells.Reader] = {
        "text": cells.text,
        "number": cells.number(decimal),
        "integer": cells.integer,
        "boolean": cells.boolean,
        "slug": cells.slug,
        "time": cells.moment(member.format, member.zone),
    }
    taken, read = _text(member, prefix=""), readers[member.type]
    if member.prefix:
        return _reading(index, lambda cell: member.prefix + read(taken(cell)), member.default)
    return _reading(index, lambda cell: read(taken(cell)), member.default)


def _reading(index: int, read: cells.Reader, default: object = None) -> Callable[[Cells, str], Any]:
    """What reads the cell at this index; the default where it is empty."""
    return lambda row, _: read(row[index]) if row[index] else default


def _text(told: Identifier | Member, prefix: str | None = None) -> cells.Reader:
    """What takes of a cell the part that the pattern wants, after the prefix."""
    before = told.prefix if prefix is None else prefix
    if told.pattern is not None:
        return partial(_matched, re.compile(told.pattern), before)
    return (lambda cell: before + cell) if before else cells.text


def _matched(pattern: re.Pattern[str], prefix: str, cell: str) -> str:
    found = pattern.fullmatch(cell)
    if found is None or not found[1]:
        raise ValueError(f"must match {pattern.pattern}")
    return prefix + found[1]


def _put(document: dict[str | int, Any], path: tuple[str | int, ...], value: object) -> None:
    for step in path[:-1]:
        document = document.setdefault(step, {})
    document[path[-1]] = value


def _make_list(document: dict[str | int, Any], path: tuple[str | int, ...]) -> None:
    """Turn the object at this path, whose names are places, into a list; places left out are closed up."""
    *above, last = path
    for step in above:
        if step not in document:
            return
        document = document[step]
    if last in document:
        document[last] = [value for _, value in sorted(document[last].items())]


def _readable(cell: str) -> str:
    """The cell with a sign for each byte that is no character."""
    return cell.encode(errors="surrogateescape").decode(errors="replace")
