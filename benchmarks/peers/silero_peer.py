"""Silero VAD by ONNX Runtime, as faster-whisper uses it: with the file that it brings (BENCH_OPTION "own
file") or with ours. Files in, the spans of speech in each out, as JSON."""

import json
import os
from collections.abc import Sequence
from typing import Any

from benchmarks.hearing_turns import Transcribe, samples_of, serve

# Ours: backends/whisper/speech.py.
OPTIONS = {"min_speech_duration_ms": 128, "min_silence_duration_ms": 160, "speech_pad_ms": 30}


def load() -> Transcribe:
    from faster_whisper import vad

    if os.environ["BENCH_OPTION"] != "own file":
        model = vad.SileroVADModel(os.path.join(os.environ["BENCH_MODEL"], "silero_vad.onnx"))
        vad.get_vad_model = lambda: model

    def detect(files: Sequence[str]) -> list[str]:
        found = []
        for path in files:
            samples: Any = samples_of(path)
            rows = vad.get_speech_timestamps(samples, **OPTIONS)
            found.append(json.dumps([(row["start"], row["end"]) for row in rows]))
        return found

    return detect


if __name__ == "__main__":
    serve(load)
