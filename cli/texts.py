"""Where texts come from: files, folders, stdin, JSON lines, CSV, TSV and Parquet, one text at a time."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cli.errors import CommandFailed

STDIN = "-"
DEFAULT_FIELD = "text"
PROBE_BYTES = 8192
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson"})
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, kw_only=True)
class Text:
    """One input. `id` says where it came from: a path, or path and line or row."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How sources are read. `field` is the JSON field, `column` the CSV or Parquet column that holds the
    text; `lines` makes every line of a text file a text of its own; `skipped(path, reason)` is told of
    files in folders that are no texts."""

    field: str | None = None
    column: str | None = None
    lines: bool = False
    skipped: Callable[[Path, str], None] = lambda path, reason: None


def read_texts(sources: Sequence[str], reading: Reading) -> Iterator[Text]:
    """The texts of all sources, in order. Raises `CommandFailed` that names file and line."""
    for source in sources:
        path = Path(source)
        if source == STDIN:
            yield from _from_stdin(reading)
        elif path.is_dir():
            yield from _from_folder(path, reading)
        elif path.suffix.lower() in JSON_SUFFIXES:
            with _opened(path) as file:
                yield from _from_json_lines(file, source, reading)
        elif path.suffix.lower() in DELIMITERS:
            yield from _from_table(path, reading)
        elif path.suffix.lower() == ".parquet":
            yield from _from_parquet(path, reading)
        else:
            yield from _from_text_file(path, reading)


def _from_stdin(reading: Reading) -> Iterator[Text]:
    """One text per line; with --field one JSON object per line."""
    if reading.field is not None:
        yield from _from_json_lines(sys.stdin.buffer, "stdin", reading)
    else:
        yield from _from_lines(sys.stdin.buffer, "stdin")


def _from_text_file(path: Path, reading: Reading) -> Iterator[Text]:
    with _opened(path) as file:
        if reading.lines:
            yield from _from_lines(file, str(path))
        else:
            yield Text(id=str(path), text=_decoded(file.read(), str(path)))


def _from_folder(folder: Path, reading: Reading) -> Iterator[Text]:
    """Every text file below, each one text or, with --lines, a text per line; hidden names and what is not
    UTF-8 are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(parent, name)
            try:
                with path.open("rb") as file:
                    start = file.read(PROBE_BYTES)
                    if b"\0" in start:
                        reading.skipped(path, "not a text file")
                        continue
                    data = start + file.read()
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError:
                reading.skipped(path, "not UTF-8")
            except OSError as error:
                reading.skipped(path, error.strerror or "cannot be read")
            else:
                if reading.lines:
                    yield from _from_lines(BytesIO(data), str(path))
                else:
                    yield Text(id=str(path), text=text)


def _from_lines(file: BinaryIO, name: str) -> Iterator[Text]:
    for number, line in enumerate(file, 1):
        text = _decoded(line, f"{name}:{number}").rstrip("\r\n")
        if text:  # a blank line separates, it is no text
            yield Text(id=f"{name}:{number}", text=text)


def _from_json_lines(file: BinaryIO, name: str, reading: Reading) -> Iterator[Text]:
    field = reading.field or DEFAULT_FIELD
    for number, line in enumerate(file, 1):
        place = f"{name}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(_decoded(line, place))
        except (ValueError, RecursionError) as error:
            raise CommandFailed(f"{place}: not valid JSON: {error}") from None
        if not isinstance(row, dict) or field not in row:
            fields = ", ".join(map(str, islice(row, 10))) if isinstance(row, dict) else "no object"
            raise CommandFailed(f"{place}: no field '{field}' (there is: {fields}); name one with --field")
        yield Text(id=place, text=_as_text(row[field], place, field))


def _from_table(path: Path, reading: Reading) -> Iterator[Text]:
    """CSV or TSV with a header; cells may span lines."""
    csv.field_size_limit(2**31 - 1)
    with _opened_text(path) as file:
        rows = csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()])
        try:
            header = next(rows, None)
            if header is None:
                raise CommandFailed(f"{path}: is empty; the first line must name the columns")
            index = header.index(_column(header, path, reading))
            for row in rows:
                if row:
                    yield Text(id=f"{path}:{rows.line_num}", text=row[index] if index < len(row) else "")
        except csv.Error as error:
            raise CommandFailed(f"{path}:{rows.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise CommandFailed(f"{path}: not UTF-8 after line {rows.line_num}") from None


def _from_parquet(path: Path, reading: Reading) -> Iterator[Text]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise CommandFailed(
            "Parquet needs pyarrow; install it with: pip install 'batchyard[parquet]'"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            column = _column(file.schema_arrow.names, path, reading)
            number = 0
            for batch in file.iter_batches(batch_size=4096, columns=[column]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield Text(id=f"{path}:{number}", text=_as_text(value, f"{path}:{number}", column))
    except (pyarrow.ArrowException, OSError) as error:
        raise CommandFailed(f"{path}: cannot be read as Parquet: {error}") from None


def _column(names: Sequence[str], path: Path, reading: Reading) -> str:
    """The column that holds the texts: the one that was named, 'text', or the only one."""
    wanted = reading.column or (names[0] if len(names) == 1 else DEFAULT_FIELD)
    if wanted not in names:
        known = ", ".join(names[:20])
        raise CommandFailed(f"{path}: no column '{wanted}' (there is: {known}); name one with --column")
    return wanted


def _as_text(value: Any, place: str, field: str) -> str:
    """A missing text is an empty one: it fails alone, and the rows after it keep their places."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CommandFailed(f"{place}: '{field}' is no text but {type(value).__name__}")
    return value


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{place}: not UTF-8 (byte {error.start})") from None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None


def _opened_text(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None
