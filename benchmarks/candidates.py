"""Who takes part in the comparison of embeddings, and the process that each runs in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv-bench"  # one folder for each file in requirements/


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One library in one configuration. `env` names the environment that it runs in; empty: the project's.
    `wanted` is the ratio (ours over theirs, texts per CPU-second) that the project promises."""

    name: str
    module: str
    option: str = ""
    gguf: str = ""
    env: str = ""
    wanted: float | None = None


OURS = Candidate(name="batchyard, openvino", module="benchmarks.peers.ours", option="openvino")
SENTENCE_TRANSFORMERS = "benchmarks.peers.sentence_transformers_peer"
OTHERS = (
    Candidate(
        name="sentence-transformers, float32",
        module=SENTENCE_TRANSFORMERS,
        option="float32",
        env="torch",
        wanted=2.8,
    ),
    Candidate(
        name="sentence-transformers, bf16",
        module=SENTENCE_TRANSFORMERS,
        option="bfloat16",
        env="torch",
        wanted=1.4,
    ),
    Candidate(
        name="fastembed (ONNX Runtime float32)",
        module="benchmarks.peers.fastembed_peer",
        env="torch",
        wanted=1.8,
    ),
    Candidate(name="infinity (torch float32)", module="benchmarks.peers.infinity_peer", env="infinity"),
    Candidate(
        name="llama.cpp q8_0, our batches",
        module="benchmarks.peers.ours",
        option="llamacpp",
        gguf="model-q8_0.gguf",
        wanted=2.2,
    ),
    Candidate(
        name="llama.cpp f16, our batches",
        module="benchmarks.peers.ours",
        option="llamacpp",
        gguf="model-f16.gguf",
    ),
    Candidate(
        name="llama-cpp-python create_embedding, f16",
        module="benchmarks.peers.llama_cpp_python_peer",
        gguf="model-f16.gguf",
        wanted=3.0,
    ),
)


class CandidateProcess:
    """A candidate that is loaded and waits for its turn."""

    def __init__(self, candidate: Candidate, model: Path, cache: Path, core: int) -> None:
        self.candidate = candidate
        self._cache = cache
        self._process = subprocess.Popen(
            [python_of(candidate.env), "-m", candidate.module],
            cwd=ROOT,
            env=environment(candidate, model, cache, core),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(cache / f"{candidate.module}.{candidate.option}{candidate.gguf}.log").open("w"),
            text=True,
        )

    def wait_ready(self) -> bool:
        """False when it could not be loaded; its log lies in the cache folder."""
        return bool(self._read())

    def turn(self, texts: list[str]) -> tuple[float, Path]:
        """CPU-seconds for `texts`, and the file with their vectors."""
        vectors = self._cache / f"{self.candidate.name.replace('/', '-')}.npy"
        answer = self.ask({"texts": texts, "vectors": str(vectors)})
        return float(answer["cpu_seconds"]), vectors

    def ask(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        """What it answers to a turn of its loop."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(turn) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if not answer:
            raise RuntimeError(f"{self.candidate.name} ended; its log lies in {self._cache}")
        return answer

    def close(self) -> None:
        """End it: by the end of its input, or by force where a library's threads keep it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {}


def started(candidates: Iterable[Candidate], model: Path, cache: Path, core: int) -> list[CandidateProcess]:
    """Those that can be loaded. One after the other, so that they do not slow each other's loading."""
    loaded = []
    for candidate in candidates:
        print(f"loading {candidate.name} ...", flush=True)
        process = CandidateProcess(candidate, model, cache, core)
        if process.wait_ready():
            loaded.append(process)
        else:
            print(f"  left out: it could not be loaded; see its log in {cache}")
    return loaded


def python_of(env: str) -> str:
    """The interpreter of an environment."""
    return str(ENVIRONMENTS / env / "bin" / "python") if env else sys.executable


def environment(candidate: Candidate, model: Path, cache: Path, core: int) -> Mapping[str, str]:
    return os.environ | {
        "BENCH_CORE": str(core),
        "BENCH_MODEL": str(model),
        "BENCH_CACHE": str(cache),
        "BENCH_OPTION": candidate.option,
        "BENCH_GGUF": str(model / candidate.gguf),
    }
