"""CPU-seconds of voice activity detection on one core, and whether it finds the same speech: ours and ONNX
Runtime in turns, over the clips that the demo comes with, one after the other."""

import json
import os
from pathlib import Path
from statistics import median

import numpy as np

from backends.whisper.window import RATE
from benchmarks.candidates import Candidate, CandidateProcess
from benchmarks.model import ready_whisper
from benchmarks.speech import read_clips, write

ROUNDS, TIMES = 5, 3
FRAME = 512  # samples; an edge that lies within one is the same edge
OURS = Candidate(name="batchyard (OpenVINO)", module="benchmarks.peers.ours_vad")
OTHERS = (
    Candidate(
        name="faster-whisper (ONNX Runtime), same file",
        module="benchmarks.peers.silero_peer",
        option="same file",
        env="whisper",
        wanted=2.5,
    ),
    Candidate(
        name="faster-whisper (ONNX Runtime), its own file",
        module="benchmarks.peers.silero_peer",
        option="own file",
        env="whisper",
        wanted=2.5,
    ),
)


def run(cache: Path) -> None:
    """Measure, and print a table."""
    model = ready_whisper(cache)
    recording, length = _recording(cache / "voice-activity.wav")
    core = max(os.sched_getaffinity(0))
    processes = [CandidateProcess(candidate, model, cache, core) for candidate in (OURS, *OTHERS)]
    if not all(process.wait_ready() for process in processes):
        raise RuntimeError(f"a peer could not be loaded; its log lies in {cache}")
    seconds: dict[str, list[float]] = {process.candidate.name: [] for process in processes}
    spans: dict[str, list[list[int]]] = {}
    for number in range(ROUNDS + 1):
        for process in processes:
            answer = process.ask({"files": [str(recording)]})
            spans[process.candidate.name] = json.loads(answer["texts"][0])
            if number:  # in the first one kernels are made for the shapes that come
                seconds[process.candidate.name].append(answer["cpu_seconds"])
    for process in processes:
        process.close()
    print(f"{length / RATE:.0f} s of audio, {ROUNDS} rounds, core {core}")
    _report(seconds, spans, length)


def _recording(path: Path) -> tuple[Path, int]:
    """All clips, several times, as a 16-bit wav at 16 kHz; and its samples."""
    sound = np.concatenate([clip.sound for clip in read_clips()] * TIMES)
    return write(path, sound), len(sound)


def _report(seconds: dict[str, list[float]], spans: dict[str, list[list[int]]], length: int) -> None:
    ours, wanted = seconds[OURS.name], {candidate.name: candidate.wanted for candidate in OTHERS}
    print("\n| candidate | ms per minute | theirs / ours (min-max) | wanted | spans | other than ours |")
    print("|---|---|---|---|---|---|")
    for name, theirs in seconds.items():
        ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
        other = _difference(spans[OURS.name], spans[name], length)
        print(
            f"| {name} | {median(theirs) * 60_000 * RATE / length:.0f} | "
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {wanted.get(name) or ''} | "
            f"{len(spans[name])} | {other:.1f} % of the audio |"
        )


def _difference(ours: list[list[int]], theirs: list[list[int]], length: int) -> float:
    """Of how much of the audio only one of the two says that it is speech, in per cent; edges within a frame
    are the same."""
    masks = []
    for rows in (ours, theirs):
        mask = np.zeros(length, dtype=bool)
        for start, end in rows:
            mask[start:end] = True
        masks.append(mask)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], masks[0] != masks[1], [False]]).astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    return 100 * float(runs[runs > FRAME].sum()) / length
