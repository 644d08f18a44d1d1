"""Word error rates over the clips that the demo comes with, with the intervals that so few clips leave: both
our runtimes, and pywhispercpp called directly."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.candidates import started
from benchmarks.model import ready_whisper
from benchmarks.speech import Clip, read_clips, write
from benchmarks.transcription import OURS, PYWHISPERCPP, WHISPERCPP

RESAMPLES, SEED = 10_000, 0
LEVEL = 95  # per cent
WANTED_POINTS = 2.0

Counts = NDArray[np.float64]  # of each clip: words that are wrong, words that were said


def run(cache: Path) -> None:
    """Measure, and print a table."""
    clips = read_clips()
    files = [str(write(cache / "speech" / f"{clip.name}.wav", clip.sound)) for clip in clips]
    core = max(os.sched_getaffinity(0))
    counts: dict[str, Counts] = {}
    for process in started((OURS, WHISPERCPP, PYWHISPERCPP), ready_whisper(cache), cache, core):
        counts[process.candidate.name] = _counts(clips, process.ask({"files": files})["texts"])
        process.close()
    print(f"\n{len(clips)} clips, {counts[OURS.name][:, 1].sum():.0f} words, {RESAMPLES} resamples")
    _report(counts)


def _counts(clips: list[Clip], texts: list[str]) -> Counts:
    """After Whisper's English normaliser."""
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    normal = EnglishTextNormalizer()
    rows = []
    for clip, text in zip(clips, texts, strict=True):
        found = jiwer.process_words(normal(clip.said), normal(text))
        missed = found.substitutions + found.deletions
        rows.append((missed + found.insertions, missed + found.hits))
    return np.array(rows, np.float64)


def _report(counts: dict[str, Counts]) -> None:
    """Rates with their intervals, of the bootstrap over clips (percentiles); the differences are paired: each
    resample has the same clips of both."""
    rng, clips = np.random.default_rng(SEED), len(counts[OURS.name])
    chosen = rng.integers(clips, size=(RESAMPLES, clips))
    everything = np.arange(clips)[None]
    interval = f"{LEVEL} % interval"
    print(f"\n| candidate | word errors % | {interval} | points over pywhispercpp | {interval} |")
    print("|---|---|---|---|---|")
    for name, own in counts.items():
        other = counts[PYWHISPERCPP.name]
        row = f"| {name} | {_rates(own, everything)[0]:.1f} | {_interval(_rates(own, chosen))} |"
        if name == PYWHISPERCPP.name:
            row += " | |"
        else:
            over = _rates(own, everything)[0] - _rates(other, everything)[0]
            row += f" {over:+.1f} | {_interval(_rates(own, chosen) - _rates(other, chosen), sign='+')} |"
        print(row)
    print(f"wanted: at most {WANTED_POINTS:.0f} points over pywhispercpp")


def _rates(counts: Counts, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Word error rates in per cent of each row of chosen clips."""
    errors, words = (counts[chosen, column].sum(axis=1) for column in (0, 1))
    return np.asarray(100 * errors / words)


def _interval(values: NDArray[np.float64], sign: str = "") -> str:
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return f"{low:{sign}.1f} to {high:{sign}.1f}"
