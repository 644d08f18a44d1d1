"""Speech for the benchmarks: the clips that the demo comes with (LibriSpeech test-other), and what is made of
them."""

import random
import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.whisper.window import RATE
from benchmarks.candidates import ROOT

CLIPS = ROOT / "cli" / "clips"
GAP_SECONDS = 0.6
CYCLE_SECONDS, SPOKEN_SECONDS = 300, 150  # of recordings that are hours long

Sound = NDArray[np.int16]  # one channel at 16 kHz


@dataclass(frozen=True)
class Clip:
    """A recording of a few seconds, and what is said in it."""

    name: str
    said: str
    sound: Sound


def read_clips() -> list[Clip]:
    """Every clip, by name."""
    rows = [line.split("\t") for line in (CLIPS / "references.tsv").read_text().splitlines()]
    return [Clip(name, said, _sound_of(CLIPS / f"{name}.flac")) for name, _, said in sorted(rows)]


def shuffled(clips: Sequence[Clip], times: int, seed: int = 0) -> list[Clip]:
    """All clips so many times over, each time in another order."""
    order, found = list(clips), []
    for turn in range(times):
        random.Random(seed * times + turn).shuffle(order)
        found += order
    return found


def joined(clips: Iterable[Clip]) -> Sound:
    """The clips as one recording, with a pause after each."""
    pause = np.zeros(int(GAP_SECONDS * RATE), dtype="<i2")
    return np.concatenate([part for clip in clips for part in (clip.sound, pause)])


def write(path: Path, sound: Sound) -> Path:
    """A 16-bit wav."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        _describe(file)
        file.writeframes(sound.tobytes())
    return path


def write_hours(path: Path, clips: Sequence[Clip], seconds: int) -> Path:
    """A 16-bit wav of any length, written in little memory: two and a half minutes of speech and as many of
    silence, again and again."""
    cycle = np.zeros(CYCLE_SECONDS * RATE, dtype="<i2")
    cycle[: SPOKEN_SECONDS * RATE] = joined(clips)[: SPOKEN_SECONDS * RATE]
    with wave.open(str(path), "wb") as file:
        _describe(file)
        for start in range(0, seconds, CYCLE_SECONDS):
            file.writeframes(cycle[: (seconds - start) * RATE].tobytes())
    return path


def _describe(file: wave.Wave_write) -> None:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(RATE)


def _sound_of(path: Path) -> Sound:
    import av

    with av.open(str(path)) as file:
        frames = [frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]
    return np.concatenate(frames).astype("<i2")
