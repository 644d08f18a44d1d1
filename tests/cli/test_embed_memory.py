"""`batchyard embed` takes a million inputs in flat memory: what it holds does not grow with them."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.fake_service import WIDTH, FakeService

FEW, MANY = 20_000, 80_000  # both are more than one part of an upload
MOST_GROWTH_MB = 6  # of the peak; the many inputs are 13 MB in JSON lines, their results more
# The peak is asked of the kernel at the end: `ru_maxrss` would count our own memory before the exec.
EMBED = """
import atexit, re, sys
from pathlib import Path
from cli.main import main
status = Path("/proc/self/status")
atexit.register(lambda: print(re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text())[1]))
sys.argv = ["batchyard", "embed", "-", "-o", sys.argv[1]]
main()
"""


def peak_mb(lines: int, output: Path) -> float:
    """Run it over so many lines; returns the peak of its resident memory."""
    with tempfile.TemporaryFile() as source:
        source.writelines(b"%d is a line of some length, as lines of text are\n" % n for n in range(lines))
        source.seek(0)
        command = [sys.executable, "-c", EMBED, str(output)]
        done = subprocess.run(command, stdin=source, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v.npy", "v.jsonl"])
def test_memory_does_not_grow_with_the_inputs(service: FakeService, tmp_path: Path, name: str) -> None:
    few = peak_mb(FEW, tmp_path / f"few-{name}")
    many = peak_mb(MANY, tmp_path / name)
    assert many - few < MOST_GROWTH_MB
    if name.endswith(".npy"):
        assert np.load(tmp_path / name).shape == (MANY, WIDTH)
    else:
        assert len((tmp_path / name).read_bytes().splitlines()) == MANY
