"""What `batchyard embed` reads: folders, files, stdin, rows; and how it names what it cannot read."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tests.cli.conftest import Run, rows_of
from tests.fixtures.fake_service import FakeService, vector_of


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of three texts among things that are none."""
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "b.txt").write_text("second")
    (folder / "a.md").write_text("first\nof two lines\n")
    (folder / "sub" / "c").write_bytes(b"\xef\xbb\xbfthird")
    (folder / "image.png").write_bytes(b"\x89PNG\0\0")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / ".hidden" / "d.txt").write_text("unseen")
    (folder / ".e.txt").write_text("unseen")
    return folder


def test_a_folder_gives_its_text_files_in_order(run: Run, service: FakeService, docs: Path) -> None:
    done = run("embed", docs)
    assert done.code == 0
    assert service.texts() == ["first\nof two lines\n", "second", "third"]
    rows = rows_of(done.out)
    assert [row["id"] for row in rows] == [f"{docs}/a.md", f"{docs}/b.txt", f"{docs}/sub/c"]
    assert np.float32(rows[1]["embedding"]).tolist() == vector_of("second").tolist()
    assert f"skipped {docs}/image.png: not a text file" in done.err
    assert f"skipped {docs}/latin.txt: not UTF-8" in done.err


def test_a_file_is_one_text_unless_its_lines_are_asked_for(
    run: Run, service: FakeService, docs: Path
) -> None:
    assert run("embed", docs / "a.md", docs / "b.txt").code == 0
    assert service.texts() == ["first\nof two lines\n", "second"]
    service.bodies.clear()
    assert run("embed", "--lines", docs / "a.md").code == 0
    assert service.texts() == ["first", "of two lines"]


def test_lines_of_the_files_of_a_folder_are_texts_too(run: Run, service: FakeService, docs: Path) -> None:
    (docs / "half.txt").write_bytes(b"good\ncaf\xe9\n")
    done = run("embed", "--lines", docs)
    assert service.texts() == ["first", "of two lines", "second", "third"]
    ids = [row["id"].removeprefix(f"{docs}/") for row in rows_of(done.out)]
    assert ids == ["a.md:1", "a.md:2", "b.txt:1", "sub/c:1"]
    assert f"skipped {docs}/half.txt: not UTF-8" in done.err


def test_stdin_is_a_text_per_line(run: Run, service: FakeService) -> None:
    done = run("embed", "-", stdin="one\n\nzwei ä\r\nthree".encode())
    assert service.texts() == ["one", "zwei ä", "three"]
    assert [row["id"] for row in rows_of(done.out)] == ["stdin:1", "stdin:3", "stdin:4"]


def test_stdin_with_a_field_is_json_lines(run: Run, service: FakeService) -> None:
    assert run("embed", "--field", "q", "-", stdin=b'{"q": "one"}\n{"q": "two"}\n').code == 0
    assert service.texts() == ["one", "two"]


def test_json_lines_take_the_field_that_is_named(run: Run, service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "one", "body": "eins"}\n\n{"text": null, "body": "zwei"}\n')
    assert run("embed", path, "--field", "body").code == 0
    assert service.texts() == ["eins", "zwei"]
    service.bodies.clear()
    done = run("embed", path)  # an absent text is an empty one, and fails alone
    assert done.code == 4
    assert [row.get("error") for row in rows_of(done.out)] == [None, "the input is empty (empty_input)"]


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables_take_the_column_that_is_named(
    run: Run, service: FakeService, tmp_path: Path, suffix: str, delimiter: str
) -> None:
    path = tmp_path / f"in.{suffix}"
    rows = [["id", "body"], ["1", '"one\nover ""two"" lines"'], ["2", "zwei"]]
    path.write_text("\ufeff" + "\n".join(delimiter.join(row) for row in rows) + "\n", encoding="utf-8")
    done = run("embed", path, "--column", "body")
    assert service.texts() == ['one\nover "two" lines', "zwei"]
    assert [row["id"] for row in rows_of(done.out)] == [f"{path}:3", f"{path}:4"]


def test_parquet_takes_the_column_that_is_named(run: Run, service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table = pyarrow.table({"n": [1, 2, 3], "body": ["one", None, "three"]})
    pyarrow.parquet.write_table(table, path)
    assert run("embed", path, "--column", "body").code == 4
    assert service.texts() == ["one", "", "three"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.jsonl", b'{"text": "a"}\n{"text": ', "in.jsonl:2: not valid JSON"),
        ("in.jsonl", b'{"txt": "a"}\n', "in.jsonl:1: no field 'text' (there is: txt)"),
        ("in.jsonl", b"[1]\n", "in.jsonl:1: no field 'text'"),
        ("in.jsonl", b'{"text": 7}\n', "in.jsonl:1: 'text' is no text but int"),
        ("in.jsonl", b'{"text": "\xff"}\n', "in.jsonl:1: not UTF-8 (byte 10)"),
        ("in.jsonl", b"[" * 100_000, "in.jsonl:1: not valid JSON"),
        ("in.jsonl", b'{"text": "\\ud800"}\n', "in.jsonl:1: the text is not valid Unicode"),
        ("in.jsonl", b"", "there is no text in the inputs"),
        ("in.csv", b"a,b\n1,2\n", "no column 'text' (there is: a, b); name one with --column"),
        ("in.csv", b"", "is empty"),
        ("in.csv", b"text\n\xff\xfe\n", "not UTF-8"),
        ("in.parquet", b"not parquet", "cannot be read as Parquet"),
        ("in.txt", b"caf\xe9", "in.txt: not UTF-8 (byte 3)"),
    ],
)
def test_bad_input_is_named_with_its_place_and_nothing_is_submitted(
    run: Run, service: FakeService, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = run("embed", path)
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err
    assert service.jobs == {}


def test_a_file_that_is_missing_is_named(run: Run, service: FakeService, tmp_path: Path) -> None:
    for name in ("no.txt", "no.jsonl", "no.csv", "no.parquet"):
        done = run("embed", tmp_path / name)
        assert (done.code, name in done.err) == (1, True)


def test_a_text_that_no_line_can_hold_is_named_before_anything_is_sent(
    run: Run, service: FakeService, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHYARD_MAX_LINE_BYTES", "500")
    (docs / "b.txt").write_text("x" * 500)
    done = run("embed", docs)
    assert done.code == 1
    assert f"{docs}/b.txt: the text is too large" in done.err
    assert service.files == {}
