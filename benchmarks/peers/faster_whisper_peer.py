"""faster-whisper in its fastest setting: batched, int8, 8 windows, greedy. Its own VAD cuts."""

import os
from collections.abc import Sequence

from benchmarks.hearing_turns import Transcribe, serve


def load() -> Transcribe:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(os.environ["BENCH_MODEL"], device="cpu", compute_type="int8", cpu_threads=1)
    pipeline = BatchedInferencePipeline(model)

    def transcribe(files: Sequence[str]) -> list[str]:
        texts = []
        for path in files:
            segments, _ = pipeline.transcribe(path, batch_size=8, beam_size=1, language="en")
            texts.append(" ".join(segment.text for segment in segments))
        return texts

    return transcribe


if __name__ == "__main__":
    serve(load)
