"""How much memory an engine holds for recordings of several lengths, each in a fresh one of the service."""

import re
from pathlib import Path

from benchmarks.model import WHISPER
from benchmarks.recording_jobs import transcribed
from benchmarks.service import fresh_home, running
from benchmarks.speech import Clip, joined, write, write_hours
from configs.settings import Settings
from configs.spec_files import load_catalogue

LENGTHS = (600, 3600, 10_800)  # seconds
WANTED_MB = 150
RESET_PEAK = "5"  # proc(5), clear_refs


def measure(clips: list[Clip], model: Path, cache: Path, core: int) -> None:
    """Print the most that is resident (VmHWM), while the model is loaded and while a recording is heard."""
    stated = load_catalogue(Settings(home=cache)).specs[WHISPER].memory_mb
    print(f"\nhalf speech, half silence; the spec states memory_mb {stated}\n")
    print("| recording | loading and a minute, MB | the recording, MB | over the shortest |")
    print("|---|---|---|---|")
    shortest: float | None = None
    for seconds in LENGTHS:
        loading, hearing = _peaks(clips, model, cache, core, seconds)
        shortest = shortest or hearing
        print(
            f"| {seconds / 60:.0f} min | {loading:.0f} | {hearing:.0f} | {hearing - shortest:+.0f} |",
            flush=True,
        )
    print(f"wanted: the longest within {WANTED_MB} MB of the shortest")


def _peaks(clips: list[Clip], model: Path, cache: Path, core: int, seconds: int) -> tuple[float, float]:
    long = write_hours(cache / "speech" / "hours.wav", clips, seconds)
    minute = write(cache / "speech" / "minute.wav", joined(clips[:9]))
    with running(fresh_home(cache), model.parent, slots=f"{core}-{core}", model=WHISPER) as service:
        transcribed(service, minute)
        [engine] = service.engines()
        loading = _peak_mb(engine)
        Path(f"/proc/{engine}/clear_refs").write_text(RESET_PEAK)
        transcribed(service, long)
        hearing = _peak_mb(engine)
    long.unlink()
    return loading, hearing


def _peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
