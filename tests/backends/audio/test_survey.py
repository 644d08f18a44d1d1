"""What is wrong with a recording is said, and how long it really is."""

import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from backends.audio.survey import Survey
from backends.errors import InvalidBody, PartFailed
from backends.whisper.window import RATE
from tests.fixtures.recordings import likeness, read, reading, sound, surveyed, write, write_video

ROOT = Path(__file__).parents[3]


def refusal(path: Path) -> tuple[str, str]:
    """Code and message with which `path` is refused."""
    with pytest.raises(InvalidBody) as refused:
        surveyed(path)
    assert str(path.parent) not in refused.value.message
    assert refused.value.status == 400
    return refused.value.code, refused.value.message


def test_a_file_that_goes_while_it_is_surveyed_is_no_fault_of_the_caller(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", sound(2), RATE, "pcm_s16le")
    survey = Survey(str(path))
    assert not survey.step(0)
    path.unlink()

    with pytest.raises(PartFailed) as failed:
        survey.step(60)
    assert str(tmp_path) not in failed.value.message


# --- cut off ------------------------------------------------------------------------------------------

CUTTABLE = [
    ("x.wav", "pcm_s16le", {}),
    ("x.mp3", "libmp3lame", {}),
    ("x.flac", "flac", {}),
    ("x.opus", "libopus", {}),
    ("x.webm", "libopus", {}),
    ("x.mka", "flac", {"form": "matroska"}),
    ("x.mp4", "aac", {"options": {"movflags": "faststart"}}),
    ("x.aiff", "pcm_s16be", {}),
    ("pcm.mkv", "pcm_s16le", {}),
]


@pytest.mark.parametrize(("name", "codec", "how"), CUTTABLE, ids=[case[0] for case in CUTTABLE])
def test_a_recording_that_was_cut_is_read_as_far_as_it_goes(
    name: str, codec: str, how: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    path = write(tmp_path / name, sound(20, rate=48_000), 48_000, codec, **how)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10 + 7])

    survey = surveyed(path)

    assert survey.truncated
    assert not survey.damaged
    assert 10_000 < survey.total_ms < 14_000
    reader = reading(path)
    assert not reader.damaged
    assert likeness(reader.channels[0], sound(20)[: survey.total_ms * 16])[0] > 0.9


def test_an_mp4_without_its_index_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "x.m4a", sound(5), RATE, "aac")
    path.write_bytes(path.read_bytes()[:5000])

    code, message = refusal(path)

    assert code == "invalid_audio"
    assert "ends before its index" in message


def test_a_wav_that_was_written_to_a_pipe_is_whole(tmp_path: Path) -> None:
    """Its sizes are not known when its header is written."""
    data = bytearray(write(tmp_path / "x.wav", sound(3), RATE, "pcm_s16le").read_bytes())
    at = data.index(b"data") + 4
    for size in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        path = tmp_path / f"{size}.wav"
        data[at : at + 4] = size.to_bytes(4, "little")
        path.write_bytes(data)

        assert abs(surveyed(path).total_ms - 3000) < 5
        assert not surveyed(path).truncated
        assert likeness(read(path), sound(3))[0] > 0.99


def test_a_variable_mp3_without_a_length_is_not_taken_for_a_cut_one(tmp_path: Path) -> None:
    """Its length can only be guessed from its first packets: silence takes few bytes, speech many."""
    wave = np.concatenate([np.zeros(10 * RATE, np.float32), sound(5), np.zeros(RATE, np.float32)])
    path = write(
        tmp_path / "x.mp3",
        wave,
        RATE,
        "libmp3lame",
        options={"write_xing": "0"},
        codec_options={"q": "2"},
    )

    assert abs(surveyed(path).total_ms - 16_000) < 150
    assert not surveyed(path).truncated


def test_sound_that_ends_before_its_picture_is_not_cut(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mp4", sound(3), seconds=9)

    assert abs(surveyed(path).total_ms - 3000) < 100
    assert not surveyed(path).truncated


def test_a_clock_that_begins_late_promises_nothing_more(tmp_path: Path) -> None:
    """Matroska says when the recording ends, and not how long it is."""
    path = write(tmp_path / "x.mkv", sound(6, rate=48_000), 48_000, "libopus", start=48_000 * 5)

    assert abs(surveyed(path).total_ms - 6000) < 50
    assert not surveyed(path).truncated


@pytest.mark.parametrize(
    ("name", "options"), [("no-picture.avi", {}), ("no-duration.mkv", {"live": "1"})], ids=["avi", "mkv"]
)
def test_a_length_that_is_estimated_promises_nothing(
    name: str, options: dict[str, str], tmp_path: Path
) -> None:
    """Where the header says none FFmpeg takes the file's size for sound, containers and all."""
    silence = np.zeros(120 * 8000, np.float32)
    path = write(tmp_path / name, silence, 8000, "pcm_s16le", options=options)

    assert abs(surveyed(path).total_ms - 120_000) < 10
    assert not surveyed(path).truncated


# --- refused ------------------------------------------------------------------------------------------


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    for data in (b"Dear Sir,\n" * 1000, random.Random(1).randbytes(5000)):
        path.write_bytes(data)
        assert refusal(path)[0] == "invalid_audio"


@pytest.mark.parametrize(
    ("name", "codec", "pixels"), [("x.png", "png", "rgb24"), ("x.jpg", "mjpeg", "yuvj420p")]
)
def test_a_photo_is_no_recording(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, pixels, Fraction(1, 25)
    photo = av.VideoFrame(64, 48, pixels)
    photo.pts = 0
    path = tmp_path / name
    path.write_bytes(b"".join(bytes(packet) for packet in (*encoder.encode(photo), *encoder.encode(None))))
    assert "it is not a recording" in refusal(path)[1]
    assert refusal(path)[0] == "invalid_audio"


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.ts", sound(3, rate=48_000), 48_000, "aac")
    path = tmp_path / "x.mp3"
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
    ):
        path.write_text(text)
        assert refusal(path)[0] == "invalid_audio"


def test_nothing_at_all_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"")
    assert refusal(path)[0] == "empty_audio"

    path.write_bytes(write(tmp_path / "y.wav", sound(1), RATE, "pcm_s16le").read_bytes()[:78])
    assert refusal(path)[0] == "empty_audio"


def test_a_video_without_sound_has_no_audio_stream(tmp_path: Path) -> None:
    assert refusal(write_video(tmp_path / "x.mp4", None, seconds=1))[0] == "no_audio_stream"


def test_an_encrypted_recording_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    key = "00112233445566778899aabbccddeeff"
    path = write(
        tmp_path / "x.mp4",
        sound(2),
        RATE,
        "aac",
        options={"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key},
    )

    assert refusal(path)[0] == "encrypted_audio"


def test_a_sampling_rate_that_is_a_mistake_is_refused(tmp_path: Path) -> None:
    """One sample a second would stand for weeks of sound in a small file."""
    data = bytearray(write(tmp_path / "x.wav", sound(3), RATE, "pcm_s16le").read_bytes())
    data[24:32] = (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    (tmp_path / "x.wav").write_bytes(data)

    code, message = refusal(tmp_path / "x.wav")

    assert (code, "1 Hz" in message) == ("invalid_audio", True)


# --- damaged ------------------------------------------------------------------------------------------


def test_damage_in_the_middle_is_said_and_the_rest_is_heard(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", sound(20), RATE, "flac")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = random.Random(2).randbytes(9000)
    path.write_bytes(data)

    survey, reader = surveyed(path), reading(path)

    assert reader.damaged
    assert survey.damaged
    assert abs(survey.total_ms - 20_000) < 20
    for begin in (1, 15):
        stretch = reader.channels[0][begin * RATE : (begin + 4) * RATE]
        alike, late = likeness(stretch, sound(20)[begin * RATE : (begin + 4) * RATE])
        assert alike > 0.95
        assert abs(late) < 1


@pytest.mark.slow
def test_no_damage_ends_the_process(tmp_path: Path) -> None:
    """Hundreds of broken files of all kinds: each is read or refused. In a process of its own, so that what
    crashes it shows as a failed test."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.programs.read_broken_recordings", tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-3000:]
    answers = done.stdout.split()
    assert len(answers) == 300
    assert set(answers) <= {"read", "invalid_audio", "no_audio_stream", "empty_audio", "encrypted_audio"}
    assert answers.count("read") > 100
    assert answers.count("invalid_audio") > 10
    assert not done.stderr  # FFmpeg is not to write into the engine's log
