"""Where vectors go: JSON lines, Parquet or NumPy's .npy, row by row, so that memory stays flat.

A file appears under its name only when it is whole. Rows come in the order of the inputs.
"""

import json
import os
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson

from cli.errors import CommandFailed

STDOUT = "-"
SUFFIXES = (".jsonl", ".npy", ".parquet")
ROWS_PER_GROUP = 10_000  # of a Parquet file: what is held in memory


@dataclass(frozen=True, kw_only=True)
class Row:
    """The answer to one input: a vector (float32, one dimension), or why there is none."""

    index: int
    id: str
    vector: npt.NDArray[np.float32] | None = None
    error: str | None = None


class Sink(ABC):
    """Takes rows, with growing `index`. A context: left without an error, what was written is complete."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def write(self, row: Row) -> None: ...


class StdoutLines(Sink):
    """JSON lines on stdout."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.buffer.flush()

    def write(self, row: Row) -> None:
        sys.stdout.buffer.write(_json_line(row))


class VectorFile(Sink):
    """A file that is written beside its place and put there when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish(whole=kind is None)
            if kind is None:
                self.draft.replace(self.path)
        finally:
            with suppress(FileNotFoundError):
                self.draft.unlink()

    @abstractmethod
    def finish(self, *, whole: bool) -> None:
        """Write what is held back, if the file is to be kept, and close it."""


class JsonLines(VectorFile):
    """`{"index", "id", "embedding"}` or `{"index", "id", "error"}` per line."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = self.draft.open("wb")

    def write(self, row: Row) -> None:
        self._file.write(_json_line(row))

    def finish(self, *, whole: bool) -> None:
        self._file.close()


class Npy(VectorFile):
    """One float32 matrix of `rows` rows; a row without a vector is NaN. The ids lie beside it in
    NAME.ids.jsonl, one JSON string a line, so that line and row belong together."""

    def __init__(self, path: Path, rows: int) -> None:
        super().__init__(path)
        self._rows = rows
        self._next = 0  # the row that comes next
        self._empty: bytes | None = None  # a row of NaN, once the width is known
        self._file = self.draft.open("wb")
        self._ids_draft = self.draft.with_suffix(".ids")
        self._ids = self._ids_draft.open("w", encoding="utf-8")

    def write(self, row: Row) -> None:
        if row.vector is not None and self._empty is None:
            self._start(row.vector.size)
        self._skip_to(row.index)
        self._ids.write(json.dumps(row.id, ensure_ascii=False) + "\n")
        self._next += 1
        if row.vector is not None:
            self._file.write(np.ascontiguousarray(row.vector, dtype="<f4").tobytes())
        elif self._empty is not None:
            self._file.write(self._empty)

    def finish(self, *, whole: bool) -> None:
        try:
            if whole and self._empty is None:
                raise CommandFailed("not one vector came back, so there is no matrix to write")
            if whole:
                self._skip_to(self._rows)
        finally:
            self._file.close()
            self._ids.close()
            if whole and self._empty is not None:
                self._ids_draft.replace(self.path.with_suffix(".ids.jsonl"))
            else:
                self._ids_draft.unlink()

    def _start(self, width: int) -> None:
        """Format 1.0 of numpy.lib.format: the header says the shape, the rows follow as they are."""
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, width)}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._empty = np.full(width, np.nan, dtype="<f4").tobytes()
        self._file.write(self._empty * self._next)  # the rows before the first vector

    def _skip_to(self, index: int) -> None:
        """Rows that never came back (of a cancelled job): NaN, and an empty id."""
        while self._next < index:
            self._ids.write('""\n')
            self._next += 1
            if self._empty is not None:
                self._file.write(self._empty)


class Parquet(VectorFile):
    """Columns `index`, `id`, `embedding` (list of float32) and `error`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import pyarrow
        import pyarrow.parquet

        self._arrow = pyarrow
        self._schema = pyarrow.schema(
            {
                "index": pyarrow.int64(),
                "id": pyarrow.string(),
                "embedding": pyarrow.list_(pyarrow.float32()),
                "error": pyarrow.string(),
            }
        )
        self._writer = pyarrow.parquet.ParquetWriter(self.draft, self._schema)
        self._held: list[Row] = []

    def write(self, row: Row) -> None:
        self._held.append(row)
        if len(self._held) >= ROWS_PER_GROUP:
            self._write_group()

    def finish(self, *, whole: bool) -> None:
        try:
            if whole:
                self._write_group()
        finally:
            self._writer.close()

    def _write_group(self) -> None:
        columns: dict[str, list[Any]] = {
            "index": [row.index for row in self._held],
            "id": [row.id for row in self._held],
            "embedding": [row.vector for row in self._held],
            "error": [row.error for row in self._held],
        }
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))
        self._held.clear()


def check_output(output: str) -> None:
    """Refuse an output that could not be written, before anything is computed. Raises `CommandFailed`."""
    if output == STDOUT:
        return
    path = Path(output)
    folder = path.absolute().parent
    if path.suffix.lower() not in SUFFIXES:
        raise CommandFailed(f"{output}: the name must end in {', '.join(SUFFIXES)} (or be - for stdout)")
    if not folder.is_dir():
        raise CommandFailed(f"{output}: the folder {folder} does not exist")
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise CommandFailed(f"{output}: cannot be written")
    if path.suffix.lower() == ".parquet":
        _need_pyarrow()


def open_output(output: str, rows: int) -> Sink:
    """The sink for `rows` rows, by the ending of its name. Raises `CommandFailed`."""
    check_output(output)
    if output == STDOUT:
        return StdoutLines()
    path = Path(output)
    try:
        if path.suffix.lower() == ".npy":
            return Npy(path, rows)
        return Parquet(path) if path.suffix.lower() == ".parquet" else JsonLines(path)
    except OSError as error:
        raise CommandFailed(f"{output}: {error.strerror}") from None


def _need_pyarrow() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise CommandFailed("Parquet needs pyarrow; install it with: pip install 'batchyard[parquet]'")


def _json_line(row: Row) -> bytes:
    line: dict[str, Any] = {"index": row.index, "id": row.id}
    if row.vector is None:
        line["error"] = row.error
    else:
        line["embedding"] = row.vector
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
