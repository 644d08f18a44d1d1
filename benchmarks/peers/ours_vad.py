"""Batchyard's voice activity detection: files in, the spans of speech in each out, as JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.hearing_turns import Transcribe, samples_of, serve


def load() -> Transcribe:
    from backends.whisper.speech import spans_of
    from backends.whisper.vad import Vad
    from configs.vad_file import VAD_FILE

    vad = Vad.load(Path(os.environ["BENCH_MODEL"]) / VAD_FILE.path, 1)

    def detect(files: Sequence[str]) -> list[str]:
        found = []
        for path in files:
            samples: Any = samples_of(path)
            spans = spans_of(vad.probabilities(samples), len(samples))
            found.append(json.dumps([(span.start, span.end) for span in spans]))
        return found

    return detect


if __name__ == "__main__":
    serve(load)
