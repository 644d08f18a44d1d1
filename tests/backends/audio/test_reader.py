"""Any stretch of any recording comes out at its exact place."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.audio import timeline
from backends.audio.reader import Reader
from backends.errors import InvalidBody, PartFailed
from backends.whisper.window import RATE
from tests.fixtures.recordings import (
    LAYOUTS,
    likeness,
    read,
    reading,
    sound,
    surveyed,
    write,
    write_video,
)

SECONDS = 20
STRETCH = 11_300, 14_800  # ms

# name of the file, codec, rate, how else it is written
KINDS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("16.wav", "pcm_s16le", 44_100, {}),
    ("u8.wav", "pcm_u8", 8_000, {}),
    ("24.wav", "pcm_s24le", 96_000, {}),
    ("32.wav", "pcm_s32le", 192_000, {}),
    ("f32.wav", "pcm_f32le", 16_000, {}),
    ("f64.wav", "pcm_f64le", 22_050, {}),
    ("alaw.wav", "pcm_alaw", 8_000, {}),
    ("mulaw.wav", "pcm_mulaw", 8_000, {}),
    ("adpcm.wav", "adpcm_ms", 22_050, {}),
    ("x.mp3", "libmp3lame", 44_100, {}),
    ("no-length-frame.mp3", "libmp3lame", 44_100, {"options": {"write_xing": "0"}}),
    ("variable.mp3", "libmp3lame", 24_000, {"codec_options": {"q": "5"}}),
    ("x.m4a", "aac", 44_100, {}),
    ("x.mp4", "aac", 48_000, {}),
    ("fragments.mp4", "aac", 44_100, {"options": {"movflags": "frag_keyframe+empty_moov"}}),
    ("x.flac", "flac", 44_100, {}),
    ("vorbis.ogg", "vorbis", 44_100, {"codec_options": {"strict": "-2"}}),
    ("opus.ogg", "libopus", 48_000, {}),
    ("x.opus", "libopus", 48_000, {}),
    ("x.webm", "libopus", 48_000, {}),
    ("no-duration.webm", "libopus", 48_000, {"options": {"live": "1"}}),
    ("x.aac", "aac", 32_000, {"form": "adts"}),
    ("x.ts", "aac", 48_000, {"form": "mpegts"}),
    ("x.mpg", "mp2", 48_000, {"form": "mpeg"}),
    ("x.aiff", "pcm_s16be", 11_025, {}),
    ("x.amr", "libopencore_amrnb", 8_000, {}),
]
DELAY_OF_A_CODEC = 40  # ms: formats that do not say by how much their codec delays, play it


@pytest.mark.parametrize(("name", "codec", "rate", "how"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_stretch_is_what_stands_there_in_the_whole(
    name: str, codec: str, rate: int, how: dict[str, Any], tmp_path: Path
) -> None:
    wave = sound(SECONDS, rate=rate)
    path = write(tmp_path / name, np.stack([wave, wave]) if codec == "vorbis" else wave, rate, codec, **how)

    survey, whole, part = surveyed(path), read(path), reading(path, *STRETCH)
    [stretch] = part.channels

    assert abs(survey.total_ms - SECONDS * 1000) <= DELAY_OF_A_CODEC
    assert not survey.truncated
    assert not survey.damaged
    assert not part.damaged
    assert len(whole) == survey.total_ms * 16
    assert len(stretch) == (STRETCH[1] - STRETCH[0]) * 16
    alike, late = likeness(whole, sound(SECONDS))
    assert alike > (0.4 if codec == "libopencore_amrnb" else 0.9)
    assert 0 <= late <= DELAY_OF_A_CODEC
    alike, later = likeness(stretch, sound(SECONDS)[STRETCH[0] * 16 : STRETCH[1] * 16])
    assert alike > (0.4 if codec == "libopencore_amrnb" else 0.9)
    assert abs(later - late) <= 1


@pytest.mark.parametrize("channels", sorted(LAYOUTS))
@pytest.mark.parametrize(("name", "codec"), [("x.wav", "pcm_s16le"), ("x.wv", "wavpack")])
def test_every_channel_is_heard_in_the_mix_and_apart(
    name: str, codec: str, channels: int, tmp_path: Path
) -> None:
    """Wavpack is decoded to a plane per channel, where PyAV has trouble with eight."""
    waves = np.stack([sound(3, rate=44_100, seed=seed) for seed in range(channels)])
    path = write(tmp_path / name, waves, 44_100, codec)

    mixed = reading(path).channels
    apart = reading(path, split=True).channels

    assert surveyed(path).channels == len(apart) == channels
    assert [len(samples) for samples in mixed] == [3 * RATE]
    for seed, samples in enumerate(apart):
        alike, late = likeness(samples, sound(3, seed=seed))
        assert alike > 0.95
        assert abs(late) < 1
        assert likeness(mixed[0], sound(3, seed=seed))[0] > 0.2


def test_more_channels_than_a_telephone_has_lines_are_not_had_apart(tmp_path: Path) -> None:
    path = tmp_path / "many.wav"
    size = 12 * 2 * 16_000
    head = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = (1, 12, 16_000, 16_000 * 24, 24, 16)
    widths = (2, 2, 4, 4, 2, 2)
    head += b"".join(number.to_bytes(width, "little") for number, width in zip(form, widths, strict=True))
    path.write_bytes(head + b"data" + size.to_bytes(4, "little") + bytes(size))

    assert len(read(path)) == RATE
    with pytest.raises(InvalidBody, match="12 channels"):
        reading(path, split=True)


def test_samples_that_are_no_numbers_are_silence(tmp_path: Path) -> None:
    wave = sound(4)
    wave[20_000] = np.nan
    wave[30_000] = np.inf
    wave[40_000] = -1e30
    path = write(tmp_path / "x.wav", wave, RATE, "pcm_f32le")

    reader = reading(path)

    [samples] = reader.channels
    assert reader.damaged
    assert samples[20_000] == samples[30_000] == 0
    assert samples[40_000] == -1
    assert np.array_equal(samples[41_000:], sound(4)[41_000:])
    assert not reading(path, 3000).damaged


def test_float_samples_of_any_loudness_are_as_they_sound(tmp_path: Path) -> None:
    """Whoever makes floats of 16-bit samples may leave them as large."""
    path = write(tmp_path / "x.wav", sound(4) * 32_768, RATE, "pcm_f32le")

    [samples] = reading(path).channels

    assert np.abs(samples).max() <= 1
    assert likeness(samples, sound(4))[0] > 0.999


@pytest.mark.parametrize(("name", "codec"), [("x.wav", "pcm_s16le"), ("x.mp3", "libmp3lame")])
def test_channels_that_cancel_each_other_out_are_heard(name: str, codec: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, np.stack([sound(4), -sound(4)]), RATE, codec)

    assert likeness(read(path), sound(4))[0] > 0.9


def test_a_hole_in_the_clock_is_silence(tmp_path: Path) -> None:
    """Recorders stop and go on: what comes after stands where the clock says."""
    path = write(tmp_path / "x.webm", sound(20, rate=48_000), 48_000, "libopus", holes={480_000: 48_000 * 7})

    assert abs(surveyed(path).total_ms - 27_000) < 50
    samples = read(path, 9_000, 19_000)
    assert likeness(samples[:16_000], sound(20)[9 * RATE : 10 * RATE])[0] > 0.9
    assert np.abs(samples[20_000 : 7 * RATE]).max() < 0.01
    alike, late = likeness(read(path, 18_000, 20_000), sound(20)[11 * RATE : 13 * RATE])
    assert alike > 0.9
    assert abs(late) <= 30  # packets are 20 ms long


def test_time_begins_with_the_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mkv", sound(5), seconds=8, sound_from=1.5)

    assert abs(surveyed(path).total_ms - 6500) < 100
    samples = read(path)
    assert np.abs(samples[: RATE + RATE // 4]).max() < 0.01
    alike, late = likeness(samples, sound(5))
    assert alike > 0.9
    assert abs(late - 1500) < 100


def test_a_clock_that_begins_late_begins_at_nought(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.ts", sound(6, rate=48_000), 48_000, "aac", form="mpegts", start=48_000 * 36_000
    )

    assert abs(surveyed(path).total_ms - 6000) < 50
    alike, late = likeness(read(path, 2000, 5000), sound(6)[2 * RATE : 5 * RATE])
    assert alike > 0.9
    assert abs(late) < 30


@pytest.mark.parametrize(("name", "codec"), [("x.ogg", "libopus"), ("x.mp3", "libmp3lame"), ("x.ts", "aac")])
def test_files_put_together_are_heard_one_after_the_other(name: str, codec: str, tmp_path: Path) -> None:
    """Their clocks begin again with every piece, or say of the first one only how long it is."""
    pieces = [
        write(tmp_path / f"{seed}-{name}", sound(8, rate=48_000, seed=seed), 48_000, codec)
        for seed in range(3)
    ]
    path = tmp_path / name
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))

    assert abs(surveyed(path).total_ms - 24_000) < 200
    for seed in range(3):
        begin = 8000 * seed + 3000
        alike, late = likeness(read(path, begin, begin + 3000), sound(8, seed=seed)[3 * RATE : 6 * RATE])
        assert alike > 0.8, seed
        assert abs(late) < 150, seed


def test_what_lies_behind_the_end_is_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", sound(2), RATE, "flac")

    assert len(read(path, 1500, 9000)) == RATE // 2
    assert len(read(path, 5000, 9000)) == 0


def test_a_reader_stops_between_its_steps(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp3", sound(20), RATE, "libmp3lame")
    reader, steps = Reader(str(path), 0, None, False), 1

    while not reader.step(0):
        steps += 1

    assert steps > 500  # a packet at a time, through the survey and the decoding
    assert likeness(reader.channels[0], sound(20))[0] > 0.9


def test_an_engine_that_has_not_seen_the_recording_surveys_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.flac", sound(2), RATE, "flac")
    surveyed(path)
    monkeypatch.setattr(timeline, "_known", type(timeline._known)())

    assert len(read(path, 500, 1500)) == RATE
    assert timeline.known(str(path)) is not None


def test_a_file_that_was_deleted_meanwhile_is_missed_as_before_it_was_handed_over(tmp_path: Path) -> None:
    with pytest.raises(PartFailed) as failed:
        read(tmp_path / "gone.wav")
    assert failed.value.code == "file_not_found"
    assert str(tmp_path) not in failed.value.message


_READ_LATE = """
import resource, sys
from backends.audio.reader import Reader
def read(path, start):
    reader = Reader(path, start, start + 120_000, False)
    while not reader.step(): pass
    assert len(reader.channels[0]) == 120 * 16_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(read(sys.argv[1], 300_000), read(sys.argv[2], 35_000_000))
"""


@pytest.mark.slow
def test_ten_hours_take_no_more_memory_than_ten_minutes(tmp_path: Path) -> None:
    minute = write(
        tmp_path / "minute.mp3",
        sound(60),
        RATE,
        "libmp3lame",
        options={"write_xing": "0", "id3v2_version": "0"},
        bit_rate=16_000,
    ).read_bytes()
    for name, minutes in (("short.mp3", 10), ("long.mp3", 600)):
        with (tmp_path / name).open("wb") as file:
            for _ in range(minutes):
                file.write(minute)

    done = subprocess.run(
        [sys.executable, "-c", _READ_LATE, tmp_path / "short.mp3", tmp_path / "long.mp3"],
        capture_output=True,
        text=True,
        check=True,
    )

    short, long = (int(number) for number in done.stdout.split()[:2])
    assert long - short < 20, f"{short} MB, then {long} MB"
