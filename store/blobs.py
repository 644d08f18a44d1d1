"""Blobs: bytes under a random name, in a folder. Complete or not there: written aside, synced, renamed.

The folder is `HOME/blobs` or a `file:///…` URL. Rows refer to blobs; a row is written after its blob and
deleted before it, so that a crash in between leaves bytes without a row, never a row without bytes.
"""

import hashlib
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from configs.settings import Settings
from store.errors import StoreError

NAME = re.compile(r"[0-9a-f]{32}")
ABANDONED_SECONDS = 24 * 3600.0


class BlobTooLarge(StoreError):
    """More bytes were written than the limit allows; nothing of them is kept."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"larger than the limit of {limit:,} bytes")


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob that is complete. `sha256` is in hexadecimal."""

    name: str
    size_bytes: int
    sha256: str


class Blobs:
    """A folder of blobs; made when the first one is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, *, limit: int | None = None) -> "BlobWriter":
        """A new blob to write to, of at most `limit` bytes."""
        name = secrets.token_hex(16)
        return BlobWriter(name, self._unfinished / name, self.path(name), limit)

    def path(self, name: str) -> Path:
        """Where the blob lies. Raises ValueError for what is no blob's name."""
        if not NAME.fullmatch(name):
            raise ValueError(f"not the name of a blob: {name!r}")
        return self._folder / name[:2] / name

    def open(self, name: str) -> BinaryIO:
        """The blob, to be read. Raises FileNotFoundError."""
        return self.path(name).open("rb")

    def delete(self, name: str) -> int:
        """Deletes a blob; the bytes that this freed, 0 for one that is gone already."""
        path = self.path(name)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def sweep(self) -> int:
        """Deletes what writers that died left behind, after a day; how many."""
        before = time.time() - ABANDONED_SECONDS
        swept = 0
        for path in self._unfinished.glob("*"):
            with suppress(FileNotFoundError):  # its writer is done meanwhile
                if path.stat().st_mtime < before:
                    path.unlink()
                    swept += 1
        return swept

    @property
    def _unfinished(self) -> Path:
        return self._folder / "unfinished"


class BlobWriter:
    """Takes bytes until `commit` or `abort`, one of which must follow."""

    def __init__(self, name: str, unfinished: Path, target: Path, limit: int | None) -> None:
        self._name = name
        self._unfinished = unfinished
        self._target = target
        self._limit = limit
        self._size = 0
        self._hash = hashlib.sha256()
        unfinished.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = unfinished.open("xb")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raises `BlobTooLarge`, after which there is nothing to commit."""
        with memoryview(data) as view:
            self._size += view.nbytes
            if self._limit is not None and self._size > self._limit:
                self.abort()
                raise BlobTooLarge(self._limit)
            self._hash.update(view)
            self._file.write(view)

    def commit(self) -> Blob:
        """Makes the blob, which survives a power loss from here on."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._unfinished.rename(self._target)
        _sync_folder(self._target.parent)
        return Blob(name=self._name, size_bytes=self._size, sha256=self._hash.hexdigest())

    def abort(self) -> None:
        """Drops what was written. Does nothing after a commit."""
        if not self._file.closed:
            self._file.close()
            self._unfinished.unlink(missing_ok=True)


def open_blobs(settings: Settings) -> Blobs:
    """The blobs of this installation. `Settings` lets no other `blob_url` pass than `file:///…`."""
    if settings.blob_url is None:
        return Blobs(settings.home / "blobs")
    return Blobs(Path(unquote(urlsplit(settings.blob_url).path)))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
