"""The loop of a candidate's process: load once, embed the texts that it is told to, say what that cost.

Runs in the environment of the project and in that of the peers, so it needs numpy and nothing of ours.
Reads lines of JSON from standard input: {"texts": [...], "vectors": "/path.npy"}; answers each with
{"cpu_seconds", "wall_seconds"} on standard output. One thread, pinned before a library is loaded.
"""

import json
import os
import sys
import time
from collections.abc import Callable

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM")

Embed = Callable[[list[str]], object]


def pin() -> None:
    """Take the core that BENCH_CORE names, and one thread."""
    os.sched_setaffinity(0, {int(os.environ["BENCH_CORE"])})
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"


def serve(load: Callable[[], Embed]) -> None:
    """Answer turns until standard input ends. `load` imports what it needs."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    pin()
    embed = load()
    embed(["a text to warm up with"] * 8)
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    import numpy as np

    for line in sys.stdin:
        turn = json.loads(line)
        cpu, wall = time.process_time(), time.perf_counter()
        vectors = embed(turn["texts"])
        cost = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
        array = np.asarray(vectors, dtype=np.float32)
        np.save(turn["vectors"], array / np.linalg.norm(array, axis=1, keepdims=True))
        answers.write(json.dumps(cost) + "\n")
        answers.flush()
