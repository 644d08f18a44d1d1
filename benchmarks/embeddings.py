"""Texts per CPU-second on one core: ours and the peers in turns, same texts, accuracy checked."""

import json
import os
import subprocess
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.candidates import (
    OTHERS,
    OURS,
    ROOT,
    CandidateProcess,
    environment,
    python_of,
    started,
)
from benchmarks.corpus import texts
from benchmarks.model import ready_model

ROUNDS, TEXTS_PER_ROUND = 3, 300
FLOP_PER_TOKEN = 23e6  # all-MiniLM-L6-v2 at about 97 tokens a text: 21.2 for its matrices, 1.8 for attention


def run(cache: Path) -> None:
    """Measure, and print a table."""
    model = ready_model(cache)
    all_texts, tokens = texts(ROUNDS * TEXTS_PER_ROUND, model)
    core = min(os.sched_getaffinity(0))
    processes = started([OURS, *OTHERS], model, cache, core)
    print(f"{len(all_texts)} texts, {np.mean(tokens):.1f} tokens in the mean, {ROUNDS} rounds, core {core}")
    seconds, cosines = _rounds(processes, all_texts)
    _report(seconds, cosines)
    for process in processes:
        process.close()
    mean_tokens = float(np.mean(tokens))
    _report_limit(TEXTS_PER_ROUND / median(seconds[OURS.name]) * mean_tokens, model, cache, core)


def _rounds(
    processes: list[CandidateProcess], all_texts: list[str]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """(CPU-seconds of each round, least cosine with sentence-transformers float32) by candidate.

    Every round has texts of its own: nobody gains from having seen them.
    """
    seconds: dict[str, list[float]] = {process.candidate.name: [] for process in processes}
    cosines = dict.fromkeys(seconds, 1.0)
    for number in range(ROUNDS):
        batch = all_texts[number * TEXTS_PER_ROUND : (number + 1) * TEXTS_PER_ROUND]
        vectors = {}
        for process in processes:
            cost, path = process.turn(batch)
            seconds[process.candidate.name].append(cost)
            vectors[process.candidate.name] = np.load(path)
        reference = vectors.get(OTHERS[0].name)
        if reference is not None:
            for name, found in vectors.items():
                cosines[name] = min(cosines[name], float((found * reference).sum(axis=1).min()))
        print(f"round {number + 1} of {ROUNDS} done", flush=True)
    return seconds, cosines


def _report(seconds: dict[str, list[float]], cosines: dict[str, float]) -> None:
    ours = seconds[OURS.name]
    print("\n| candidate | texts/CPU-s | least cosine | ours / theirs (min-max) | wanted |")
    print("|---|---|---|---|---|")
    wanted = {candidate.name: candidate.wanted for candidate in OTHERS}
    for name, theirs in seconds.items():
        ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
        goal = wanted.get(name)
        print(
            f"| {name} | {TEXTS_PER_ROUND / median(theirs):.1f} | {cosines[name]:.5f} | "
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {goal or ''} |"
        )


def _report_limit(tokens_per_second: float, model: Path, cache: Path, core: int) -> None:
    command = [python_of("torch"), "-m", "benchmarks.peers.gemm"]
    answer = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(OURS, model, cache, core),
        capture_output=True,
        text=True,
        check=True,
    )
    rate = tokens_per_second * FLOP_PER_TOKEN
    print(f"\nours: {tokens_per_second:,.0f} tokens/CPU-s = {rate / 1e9:.0f} GFLOP/s")
    for precision, most in json.loads(answer.stdout).items():
        print(f"GEMM of this core, {precision}: {most / 1e9:.0f} GFLOP/s; we reach {rate / most:.0%} of it")
