"""The loop of a transcriber's process: load once, transcribe the files it is told to, say what that cost.

Runs in the environment of the project and in that of the peers, so it needs nothing of either. Reads lines of
JSON from standard input: {"files": ["/path.wav", …]}; answers each with {"cpu_seconds", "texts"} on standard
output. One thread, pinned before a library is loaded.
"""

import json
import os
import sys
import time
import wave
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.turns import pin

Transcribe = Callable[[Sequence[str]], list[str]]


def serve(load: Callable[[], Transcribe]) -> None:
    """Answer turns until standard input ends. `load` imports what it needs."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    pin()
    os.environ["OMP_WAIT_POLICY"] = "passive"
    transcribe = load()
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in sys.stdin:
        files = json.loads(line)["files"]
        start = time.process_time()
        texts = transcribe(files)
        answers.write(json.dumps({"cpu_seconds": time.process_time() - start, "texts": texts}) + "\n")
        answers.flush()


def samples_of(path: str) -> Any:
    """A 16-bit mono wav as float32 in [-1, 1]."""
    import numpy as np

    with wave.open(path) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return frames.astype(np.float32) / 32768
