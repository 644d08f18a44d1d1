"""Batchyard's bare engine: a backend of the whisper family, fed without a service around it.

BENCH_OPTION names the runtime; "ctranslate2 full" is the same with every window as long as Whisper was
trained on, to show what shorter ones bring.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.hearing_turns import Transcribe, serve
from benchmarks.peers.feeds import GrowingFeed

ENDPOINT = "/v1/audio/transcriptions"


def load() -> Transcribe:
    from backends.registry import backend_class
    from backends.types import Done, Failed, Part, Segment, Source, TranscriptResult, decode_result
    from configs.models import ModelSpec
    from configs.settings import Settings
    from configs.spec_files import load_catalogue

    runtime, _, full = os.environ["BENCH_OPTION"].partition(" ")
    if full:
        from backends.whisper import ct2_recognizer

        ct2_recognizer.LEAST_SECONDS = 30
    spec: ModelSpec = load_catalogue(Settings()).specs["whisper-tiny.en"]
    backend = backend_class("whisper", runtime).load(spec, Path(os.environ["BENCH_MODEL"]), 1)

    def part(key: int, body: bytes, path: str) -> Part:
        return Part(key=key, endpoint=ENDPOINT, body=body, source=Source(path, str(key), Path(path).name))

    def transcribe(files: Sequence[str]) -> list[str]:
        body = json.dumps({"model": spec.name, "file_id": "file-bench", "language": "en"}).encode()
        parts = [part(key, body, path) for key, path in enumerate(files)]
        owners = dict(enumerate(range(len(files))))
        heard: dict[int, list[Segment]] = {number: [] for number in owners}
        feed = GrowingFeed(parts)
        for event in backend.run(feed):  # type: ignore[arg-type]
            if isinstance(event, Failed):
                raise RuntimeError(event.error.message)
            if isinstance(event, Done):
                owner = owners[event.key]
                result = decode_result(event.data)
                assert isinstance(result, TranscriptResult)
                heard[owner] += result.segments
                keys = range(len(owners), len(owners) + len(event.more))
                owners |= dict.fromkeys(keys, owner)
                feed.add([part(key, more, files[owner]) for key, more in zip(keys, event.more, strict=True)])
                feed.left -= 1
        ordered = (sorted(heard[number], key=lambda each: each.start_ms) for number in range(len(files)))
        return ["".join(segment.text for segment in segments) for segments in ordered]

    return transcribe


if __name__ == "__main__":
    serve(load)
