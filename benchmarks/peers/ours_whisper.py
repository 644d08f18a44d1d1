"""Batchyard's bare engine: a backend of the whisper family, fed without a service around it.

BENCH_OPTION names the runtime, and a variant behind it: "full windows" are as long as Whisper was trained
on, to show what shorter ones bring; "no word times" leaves these out, to show what they cost; "words" answers
with the words of each file and their times, as JSON, in place of texts.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.hearing_turns import Transcribe, serve
from benchmarks.peers.feeds import GrowingFeed

if TYPE_CHECKING:
    from backends.types import Segment

ENDPOINT = "/v1/audio/transcriptions"


def load() -> Transcribe:
    from backends.registry import backend_class
    from backends.types import Done, Failed, Part, Segment, Source, TranscriptResult, decode_result
    from configs.models import ModelSpec
    from configs.settings import Settings
    from configs.spec_files import load_catalogue

    runtime, _, variant = os.environ["BENCH_OPTION"].partition(" ")
    if variant == "full windows":
        from backends.whisper import ct2_recognizer

        ct2_recognizer.LEAST_SECONDS = 30
    if variant == "no word times":
        _leave_word_times_out()
    answer = _words_of if variant == "words" else _text_of
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
        return [answer(segments) for segments in ordered]

    return transcribe


def _text_of(segments: "Sequence[Segment]") -> str:
    return "".join(segment.text for segment in segments)


def _words_of(segments: "Sequence[Segment]") -> str:
    words = [word for segment in segments for word in segment.words]
    return json.dumps([(word.text, word.start_ms, word.end_ms) for word in words])


def _leave_word_times_out() -> None:
    """In this process: where the decoder looks is neither noted nor aligned, and segments are cut by what
    voice detection found. That the decoder's graph has it as an output stays, a copy of kilobytes a step."""
    from backends.whisper.alignment import Aligner
    from backends.whisper.greedy_decoder import _Run
    from backends.whisper.written import Text

    def nothing(*_: object) -> None:
        return None

    def no_words(_: Aligner, windows: Sequence[object], *__: object) -> list[None]:
        return [None] * len(windows)

    _Run.note = nothing  # type: ignore[method-assign, assignment]
    Text._seen = nothing  # type: ignore[method-assign, assignment]
    Aligner.align = no_words  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    serve(load)
