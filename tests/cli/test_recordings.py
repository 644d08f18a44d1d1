"""Which files `batchyard transcribe` takes for recordings, and by what names their transcripts go."""

import os
from pathlib import Path

from tests.cli.conftest import Run, written
from tests.fixtures.fake_service import FakeService


def test_recordings_of_one_name_keep_their_endings(run: Run, service: FakeService, tmp_path: Path) -> None:
    for name in ("talk.mp3", "talk.wav", "other/talk.mp3"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    out = tmp_path / "out"

    assert run("transcribe", tmp_path / "in", tmp_path / "in/other", "-o", out, "-f", "txt").code == 0

    assert written(out) == {"talk.mp3.txt", "talk.wav.txt", "other/talk.txt"}


def test_a_recording_is_not_taken_for_another_of_its_name_that_was_transcribed_before(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    """Recorders name so: each day begins with rec001. Both were recorded before either was transcribed."""
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "rec001.mp3").write_text(day)
    out = tmp_path / "out"
    assert run("transcribe", tmp_path / "monday", "-o", out, "-f", "txt").code == 0

    for done in range(2):
        told = run("transcribe", tmp_path / "tuesday", "-o", out, "-f", "txt")
        assert ("1 recording already done" in told.err) == bool(done)
    assert (out / "rec001.txt").read_text() == "text of monday"
    assert (out / "rec001 2.txt").read_text() == "text of tuesday"

    (tmp_path / "monday").rename(tmp_path / "moved")
    assert "already done" in run("transcribe", tmp_path / "moved", "-o", out, "-f", "txt").err


def test_links_that_lead_in_circles_and_what_is_no_file_are_said_and_left_out(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    (folder / "one.wav").symlink_to("two.wav")
    (folder / "two.wav").symlink_to("one.wav")
    (folder / "week 7/up").symlink_to("..")
    (folder / "gone.wav").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.wav")

    done = run("transcribe", folder, "-o", tmp_path / "out", "-f", "txt")

    assert done.code == 0, done.err
    assert len(written(tmp_path / "out")) == 4
    for name, why in {
        "one.wav": "Too many levels",
        "gone.wav": "No such file",
        "pipe.wav": "no file",
    }.items():
        assert f"skipped {folder / name}: " in done.err
        assert why in done.err
    named = run("transcribe", folder / "one.wav", "-o", tmp_path / "out")
    assert (named.code, named.err) == (
        1,
        f"batchyard: {folder / 'one.wav'}: Too many levels of symbolic links\n",
    )


def test_an_unreadable_recording_is_left_out(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    (folder / "gone.mp3").symlink_to(tmp_path / "nowhere")
    done = run("transcribe", folder, "-o", tmp_path / "out", "-f", "txt")
    assert "gone.mp3" in done.err
    assert len(written(tmp_path / "out")) == 4
