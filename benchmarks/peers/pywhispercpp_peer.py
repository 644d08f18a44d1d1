"""pywhispercpp's wheel called directly: greedy, a whole file at a time, whisper.cpp's own windows."""

import os
from collections.abc import Sequence

from benchmarks.hearing_turns import Transcribe, samples_of, serve


def load() -> Transcribe:
    from pywhispercpp.model import Model

    model = Model(os.environ["BENCH_GGUF"], n_threads=1, print_progress=False, print_realtime=False)

    def transcribe(files: Sequence[str]) -> list[str]:
        found = (model.transcribe(samples_of(path)) for path in files)
        return [" ".join(segment.text for segment in segments) for segments in found]

    return transcribe


if __name__ == "__main__":
    serve(load)
