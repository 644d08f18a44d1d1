"""faster-whisper in its fastest setting: batched, int8, 8 windows, greedy. Its own VAD cuts.

With BENCH_OPTION "words" it answers with the words of each file and their times, as JSON.
"""

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmarks.hearing_turns import Transcribe, serve

if TYPE_CHECKING:
    from faster_whisper.transcribe import Segment


def load() -> Transcribe:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(os.environ["BENCH_MODEL"], device="cpu", compute_type="int8", cpu_threads=1)
    pipeline = BatchedInferencePipeline(model)
    timed = os.environ["BENCH_OPTION"] == "words"

    def transcribe(files: Sequence[str]) -> list[str]:
        texts = []
        for path in files:
            segments, _ = pipeline.transcribe(
                path, batch_size=8, beam_size=1, language="en", word_timestamps=timed
            )
            texts.append(_words_of(segments) if timed else " ".join(segment.text for segment in segments))
        return texts

    return transcribe


def _words_of(segments: "Iterable[Segment]") -> str:
    words = [word for segment in segments for word in segment.words or []]
    return json.dumps([(word.word, 1000 * word.start, 1000 * word.end) for word in words])


if __name__ == "__main__":
    serve(load)
