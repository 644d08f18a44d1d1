"""`python -m benchmarks [NAME …]`: measure what docs/benchmarks.md states. Without a name: everything."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    bulk_io,
    calls,
    claims,
    control_plane,
    embeddings,
    noop,
    recordings,
    start,
    transcription,
    voice_activity,
    whole_path,
    word_errors,
    word_times,
)
from benchmarks.candidates import ENVIRONMENTS, ROOT, python_of

CACHE = ROOT / ".cache" / "benchmarks"
BENCHMARKS: dict[str, Callable[[Path], None]] = {
    "embeddings": embeddings.run,
    "transcription": transcription.run,
    "word-errors": word_errors.run,
    "word-times": word_times.run,
    "recordings": recordings.run,
    "voice-activity": voice_activity.run,
    "whole-path": whole_path.run,
    "bulk-io": bulk_io.run,
    "calls": calls.run,
    "noop": noop.run,
    "claims": claims.run,
    "control-plane": control_plane.run,
    "start": start.run,
}


# The peers' environments that a benchmark needs, by the names of their requirements.
PEERS = {
    "embeddings": ("infinity", "torch"),
    "noop": ("queues",),
    "transcription": ("whisper",),
    "voice-activity": ("whisper",),
    "word-errors": ("whisper",),
    "word-times": ("whisper",),
}


def make_peers(names: Sequence[str]) -> None:
    """Environments of peers, once; those with torch are a gigabyte each."""
    for name in names:
        requirements, folder = ROOT / "benchmarks" / "requirements" / f"{name}.txt", ENVIRONMENTS / name
        if (folder / "bin" / "python").exists():
            continue
        print(f"making {folder.relative_to(ROOT)} with the peers of {requirements.name}: minutes", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [python_of(name), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", str(requirements)], check=True)


def describe_machine() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    pairs = (line.partition(":") for line in reversed(lines))
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    flags = set(fields.get("flags", "").split())
    print(f"CPU: {fields.get('model name', '?')}, family {fields.get('cpu family', '?')}; has "
          f"{', '.join(flag for flag in wanted if flag in flags)}")  # fmt: skip
    print(f"load average before: {Path('/proc/loadavg').read_text().split()[0]}")


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    describe_machine()
    for name in names:
        make_peers(PEERS.get(name, ()))
        print(f"\n=== {name}", flush=True)
        BENCHMARKS[name](CACHE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
