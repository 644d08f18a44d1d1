"""`batchyard embed` takes a million inputs in flat memory: what it holds does not grow with them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.fake_service import WIDTH, FakeService

FEW, MANY = 2_000, 40_000
MOST_GROWTH_MB = (
    12  # of the peak; the many inputs are 8 MB in JSON lines, their vectors and ids as much again
)


def peak_mb(lines: int, output: Path) -> float:
    """Run it over so many lines; returns the peak of its resident memory."""
    with tempfile.TemporaryFile() as source:
        source.writelines(
            b"%d is a line of some length, as lines of text are in real life\n" % n for n in range(lines)
        )
        source.seek(0)
        command = [sys.executable, "-m", "cli.main", "embed", "-", "-o", str(output)]
        with subprocess.Popen(command, stdin=source, stderr=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


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
