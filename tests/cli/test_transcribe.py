"""`batchyard transcribe`: which recordings it takes, what it writes, and how it goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli import client
from tests.cli.conftest import Outcome, Run, written
from tests.fixtures.fake_service import FakeService

ENDPOINT = "/v1/audio/transcriptions"


def lines_of(service: FakeService) -> list[dict[str, Any]]:
    """The lines of the newest job."""
    return list(service.bodies.values())[-1]


# --- what comes out -----------------------------------------------------------------------------------


def test_every_recording_of_a_folder_gets_a_file_per_format(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    done = run("transcribe", folder, "--out", out, "--formats", "srt,txt,json")

    assert done.code == 0, done.err
    stems = ("talk", "zoo", "week 7/note", "week 7/Übung")
    assert written(out) == {f"{stem}.{ending}" for stem in stems for ending in ("srt", "txt", "json")}
    assert (out / "talk.srt").read_text() == "srt of a talk"
    assert (out / "week 7/Übung.txt").read_text() == "text of an exercise"
    assert json.loads((out / "zoo.json").read_text())["text"] == "a zoo"
    assert "4 recordings transcribed, 4 min of audio" in done.err
    [job] = service.jobs.values()
    assert (job["endpoint"], job["metadata"]) == (ENDPOINT, {"source": "batchyard transcribe"})
    assert [line["custom_id"] for line in lines_of(service)] == list(stems)


def test_a_line_says_what_was_asked_for(run: Run, service: FakeService, folder: Path, tmp_path: Path) -> None:
    options = ("--language", "en", "--prompt", "Helstone", "--words", "--channels", "split", "-m", "big")
    more = ("--window", "22:00-06:00", "--timezone", "Europe/Berlin", "--webhook-url", "https://a.example")

    assert run("transcribe", folder, "-o", tmp_path, "-f", "verbose_json", *options, *more).code == 0

    body = lines_of(service)[0]["body"]
    assert service.files[body.pop("file_id")] == b"a talk"
    assert body == {
        "model": "big",
        "language": "en",
        "prompt": "Helstone",
        "words": True,
        "channels": "split",
        "formats": ["verbose_json"],
        "timestamp_granularities": ["segment", "word"],
    }
    assert service.work == {
        "endpoint": ENDPOINT,
        "input_file_id": service.work["input_file_id"],
        "metadata": {"source": "batchyard transcribe"},
        "window": "22:00-06:00",
        "timezone": "Europe/Berlin",
        "webhook_url": "https://a.example",
    }


def test_a_window_is_in_the_time_of_this_machine(
    run: Run, service: FakeService, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert run("transcribe", folder, "-o", tmp_path, "--window", "22:00-06:00").code == 0
    assert service.work["timezone"] == "Asia/Tokyo"


def test_a_recording_that_fails_is_named_and_the_others_are_written(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    (folder / "zoo.flac").write_text("BAD")
    (folder / "talk.mp3").write_text("a talk that was cut")

    done = run("transcribe", folder, "-o", tmp_path / "out", "-f", "txt", "--json")

    assert done.code == 4
    assert written(tmp_path / "out") == {"talk.txt", "week 7/Übung.txt", "week 7/note.txt"}
    report = json.loads(done.out)
    assert report["failed"] == {str(folder / "zoo.flac"): "it is not a recording (invalid_audio)"}
    assert (report["transcribed"], report["audio_seconds"]) == (3, 180)
    assert "talk.txt; it was cut off: transcribed as far as it goes" in done.err
    assert "1 recording failed:" in done.err


def test_transcripts_are_written_although_a_recording_before_them_is_not_done(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    """The first and third take long: what has ended between them does not wait."""
    service.polls_until_done, service.running = -1, {0, 2}
    out = tmp_path / "out"
    command = [sys.executable, "-P", "-m", "cli.main", "transcribe", folder, "-o", out, "-f", "txt"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            until(lambda: written(out) == {"week 7/Übung.txt", "zoo.txt"})
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 130
    assert "job_0000 will go on. Come back for the rest with the same command." in said

    service.polls_until_done, service.running = 2, set()
    done = run("transcribe", folder, "-o", out, "-f", "txt")
    assert done.code == 0
    assert "2 recordings already done" in done.err
    assert "goes on with job_0000: 2 recordings" in done.err
    assert len(service.jobs) == 1
    assert len(written(out)) == 4


def test_who_interrupts_uploads_is_told_that_they_are_not_for_nothing(
    run: Run, service: FakeService, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.transcription_run.submit", interrupted)
    done = transcribed(run, folder, tmp_path / "out")
    assert (done.code, "The same command goes on" in done.err) == (130, True)
    monkeypatch.undo()
    sent = service.asked.count("POST /v1/files")
    assert transcribed(run, folder, tmp_path / "out", "--url", service.url).code == 0
    assert service.asked.count("POST /v1/files") == sent + 1  # the lines of the job


def until(holds: Any) -> None:
    patience = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < patience
        time.sleep(0.05)


# --- going on -----------------------------------------------------------------------------------------


def transcribed(run: Run, folder: Path, out: Path, *options: str) -> Outcome:
    return run("transcribe", folder, "-o", out, "-f", "txt", *options)


def test_what_is_done_is_left_out_and_what_is_new_or_changed_is_not(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert transcribed(run, folder, out).code == 0

    assert "4 recordings already done" in transcribed(run, folder, out).err
    assert len(service.jobs) == 1

    (folder / "late.ogg").write_text("late")
    (folder / "zoo.flac").write_text("another zoo")
    later = time.time() + 10
    os.utime(folder / "zoo.flac", (later, later))
    done = transcribed(run, folder, out)
    assert "2 recordings already done" not in done.err
    assert "3 recordings already done" in done.err
    assert [line["custom_id"] for line in lines_of(service)] == ["late", "zoo"]
    assert (out / "zoo.txt").read_text() == "text of another zoo"


def test_another_format_is_rendered_from_what_was_computed(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    transcribed(run, folder, out)

    assert run("transcribe", folder, "-o", out, "-f", "vtt,txt").code == 0

    assert len(service.jobs) == 1
    assert (out / "talk.vtt").read_text() == "vtt of a talk"


def test_another_question_is_computed_anew(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    transcribed(run, folder, tmp_path / "out")
    assert run("transcribe", folder, "-o", tmp_path / "out", "-f", "vtt", "--language", "en").code == 0
    assert len(service.jobs) == 2
    assert transcribed(run, folder, tmp_path / "out", "--anew").code == 0
    assert len(service.jobs) == 3


def test_without_waiting_the_job_is_named_and_the_same_command_fetches(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evening = transcribed(run, folder, out, "--no-wait")
    assert (evening.code, evening.out) == (0, "job_0000\n")
    assert written(out) == set()

    service.jobs["job_0000"]["audio"] = {"done_seconds": 240.0, "known_seconds": 240.0}
    morning = transcribed(run, folder, out)

    assert (morning.code, len(service.jobs), len(written(out))) == (0, 1, 4)
    assert "s of audio/s" not in morning.err  # nobody has watched them being computed


def test_how_much_is_left_of_a_single_recording_is_known_once_it_is_cut(
    run: Run, service: FakeService, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.progress.LINE_SECONDS", 0.0)
    run("transcribe", folder / "talk.mp3", "-o", tmp_path, "--no-wait")
    service.jobs["job_0000"]["audio"] = {"done_seconds": 90.0, "known_seconds": 3600.0}
    service.polls_until_done = 3
    told = run("transcribe", folder / "talk.mp3", "-o", tmp_path)
    assert "transcribing: 0 of 1 recording, 90 of 3,600 s of audio" in told.err


def test_what_is_left_is_foreseen_without_what_had_been_done_and_over_all_jobs(
    run: Run, service: FakeService, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the morning: a job that has ended, one that goes on, and a recording that has come in since. They
    have as many bytes each; one that is done has a minute."""
    monkeypatch.setattr("cli.progress.LINE_SECONDS", 0.0)
    sources = [tmp_path / name for name in ("first.mp3", "second.mp3", "third.mp3")]
    for path in sources:
        path.write_text(path.name[:4])
    run("transcribe", sources[0], "-o", tmp_path, "--no-wait")
    service.polls_until_done = 0
    service.poll("job_0000")  # it ends
    run("transcribe", sources[1], "-o", tmp_path, "--no-wait")
    service.polls_until_done = 4
    told = run("transcribe", *sources, "-o", tmp_path)
    assert told.code == 0, told.err
    assert "transcribing: 0 of 2 recordings, 0 of 120 s of audio" in told.err


def test_what_was_not_reached_is_submitted_again_and_what_is_at_fault_is_not(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    (folder / "zoo.flac").write_text("BAD")
    service.status, service.leave_out = "cancelled", {0}
    first = transcribed(run, folder, tmp_path / "out")
    assert first.code == 4
    assert f"{folder / 'talk.mp3'}: job_0000 is cancelled" in first.err

    service.status = "completed"
    second = transcribed(run, folder, tmp_path / "out")

    assert second.code == 4
    assert [line["custom_id"] for line in lines_of(service)] == ["talk"]
    assert "it is not a recording (invalid_audio)" in second.err


def test_a_job_that_was_deleted_is_made_again(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    transcribed(run, folder, tmp_path / "out", "--no-wait")
    service.jobs.clear()
    assert transcribed(run, folder, tmp_path / "out").code == 0
    assert len(written(tmp_path / "out")) == 4


def test_bytes_that_the_service_has_are_not_sent_again(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    (folder / "copy.mp3").write_text("a talk")
    transcribed(run, folder, tmp_path / "out")
    files = [line["body"]["file_id"] for line in lines_of(service)]
    assert len(set(files)) == 4

    transcribed(run, folder, tmp_path / "elsewhere")

    assert [line["body"]["file_id"] for line in lines_of(service)] == files
    assert service.asked.count("POST /v1/files") == 4 + 2  # and the lines of two jobs


def test_a_large_recording_goes_up_in_parts(
    run: Run, service: FakeService, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PART_BYTES", 1000)
    (folder / "talk.mp3").write_text("a talk " * 500)
    assert transcribed(run, folder, tmp_path / "out").code == 0
    assert (tmp_path / "out/talk.txt").read_text() == "text of " + "a talk " * 500


# --- refused ------------------------------------------------------------------------------------------


def test_wrong_arguments_are_said_before_anything_is_sent(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for arguments, code, word in (
        ((folder, "-o", out, "-f", "srt,doc"), 2, "'doc' is none of"),
        ((folder, "-o", out, "--timezone", "UTC"), 2, "belongs to a --window"),
        ((folder, "-o", out, "--window", "25:00-26:00"), 2, "from 00:00 to 23:59"),
        ((folder, "-o", out, "--window", "22:00-06:00", "--timezone", "Mars"), 2, "'Mars' is not known"),
        ((tmp_path / "nothing", "-o", out), 1, "there is no such file or folder"),
        ((tmp_path / "recordings/week 8", "-o", out), 1, "there is no recording"),
    ):
        (tmp_path / "recordings/week 8").mkdir(exist_ok=True)
        done = run("transcribe", *arguments)
        assert (done.code, word in done.err) == (code, True), done.err
    assert service.asked == []


def test_an_unknown_model_costs_no_upload(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    done = run("transcribe", folder, "-o", tmp_path, "-m", "nothing")
    assert (done.code, "model_not_found" in done.err) == (1, True)
    assert "POST /v1/files" not in service.asked


def test_a_model_for_something_else_costs_no_upload(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    service.answers["GET /v1/models/vectors"] = {"id": "vectors", "endpoints": ["/v1/embeddings"]}
    done = run("transcribe", folder, "-o", tmp_path, "-m", "vectors")
    assert (done.code, "vectors does not transcribe" in done.err) == (1, True)
    assert "POST /v1/files" not in service.asked


def test_a_language_that_the_model_does_not_know_costs_no_upload(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    service.answers["GET /v1/models/english"] = {"id": "english", "languages": ["en"]}
    for language, why in {
        "de": "the model does not know 'de'; it knows en (unsupported_language)",
        "German": "'language' must be a code such as en (invalid_value)",
    }.items():
        done = run("transcribe", folder, "-o", tmp_path, "-m", "english", "--language", language)
        assert (done.code, why in done.err) == (1, True), done.err
    assert "POST /v1/files" not in service.asked
    assert run("transcribe", folder, "-o", tmp_path, "-m", "english", "--language", "en-GB").code == 0


def test_an_output_folder_that_cannot_be_written_costs_no_upload(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    done = transcribed(run, folder, tmp_path / "out")
    assert (done.code, "Not a directory" in done.err) == (1, True)
    assert "POST /v1/files" not in service.asked


def test_a_damaged_book_is_not_overwritten(
    run: Run, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / ".batchyard-transcribe.json").write_text('{"jobs": 7}')
    done = transcribed(run, folder, tmp_path)
    assert (done.code, "is damaged" in done.err) == (1, True)
    assert service.jobs == {}
