"""Recordings through the whole service: against the bare engine on one core, in turns; an hour on one slot
and on two, by wall clock, beside what two bare engines gain on the same cores; memory over length; and how
long somebody waits who reads along, or has a clip of three seconds."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from backends.whisper.window import RATE
from benchmarks import recording_calls, recording_memory
from benchmarks.candidates import CandidateProcess
from benchmarks.control_plane import LOOK_SECONDS
from benchmarks.model import WHISPER, ready_whisper
from benchmarks.recording_jobs import Transcribed, transcribed
from benchmarks.service import Service, fresh_home, running
from benchmarks.speech import Clip, joined, read_clips, shuffled, write
from benchmarks.transcription import OURS

TURNS, TIMES = 8, 3  # all clips three times over are about nine minutes
HOUR_TURNS, HOUR_SECONDS = 2, 3600


def run(cache: Path) -> None:
    """Measure, and print what it gave."""
    model, clips = ready_whisper(cache), read_clips()
    cores = sorted(os.sched_getaffinity(0))[-2:]
    _against_bare(clips, model, cache, cores[-1])
    if len(cores) == 2:
        _two_slots(clips, model, cache, cores)
    recording_memory.measure(clips, model, cache, cores[-1])
    recording_calls.measure(clips, model, cache, cores[-1])


# --- whole service and bare engine ----------------------------------------------------------------------


def _against_bare(clips: list[Clip], model: Path, cache: Path, core: int) -> None:
    """On one core, a new recording of the same clips in every turn; the first is thrown away."""
    bare = CandidateProcess(OURS, model, cache, core)
    bare.wait_ready()
    ratios = []
    with running(fresh_home(cache), model.parent, slots=f"{core}-{core}", model=WHISPER) as service:
        for number in range(TURNS + 1):
            sound = joined(shuffled(clips, TIMES, seed=number))
            path = write(cache / "speech" / "turn.wav", sound)
            alone = bare.ask({"files": [str(path)]})
            whole = transcribed(service, path, LOOK_SECONDS)
            ratio = sum(whole.spent.values()) / alone["cpu_seconds"]
            same = "the same text" if whole.text.strip() == alone["texts"][0].strip() else "another text"
            print(f"turn {number}, {len(sound) / RATE:.0f} s: {_costs(alone, whole)}; {same}", flush=True)
            ratios += [ratio] if number else []
    bare.close()
    over, low, high = (100 * (ratio - 1) for ratio in (median(ratios), min(ratios), max(ratios)))
    print(
        f"whole service over the bare engine: {over:+.1f} % CPU time in the median ({low:+.1f} to "
        f"{high:+.1f}; wanted at most +10)"
    )


def _costs(alone: dict[str, float], whole: Transcribed) -> str:
    by_kind = ", ".join(f"{name} {seconds:.2f}" for name, seconds in sorted(whole.spent.items()))
    return (
        f"bare {alone['cpu_seconds']:.1f} CPU-s; service {sum(whole.spent.values()):.1f} CPU-s ({by_kind}), "
        f"{whole.wall:.1f} s of which the job {whole.job_wall:.1f} s"
    )


# --- two slots ------------------------------------------------------------------------------------------


def _two_slots(clips: list[Clip], model: Path, cache: Path, cores: Sequence[int]) -> None:
    """One slot and two in turns, each in a service of its own."""
    halves = _hour(clips, cache)
    walls: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(HOUR_TURNS):
        for count, seconds in walls.items():
            seconds.append(_hour_seconds(clips, model, cache, cores[-count:]))
            print(f"{HOUR_SECONDS} s of audio on {count} slot(s): {seconds[-1]:.1f} s", flush=True)
    alone = _bare_seconds(halves, model, cache, cores[-1:])
    together = _bare_seconds(halves, model, cache, cores)
    one, two = (median(seconds) for seconds in walls.values())
    print(
        f"two slots against one: {one / two:.2f} times as fast by wall clock; two bare engines with half "
        f"each against one with both: {alone / together:.2f} ({alone:.1f} s, {together:.1f} s)"
    )


def _hour(clips: list[Clip], cache: Path) -> list[Path]:
    """Write it, whole and in halves; the halves."""
    once = len(joined(clips))
    sound = joined(shuffled(clips, -(-HOUR_SECONDS * RATE // once)))[: HOUR_SECONDS * RATE]
    write(cache / "speech" / "hour.wav", sound)
    middle = len(sound) // 2
    parts = sound[:middle], sound[middle:]
    return [write(cache / "speech" / f"half-{n}.wav", part) for n, part in enumerate(parts)]


def _hour_seconds(clips: list[Clip], model: Path, cache: Path, cores: Sequence[int]) -> float:
    slots = ",".join(f"{core}-{core}" for core in cores)
    with running(fresh_home(cache), model.parent, slots=slots, model=WHISPER) as service:
        _warm_up(service, clips, cache, len(cores))
        return transcribed(service, cache / "speech" / "hour.wav").job_wall


def _warm_up(service: Service, clips: list[Clip], cache: Path, slots: int) -> None:
    """Until every slot has its engine, and has heard something."""
    path = write(cache / "speech" / "turn.wav", joined(shuffled(clips, TIMES)))
    transcribed(service, path)
    while len(service.engines()) < slots:
        transcribed(service, path)


def _bare_seconds(files: list[Path], model: Path, cache: Path, cores: Sequence[int]) -> float:
    """Wall seconds until engines, one per core, have heard all files that they share."""
    processes = [CandidateProcess(OURS, model, cache, core) for core in cores]
    shares = [[str(path) for path in files[number :: len(cores)]] for number in range(len(cores))]
    for process in processes:
        process.wait_ready()
        process.ask({"files": [str(files[0].with_name("turn.wav"))]})
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(processes)) as pool:
        list(pool.map(lambda process, share: process.ask({"files": share}), processes, shares))
    wall = time.perf_counter() - begun
    for process in processes:
        process.close()
    return wall
