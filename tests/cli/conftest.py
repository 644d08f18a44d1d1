"""Running commands in this process, against a stand-in for the service."""

import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli.main import main
from tests.fixtures.fake_service import FakeService, fake_service


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def rows_of(lines: str) -> list[dict[str, Any]]:
    """JSON lines, read."""
    return [json.loads(line) for line in lines.splitlines()]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    monkeypatch.setattr("cli.watch.FIRST_POLL_SECONDS", 0.01)
    with fake_service() as running:
        monkeypatch.setenv("BATCHYARD_URL", running.url)
        monkeypatch.delenv("BATCHYARD_API_KEY", raising=False)
        yield running


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`run("embed", path, stdin=b"…")` as the shell would: exit code, stdout and stderr."""

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["batchyard", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def open_home(open_folder: Path) -> Iterator[Path]:
    """A home that the account of the embedded services can enter."""
    home = Path(tempfile.mkdtemp(dir=open_folder))
    home.chmod(0o711)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four recordings, one below, and what is none."""
    folder = tmp_path / "recordings"
    for name, text in {
        "talk.mp3": "a talk",
        "week 7/Übung.WAV": "an exercise",
        "week 7/note.m4a": "a note",
        "zoo.flac": "a zoo",
        "read me.txt": "no recording",
        ".hidden.mp3": "not to be seen",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def written(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} - {
        ".batchyard-transcribe.json"
    }
