"""A zip that any tool opens, whose files stay in its folder."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import PurePosixPath
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.transcripts.archive import LONGEST_NAME, safe_stem, zip_of


def opened(*items: tuple[str, dict[str, bytes]]) -> dict[str, bytes]:
    with ZipFile(BytesIO(b"".join(zip_of(items)))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_files_have_the_recording_s_name_and_their_own_ending() -> None:
    found = opened(("talk.mp3", {"srt": b"captions", "verbose.json": b"{}"}), ("other", {"srt": b""}))
    assert found == {"talk.srt": b"captions", "talk.verbose.json": b"{}", "other.srt": b""}


def test_recordings_of_one_name_are_numbered_whatever_their_case() -> None:
    names = ["talk.mp3", "TALK.wav", "talk (2).mp3", "a/talk.mp3"]
    found = opened(*((name, {"txt": name.encode()}) for name in names))
    assert list(found) == ["talk.txt", "TALK (2).txt", "talk (2) (2).txt", "talk (3).txt"]


def test_nothing_is_an_empty_zip() -> None:
    assert opened() == {}


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\calls\\monday.wav", "monday"),
        ("..", "transcript"),
        ("", "transcript"),
        ("...mp3", "transcript"),
        ("a\x00b\n.ogg", "a_b_"),
        ("2024-05-01 talk v1.5 final.m4a", "2024-05-01 talk v1.5 final"),
        ("talk 2024.05.01 morning", "talk 2024.05.01 morning"),
        ("день.flac", "день"),
    ],
)
def test_a_name_becomes_one_that_is_safe(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


@given(st.text(max_size=300))
def test_whatever_the_name_it_is_short_and_stays_in_its_folder(name: str) -> None:
    stem = safe_stem(name)
    assert 0 < len(stem.encode()) <= LONGEST_NAME
    assert PurePosixPath(stem).parts == (stem,)
    assert (stem not in (".", "..") and "\\" not in stem and stem.isprintable()) or not name.isprintable()


def test_a_zip_is_sent_while_it_is_made_and_is_the_same_every_time() -> None:
    told = []

    def items() -> Iterator[tuple[str, dict[str, bytes]]]:
        for number in range(3):
            told.append(number)
            yield f"{number}.mp3", {"txt": b"x" * 1000}

    stream = zip_of(items())
    first = next(stream)
    assert told == [0]
    assert first.startswith(b"PK")
    whole = first + b"".join(stream)
    assert whole == b"".join(zip_of(items()))
