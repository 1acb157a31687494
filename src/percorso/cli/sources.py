"""Files to import: opened, decompressed, cut into items, each with the number of the line it begins on."""

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from percorso.errors import Problem, StartupError
from percorso.formats import mapping as mappings
from percorso.formats.mapping import RowMapping, closest
from percorso.formats.rows import Cells, Refused, Rows, delimited
from percorso.formats.splitting import Line, LineSplitter

STDIN: Final = "-"

_STDIN: Final = 0
_GZIP: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LONGEST_LINE: Final = 1024 * 1024
"""Characters; a longer line is none of delimited text."""
_BATCH_BYTES: Final = 4 * 1024 * 1024
_BUFFER: Final = 32 * 1024

_SHIPPED: Final = resources.files("percorso").joinpath("mappings")


class Item(NamedTuple):
    """One interaction to import, as JSON, or what could not be made one."""

    line: int
    content: Line | Refused


class Source:
    """A file, or standard input for `-`. `size` and `position`, how far it was read, are in bytes.

    The size is None where it cannot be known. StartupError where there is no such file.
    """

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == STDIN else name
        self.size: int | None = None
        self.position = 0
        self._path = None if name == STDIN else Path(name)
        if self._path is not None and (self._path.is_dir() or not self._path.exists()):
            raise StartupError(f"There is no file {name}.")

    def items(self, mapping: RowMapping | None, *, max_bytes: int) -> Iterator[Item]:
        """Every item of the file: its lines, or with a mapping its rows. StartupError where the file cannot be read."""
        try:
            with self._open() as file:
                self.size = _size(file)
                counted = _Counted(self, file)
                plain = io.BufferedReader(counted, _BUFFER)
                stream = gzip.GzipFile(fileobj=plain) if counted.head == _GZIP else plain
                yield from (
                    _lines(stream, self.name, max_bytes) if mapping is None else _rows(stream, self.name, mapping)
                )
        except (EOFError, zlib.error, OSError) as error:
            where = f"{self.name} cannot be read beyond byte {self.position}"
            raise StartupError(f"{where}: {error}. What stands before that was taken.") from error

    def _open(self) -> io.FileIO:
        # Not `sys.stdin`, whose lock a thread that waits there would still hold when the interpreter ends.
        return io.FileIO(_STDIN, closefd=False) if self._path is None else io.FileIO(self._path)


def batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """The items, so many at a time, or fewer where they are large."""
    batch: list[Item] = []
    held = 0
    for item in items:
        batch.append(item)
        held += len(item.content) if isinstance(item.content, bytes) else 0
        if len(batch) == size or held >= _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def shipped() -> list[str]:
    """The names of the mappings that come with percorso."""
    names = (Path(file.name) for file in _SHIPPED.iterdir())
    return sorted(name.stem for name in names if name.suffix == ".toml")


def find_mapping(name: str) -> RowMapping:
    """The mapping of this name that comes with percorso, or that of a file; StartupError where there is neither."""
    if name in shipped():
        return mappings.parse(_SHIPPED.joinpath(f"{name}.toml").read_text(encoding="utf-8"), name=name)
    path = Path(name)
    if not path.is_file():
        have = ", ".join(shipped())
        raise StartupError(f"There is no mapping file {name}, and percorso has {have} only{closest(name, shipped())}")
    try:
        return mappings.parse(path.read_text(encoding="utf-8"), name=name)
    except UnicodeDecodeError as error:
        raise StartupError(f"The mapping {name} is not UTF-8: {error}.") from None


class _Counted(io.RawIOBase):
    """A file that tells its source how far it was read, and whose first two bytes are known beforehand."""

    def __init__(self, source: Source, file: io.FileIO) -> None:
        self._source = source
        self._file = file
        self.head = b""
        while len(self.head) < len(_GZIP) and (piece := file.read(len(_GZIP) - len(self.head))):
            self.head += piece
        self._waiting = self.head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        piece = self._waiting + self._file.read(len(buffer) - len(self._waiting))
        self._waiting = b""
        buffer[: len(piece)] = piece
        self._source.position += len(piece)
        return len(piece)


_Stream: TypeAlias = "gzip.GzipFile | io.BufferedReader[_Counted]"


def _size(file: io.FileIO) -> int | None:
    with contextlib.suppress(OSError):
        return os.fstat(file.fileno()).st_size or None
    return None


def _lines(stream: _Stream, name: str, max_bytes: int) -> Iterator[Item]:
    """The lines of newline-delimited JSON."""
    _require_json(stream, name)
    splitter = LineSplitter(max_bytes)
    number = 1
    while piece := stream.readline(_BUFFER):
        for line in splitter.feed(piece):
            yield Item(number, line)
        number += piece.endswith(b"\n")
    for line in splitter.finish():
        yield Item(number, line)


def _require_json(stream: _Stream, name: str) -> None:
    """Refuse at once what is no JSON at all: else each of its lines would go into quarantine."""
    head = stream.peek(_BUFFER)[:_BUFFER]
    lines = [line for each in head.removeprefix(_BYTE_ORDER_MARK).splitlines() if (line := each.strip())]
    if lines and lines[0].startswith(b"["):
        raise StartupError(f"{name} is a JSON array: write one interaction a line, such as by `jq -c '.[]'`.")
    if lines and not any(line.startswith(b"{") for line in lines):
        raise StartupError(f"{name} is not newline-delimited JSON: for other text, say with --mapping how to read it.")


def _rows(stream: _Stream, name: str, mapping: RowMapping) -> Iterator[Item]:
    """The rows of delimited text, mapped."""
    form = mapping.file
    encoding = "utf-8-sig" if form.encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else form.encoding
    text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
    rows: Rows | None = Rows(mapping, form.columns) if form.columns else None
    for number, row in delimited(_text_lines(text, name), form):
        if rows is None:
            rows = _headed(mapping, row)
        elif isinstance(row, str):
            yield Item(number, rows.broken([Problem("", row)], ()))
        else:
            yield Item(number, rows.read(row))


def _headed(mapping: RowMapping, header: Cells | str) -> Rows:
    if isinstance(header, str):
        raise StartupError(f"The header line {header}.")
    return Rows(mapping, header)


def _text_lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise StartupError(f"Line {number} of {name} is too long to be one of delimited text.")
        yield line
