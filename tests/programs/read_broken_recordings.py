"""Surveys and reads 300 broken recordings in the folder given, and prints one word for each: `read`, or the
code that it was refused with."""

import sys
from pathlib import Path

import numpy as np

from backends.errors import InvalidBody
from tests.fixtures.broken_recordings import broken, whole_recordings
from tests.fixtures.recordings import reading, surveyed

folder = Path(sys.argv[1])
whole = whole_recordings(folder)
for seed in range(300):
    path = folder / f"{seed}"
    path.write_bytes(broken(whole, seed))
    try:
        total_ms = surveyed(path).total_ms
        for start_ms in (0, max(0, total_ms - 3000)):
            end_ms = min(start_ms + 20_000, total_ms)
            for samples in reading(path, start_ms, end_ms, split=seed % 2 == 0).channels:
                assert abs(len(samples) - (end_ms - start_ms) * 16) <= 16
                assert np.isfinite(samples).all()
                assert np.abs(samples).max(initial=0) <= 1
        sys.stdout.write("read\n")
    except InvalidBody as error:
        sys.stdout.write(f"{error.code}\n")
