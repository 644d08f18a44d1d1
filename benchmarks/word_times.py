"""How far the times of words are from a forced alignment: both our runtimes, and faster-whisper.

The alignment is pocketsphinx's, of what is said in the clips that the demo comes with, as it is stored for
the tests (tests/references/whisper_words.py). Words that were heard right are compared.
"""

import csv
import json
import os
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from backends.whisper.window import RATE
from benchmarks.candidates import ROOT, Candidate, started
from benchmarks.model import ready_whisper
from benchmarks.speech import GAP_SECONDS, read_clips, write
from benchmarks.speech import joined as one_recording
from benchmarks.transcription import OURS_MODULE

ALIGNMENT = ROOT / "tests" / "data" / "whisper" / "words.tsv"
NEAR_MS, WANTED_MS = 200, 100
CANDIDATES = (
    Candidate(name="batchyard, ctranslate2", module=OURS_MODULE, option="ctranslate2 words"),
    Candidate(name="batchyard, whispercpp", module=OURS_MODULE, option="whispercpp words"),
    Candidate(
        name="faster-whisper batched, word_timestamps",
        module="benchmarks.peers.faster_whisper_peer",
        option="words",
        env="whisper",
    ),
)

Word = tuple[str, float, float]  # in small letters without marks; start and end in milliseconds


@dataclass(frozen=True)
class Workload:
    """Files, and the words that are spoken in each."""

    name: str
    files: list[str]
    spoken: list[list[Word]]


def run(cache: Path) -> None:
    """Measure, and print a table for each workload."""
    workloads = _workloads(cache / "speech")
    processes = started(CANDIDATES, ready_whisper(cache), cache, max(os.sched_getaffinity(0)))
    for workload in workloads:
        said = sum(map(len, workload.spoken))
        print(f"\n{workload.name}: {said} words; wanted: starts within {WANTED_MS} ms in the mean\n")
        near = f"within {NEAR_MS} ms"
        print(f"| candidate | heard right | starts off, ms | {near} | late, median | ends off, ms |")
        print("|---|---|---|---|---|---|")
        for process in processes:
            answers = process.ask({"files": workload.files})["texts"]
            heard = [_words(json.loads(each)) for each in answers]
            print(f"| {process.candidate.name} | {_row(heard, workload)} |", flush=True)
    for process in processes:
        process.close()


def _workloads(folder: Path) -> list[Workload]:
    clips, spoken = read_clips(), _alignment()
    files = [str(write(folder / f"{clip.name}.wav", clip.sound)) for clip in clips]
    whole: list[Word] = []
    begin = 0.0
    for clip in clips:
        whole += [(word, start + begin, end + begin) for word, start, end in spoken[clip.name]]
        begin += 1000 * (len(clip.sound) / RATE + GAP_SECONDS)
    recording = str(write(folder / "clips.wav", one_recording(clips)))
    return [
        Workload("each clip alone", files, [spoken[clip.name] for clip in clips]),
        Workload("the clips as one recording", [recording], [whole]),
    ]


def _alignment() -> dict[str, list[Word]]:
    """Words by clip."""
    found: dict[str, list[Word]] = {}
    with ALIGNMENT.open() as file:
        for name, start, end, word in csv.reader(file, delimiter="\t"):
            found.setdefault(name, []).append((word, float(start), float(end)))
    return found


def _words(heard: list[tuple[str, float, float]]) -> list[Word]:
    return [(re.sub(r"[^a-z0-9']", "", text.lower()), start, end) for text, start, end in heard]


def _row(heard: list[list[Word]], workload: Workload) -> str:
    pairs = [pair for each in zip(heard, workload.spoken, strict=True) for pair in _paired(*each)]
    starts = np.array([mine[1] - theirs[1] for mine, theirs in pairs])
    ends = np.array([mine[2] - theirs[2] for mine, theirs in pairs])
    near = 100 * (np.abs(starts) <= NEAR_MS).mean()
    return (
        f"{len(pairs)} | {np.abs(starts).mean():.0f} | {near:.0f} % | {np.median(starts):+.0f} | "
        f"{np.abs(ends).mean():.0f}"
    )


def _paired(some: list[Word], others: list[Word]) -> list[tuple[Word, Word]]:
    """The words that both have in common, in order."""
    one, other = ([word for word, _, _ in each] for each in (some, others))
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [(some[a + n], others[b + n]) for a, b, length in blocks for n in range(length)]
