"""Blobs: complete or not there."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from configs.settings import Settings
from store.blobs import ABANDONED_SECONDS, Blobs, BlobTooLarge, open_blobs


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_blob_is_what_was_written_with_its_size_and_digest(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    writer = blobs.create()
    for piece in (b"one ", bytearray(b"two "), memoryview(b"three\x00")):
        writer.write(piece)
    blob = writer.commit()
    with blobs.open(blob.name) as file:
        content = file.read()
    assert content == b"one two three\x00"
    assert (blob.size_bytes, blob.sha256) == (14, hashlib.sha256(content).hexdigest())
    writer.abort()  # does nothing after a commit
    assert blobs.path(blob.name).read_bytes() == content


def test_an_empty_blob_is_a_blob(tmp_path: Path) -> None:
    blob = Blobs(tmp_path).create().commit()
    assert blob.size_bytes == 0
    assert Blobs(tmp_path).path(blob.name).read_bytes() == b""


def test_nothing_is_left_of_a_blob_that_was_not_committed(tmp_path: Path) -> None:
    writer = Blobs(tmp_path).create()
    writer.write(b"half")
    writer.abort()
    writer.abort()
    assert files_in(tmp_path) == []


def test_the_limit_is_a_limit(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    exact = blobs.create(limit=4)
    exact.write(b"1234")
    assert exact.commit().size_bytes == 4
    writer = blobs.create(limit=4)
    writer.write(b"123")
    with pytest.raises(BlobTooLarge, match="limit of 4 bytes"):
        writer.write(b"45")
    assert len(files_in(tmp_path)) == 1


def test_a_deleted_blob_is_gone_and_deleting_it_again_is_no_error(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blob = blobs.create().commit()
    blobs.delete(blob.name)
    blobs.delete(blob.name)
    with pytest.raises(FileNotFoundError):
        blobs.open(blob.name)


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", "/etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "\n"]
)
def test_what_is_no_name_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a blob"):
        Blobs(tmp_path).path(name)


def test_what_a_dead_writer_left_is_swept_after_a_day(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    kept = blobs.create().commit()
    dead, alive = blobs.create(), blobs.create()
    (oldest,) = [path for path in files_in(tmp_path) if path.name == dead._name]
    os.utime(oldest, (time.time() - ABANDONED_SECONDS - 60,) * 2)
    os.utime(blobs.path(kept.name), (0, 0))
    assert blobs.sweep() == 1
    assert not oldest.exists()
    assert blobs.path(kept.name).exists()
    alive.commit()
    dead.abort()


def test_a_writer_that_is_done_while_others_are_swept_is_no_error(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    dead = blobs.create()
    (oldest,) = files_in(tmp_path)
    os.utime(oldest, (0, 0))
    (oldest.parent / "0").symlink_to("gone")  # is listed, and is not there
    assert blobs.sweep() == 1
    assert files_in(tmp_path) == []
    dead.abort()


def test_blobs_lie_in_the_home_or_where_the_url_says(tmp_path: Path) -> None:
    at_home = open_blobs(Settings(home=tmp_path)).create().commit()
    assert (tmp_path / "blobs" / at_home.name[:2] / at_home.name).is_file()
    elsewhere = f"file://{tmp_path}/some%20where"
    blob = open_blobs(Settings(home=tmp_path, blob_url=elsewhere)).create().commit()
    assert (tmp_path / "some where" / blob.name[:2] / blob.name).is_file()
