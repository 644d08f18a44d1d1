"""Audio seconds per CPU-second on one core, and word errors beside them: ours and the peers in turns.

Everything is made of the clips that the demo comes with (LibriSpeech test-other): one recording of about ten
minutes, and the clips alone.
"""

import os
import random
import wave
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from backends.weights.pull import pull
from benchmarks.candidates import ROOT, Candidate, CandidateProcess, started
from configs.settings import Settings
from configs.spec_files import load_catalogue

MODEL = "whisper-tiny.en"
RATE = 16_000
ROUNDS, TIMES, GAP_SECONDS = 3, 3, 0.6
OURS = Candidate(name="batchyard, ctranslate2", module="benchmarks.peers.ours_whisper", option="ctranslate2")
OTHERS = (
    Candidate(
        name="faster-whisper batched, int8, 8 windows, greedy",
        module="benchmarks.peers.faster_whisper_peer",
        env="whisper",
        wanted=1.6,
    ),
    Candidate(
        name="pywhispercpp, f16, greedy",
        module="benchmarks.peers.pywhispercpp_peer",
        gguf="ggml.bin",
        env="whisper",
        wanted=5.0,
    ),
    Candidate(name="batchyard, whispercpp", module="benchmarks.peers.ours_whisper", option="whispercpp"),
    Candidate(
        name="batchyard, ctranslate2, full windows",
        module="benchmarks.peers.ours_whisper",
        option="ctranslate2 full",
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
    settings = Settings(models=cache / "models", home=cache)
    spec = load_catalogue(settings).specs[MODEL]
    model = pull(spec, settings, runtimes=["ctranslate2", "whispercpp"])
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
    """Write the files that are missing, as 16-bit wav at 16 kHz."""
    import av

    folder.mkdir(parents=True, exist_ok=True)
    clips = ROOT / "cli" / "clips"
    rows = [line.split("\t") for line in (clips / "references.tsv").read_text().splitlines()]
    sounds, texts = {}, {name: text for name, _, text in rows}
    for name in texts:
        with av.open(str(clips / f"{name}.flac")) as file:
            frames = [frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]
        sounds[name] = np.concatenate(frames).astype("<i2")
        _write(folder / f"{name}.wav", sounds[name])
    order = list(texts)
    long = []
    for turn in range(TIMES):
        random.Random(turn).shuffle(order)
        long += order
    pause = np.zeros(int(GAP_SECONDS * RATE), dtype="<i2")
    sound = np.concatenate([part for name in long for part in (sounds[name], pause)])
    _write(folder / "long.wav", sound)
    whole = " ".join(texts[name] for name in long)
    short = sum(len(sound) for sound in sounds.values()) / RATE
    files = [folder / f"{name}.wav" for name in texts]
    return [
        Workload("one long recording", [folder / "long.wav"], [whole], len(sound) / RATE),
        Workload("short clips", files, list(texts.values()), short),
    ]


def _write(path: Path, sound: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())


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
