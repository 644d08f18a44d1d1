"""Many transcripts as one zip, made while it is sent."""

import re
from collections.abc import Iterable, Iterator, Mapping
from io import RawIOBase
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

LONGEST_NAME = 150  # bytes; file systems allow 255, and an ending and a number are added
# What a file system or a shell takes for something else; separators, so that no name leaves its folder.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_DAY_ONE = (1980, 1, 1, 0, 0, 0)  # of zip's calendar: the same bytes every time


def zip_of(items: Iterable[tuple[str, Mapping[str, bytes]]]) -> Iterator[bytes]:
    """The bytes of a zip. An item has a name (that of its recording) and files by their endings (srt).

    Files are called by the item's name without its own ending; of items of the same name the later ones get
    a number.
    """
    sink = _Sink()
    used: set[str] = set()
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
        for name, files in items:
            stem = _unique(safe_stem(name), used)
            for ending, content in files.items():
                entry = ZipInfo(f"{stem}.{ending}", _DAY_ONE)
                entry.compress_type = ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content)
            yield sink.taken()
    yield sink.taken()


def safe_stem(name: str) -> str:
    """A name that is safe as that of a file: of a path the last part, without its ending."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    stem, dot, ending = last.rpartition(".")
    stem = stem if dot and stem and len(ending) <= 5 else last
    stem = _UNSAFE.sub("_", stem).strip(" .")
    return stem.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore").strip(" .") or "transcript"


def _unique(stem: str, used: set[str]) -> str:
    """The stem, numbered if it is taken; case does not tell names apart on every file system."""
    found, number = stem, 1
    while found.casefold() in used:
        number += 1
        found = f"{stem} ({number})"
    used.add(found.casefold())
    return found


class _Sink(RawIOBase):
    """What `ZipFile` writes to; it never goes back, so that what is taken can be sent."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken
