"""`batchyard transcribe` on the real service with the real model: a folder of recordings of many kinds."""

import json
from pathlib import Path

import numpy as np
import pytest
import srt

from backends.whisper.window import RATE
from cli.demo_speech import Clip, read_clips
from cli.word_errors import word_errors
from tests.cli.conftest import Run
from tests.fixtures.recordings import read, write, write_video
from tests.fixtures.stack import Stack

pytestmark = pytest.mark.slow

EASY = ("3331-159605-0001", "367-130732-0001")  # clips that tiny.en hears without an error


@pytest.fixture(autouse=True)
def url(speech_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BATCHYARD_URL", speech_stack.url)
    monkeypatch.delenv("BATCHYARD_API_KEY", raising=False)
    return speech_stack.url


@pytest.fixture(scope="module")
def easy() -> list[Clip]:
    return [clip for clip in read_clips() if clip.name in EASY]


def errors_of(path: Path, clip: Clip) -> int:
    return word_errors(path.read_text(), clip.said).errors


def test_a_folder_of_all_sorts_is_transcribed_or_told_why_not(
    run: Run, easy: list[Clip], tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "films").mkdir(parents=True)
    first, second = (read(clip.path) for clip in easy)
    write(folder / "voice.mp3", first, RATE, "libmp3lame")
    write_video(folder / "films/film.mkv", second, seconds=6)
    write(folder / "silence.flac", np.zeros(3 * RATE, np.float32), RATE, "flac")
    cut = write(folder / "cut.wav", np.concatenate([first, second]), RATE, "pcm_s16le")
    cut.write_bytes(cut.read_bytes()[: 44 + 2 * len(first) + 2 * RATE // 10])
    (folder / "letter.mp3").write_text("Dear Sir,")
    (folder / "films/mute.mp4").write_bytes(write_video(tmp_path / "mute.mp4", None, seconds=1).read_bytes())

    done = run("transcribe", folder, "-o", out, "-f", "txt,srt", "--json")

    assert done.code == 4, done.err
    report = json.loads(done.out)
    assert report["transcribed"] == 4
    assert {Path(path).name: why.rpartition(" ")[2] for path, why in report["failed"].items()} == {
        "letter.mp3": "(invalid_audio)",
        "mute.mp4": "(no_audio_stream)",
    }
    assert errors_of(out / "voice.txt", easy[0]) == 0
    assert errors_of(out / "cut.txt", easy[0]) == 0
    assert errors_of(out / "films/film.txt", easy[1]) == 0
    assert (out / "silence.txt").read_text().strip() == ""
    assert "silence.txt, silence.srt; nobody speaks in it" in done.err
    assert "cut.txt, cut.srt; it was cut off" in done.err
    captions = list(srt.parse((out / "films/film.srt").read_text()))
    assert captions[-1].end.total_seconds() < 6

    again = run("transcribe", folder, "-o", out, "-f", "vtt")
    assert "is submitted" not in again.err  # rendered from what is stored; the two would fail again
    assert (out / "voice.vtt").read_text().startswith("WEBVTT")
    assert again.code == 4


def test_two_speakers_are_told_apart_by_their_channels(run: Run, easy: list[Clip], tmp_path: Path) -> None:
    first, second = (read(clip.path) for clip in easy)
    call = np.zeros((2, len(first) + len(second)), np.float32)
    call[0, : len(first)] = first
    call[1, len(first) :] = second
    write(tmp_path / "call.opus", np.repeat(call, 3, axis=1), 3 * RATE, "libopus")

    done = run("transcribe", tmp_path / "call.opus", "-o", tmp_path, "-f", "diarized_json")

    assert done.code == 0, done.err
    transcript = json.loads((tmp_path / "call.diarized.json").read_text())
    said: dict[str, str] = {"channel_0": "", "channel_1": ""}
    for segment in transcript["segments"]:
        said[segment["speaker"]] += f" {segment['text']}"
    assert word_errors(said["channel_0"], easy[0].said).errors <= 1
    assert word_errors(said["channel_1"], easy[1].said).errors <= 1
