"""Writes the reference of voice activity detection: Silero VAD by ONNX Runtime, spans by faster-whisper.

Argument: Silero's file, silero_vad.onnx in the folder of the pulled whisper-tiny.en. See README.md.
"""

import sys
from pathlib import Path

import faster_whisper.vad
import numpy as np
import onnxruntime
import soundfile

CLIPS = Path("cli/clips")
TARGET = Path("tests/data/whisper/vad.npz")
FRAME, BEFORE = 512, 64


def main() -> None:
    clips = [soundfile.read(path, dtype="float32")[0] for path in sorted(CLIPS.glob("*.flac"))]
    samples = np.concatenate(clips)
    found = probabilities(sys.argv[1], samples)
    np.savez_compressed(TARGET, probabilities=found, spans=spans(found, samples))


def probabilities(path: str, samples: np.ndarray) -> np.ndarray:
    """One per 512 samples, a frame at a time."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    padded = np.pad(samples, (BEFORE, -len(samples) % FRAME))
    h = c = np.zeros((1, 1, 128), np.float32)
    found = []
    for start in range(0, len(padded) - BEFORE, FRAME):
        frame = padded[None, start : start + BEFORE + FRAME]
        value, h, c = session.run(["speech_probs", "hn", "cn"], {"input": frame, "h": h, "c": c})
        found.append(value.item())
    return np.array(found, np.float32)


def spans(found: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(spans, 2), positions in samples: by faster-whisper's rules with our numbers."""
    faster_whisper.vad.get_vad_model = lambda: lambda _: found
    options = {"min_speech_duration_ms": 128, "min_silence_duration_ms": 160, "speech_pad_ms": 30}
    rows = faster_whisper.vad.get_speech_timestamps(samples, **options)
    return np.array([(row["start"], row["end"]) for row in rows], np.int64)


if __name__ == "__main__":
    main()
