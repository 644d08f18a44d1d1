"""Audio seconds per CPU-second on one core, and word errors beside them: ours and the peers in turns.

Everything is made of the clips that the demo comes with (LibriSpeech test-other): one recording of about ten
minutes, and the clips alone.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from backends.whisper.window import RATE
from benchmarks.candidates import Candidate, CandidateProcess, started
from benchmarks.model import ready_whisper
from benchmarks.speech import joined, read_clips, shuffled, write

ROUNDS, TIMES = 3, 3
OURS_MODULE = "benchmarks.peers.ours_whisper"
OURS = Candidate(name="batchyard, ctranslate2", module=OURS_MODULE, option="ctranslate2")
WHISPERCPP = Candidate(name="batchyard, whispercpp", module=OURS_MODULE, option="whispercpp")
PYWHISPERCPP = Candidate(
    name="pywhispercpp, f16, greedy",
    module="benchmarks.peers.pywhispercpp_peer",
    gguf="ggml.bin",
    env="whisper",
    wanted=5.0,
)
OTHERS = (
    Candidate(
        name="faster-whisper batched, int8, 8 windows, greedy",
        module="benchmarks.peers.faster_whisper_peer",
        env="whisper",
        wanted=1.6,
    ),
    PYWHISPERCPP,
    WHISPERCPP,
    Candidate(
        name="batchyard, ctranslate2, full windows", module=OURS_MODULE, option="ctranslate2 full windows"
    ),
    Candidate(
        name="batchyard, ctranslate2, no word times",
        module=OURS_MODULE,
        option="ctranslate2 no word times",
        wanted=0.71,  # word times may cost 40 %
    ),
)


@dataclass(frozen=True)
class Workload:
    """Files that are transcribed in one turn, and what is said in each."""

    name: str
    files: list[Path]
    references: list[str]
    seconds: float


def run(cache: Path) -> None:
    """Measure, and print a table for each workload."""
    model = ready_whisper(cache)
    core = max(os.sched_getaffinity(0))
    workloads = _workloads(cache / "speech")
    processes = started((OURS, *OTHERS), model, cache, core)
    for workload in workloads:
        print(f"\n{workload.name}: {len(workload.files)} files, {workload.seconds:.0f} s, core {core}")
        seconds, errors = _turns(processes, workload)
        _report(seconds, errors, workload)
    for process in processes:
        process.close()


def _workloads(folder: Path) -> list[Workload]:
    """Write the recordings: all clips three times over as one, and each alone."""
    clips = read_clips()
    files = [write(folder / f"{clip.name}.wav", clip.sound) for clip in clips]
    several = shuffled(clips, TIMES)
    sound = joined(several)
    long = write(folder / "long.wav", sound)
    whole = " ".join(clip.said for clip in several)
    short = sum(len(clip.sound) for clip in clips) / RATE
    return [
        Workload("one long recording", [long], [whole], len(sound) / RATE),
        Workload("short clips", files, [clip.said for clip in clips], short),
    ]


def _turns(
    processes: list[CandidateProcess], workload: Workload
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """CPU-seconds and word error rates (per cent) of each round, by candidate. The first round of all is
    thrown away: kernels are made for the shapes that come."""
    seconds: dict[str, list[float]] = {process.candidate.name: [] for process in processes}
    errors: dict[str, list[float]] = {process.candidate.name: [] for process in processes}
    for number in range(ROUNDS + 1):
        for process in processes:
            answer = process.ask({"files": [str(path) for path in workload.files]})
            if number:
                seconds[process.candidate.name].append(answer["cpu_seconds"])
                errors[process.candidate.name].append(word_error_rate(workload.references, answer["texts"]))
        print(f"round {number} of {ROUNDS} done", flush=True)
    return seconds, errors


def word_error_rate(references: list[str], texts: list[str]) -> float:
    """In per cent, after Whisper's English normaliser."""
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    normal = EnglishTextNormalizer()
    found = jiwer.process_words([normal(text) for text in references], [normal(text) for text in texts])
    return 100 * float(found.wer)


def _report(seconds: dict[str, list[float]], errors: dict[str, list[float]], workload: Workload) -> None:
    ours = seconds[OURS.name]
    wanted = {candidate.name: candidate.wanted for candidate in OTHERS}
    print("\n| candidate | audio s/CPU-s | word errors % | theirs / ours, CPU-s (min-max) | wanted |")
    print("|---|---|---|---|---|")
    for name, theirs in seconds.items():
        ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
        print(
            f"| {name} | {workload.seconds / median(theirs):.1f} | {median(errors[name]):.1f} | "
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {wanted.get(name) or ''} |"
        )
