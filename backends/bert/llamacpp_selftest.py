"""The self-test of a llama.cpp build: `python -m backends.bert.llamacpp_selftest`.

Computes a tiny model in each precision that takes another path through the native code and compares it
with numpy. Run in a child process (`backends.builds`), since a bad build dies of SIGILL or SIGSEGV.
Exit status: 0 passed; 1 failed, the reason on the last line of stderr.
"""

import sys
import tempfile
from pathlib import Path

from backends.bert import numpy_graph
from backends.bert.selftest import lowest_cosine
from backends.bert.tiny_model import TINY, tiny_rows, write_tiny
from backends.gguf_file import read_gguf
from backends.importers.gguf import FileType

# q8_0 quantises activations as well; a build that is broken is far below all of these.
LOWEST: dict[FileType, float] = {"f32": 0.9999, "f16": 0.9999, "q8_0": 0.99}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="batchyard-selftest-") as folder:
        for type, lowest in LOWEST.items():
            cosine = measure(Path(folder) / f"tiny-{type}.gguf", type)
            if not cosine >= lowest:  # so that NaN fails too
                sys.stderr.write(f"{type}: cosine {cosine:.5f} to the right vectors, {lowest} is needed\n")
                return 1
    return 0


def measure(path: Path, type: FileType) -> float:
    """The lowest cosine between what the native build and what numpy makes of the same file."""
    from backends.bert.llamacpp_encoder import LlamaEncoder

    write_tiny(path, type)
    rows = tiny_rows()
    expected = numpy_graph.embed(read_gguf(path), TINY, rows)
    encoder = LlamaEncoder(path, TINY, precision=type, threads=1)
    return lowest_cosine(encoder.encode(rows), expected)


if __name__ == "__main__":
    raise SystemExit(main())
