"""A transcript in each of its forms. JSON forms are those of OpenAI's API, tsv is Whisper's own."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import orjson

from backends.transcription import Format, TranscriptionRequest
from backends.types import Segment
from tasks.transcripts.caption_files import lrc, srt, vtt
from tasks.transcripts.captions import captions_of
from tasks.transcripts.languages import language_name
from tasks.transcripts.merged import Transcript, speaker_name

_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE

# How the name of a file in each form ends, and what it is on the wire.
ENDINGS: dict[Format, str] = {
    "json": "json",
    "text": "txt",
    "srt": "srt",
    "vtt": "vtt",
    "verbose_json": "verbose.json",
    "tsv": "tsv",
    "lrc": "lrc",
    "diarized_json": "diarized.json",
}
MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "verbose_json": "application/json",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "lrc": "text/plain; charset=utf-8",
    "diarized_json": "application/json",
}


def render(transcript: Transcript, form: Format, request: TranscriptionRequest) -> bytes | dict[str, Any]:
    """JSON forms as an object, the others as the bytes of a text file in UTF-8.

    Of the request count the task, granularities, logprobs and the rules of captions.
    """
    match form:
        case "json":
            return _json(transcript, request)
        case "verbose_json":
            return _verbose_json(transcript, request)
        case "diarized_json":
            return _diarized_json(transcript)
        case "text":
            return (transcript.text + "\n").encode()
        case "tsv":
            return _tsv(transcript.segments).encode()
    captions = captions_of(transcript.segments, request.captions)
    return {"srt": srt, "vtt": vtt, "lrc": lrc}[form](captions).encode()


def files_of(
    transcript: Transcript, forms: Sequence[Format], request: TranscriptionRequest
) -> dict[str, bytes]:
    """A transcript as files: their contents by how their names end, as an archive takes them."""
    rendered = {ENDINGS[form]: render(transcript, form, request) for form in forms}
    return {
        ending: content if isinstance(content, bytes) else orjson.dumps(content, option=_PRETTY)
        for ending, content in rendered.items()
    }


def usage_of(transcript: Transcript) -> dict[str, Any]:
    """What OpenAI bills: the recording's length in seconds, rounded up."""
    return {"type": "duration", "seconds": ceil(transcript.duration)}


def diarized_segment(number: int, segment: Segment) -> dict[str, Any]:
    """A segment with its speaker, who is the channel; `number` counts from 0."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number}",
        "start": segment.start_ms / 1000,
        "end": segment.end_ms / 1000,
        "speaker": speaker_name(segment.channel or 0),
        "text": segment.text.strip(),
    }


def _json(transcript: Transcript, request: TranscriptionRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"text": transcript.text, "usage": usage_of(transcript)}
    if request.logprobs:
        body["logprobs"] = [entry for segment in transcript.segments for entry in _logprobs(segment)]
    return body | _warnings(transcript)


def _verbose_json(transcript: Transcript, request: TranscriptionRequest) -> dict[str, Any]:
    translated = request.task == "translate"
    body: dict[str, Any] = {
        "task": request.task,
        "language": language_name("en" if translated else transcript.language or request.language),
        "duration": transcript.duration,
        "text": transcript.text,
    }
    if "segment" in request.granularities:
        body["segments"] = [_segment(number, each) for number, each in enumerate(transcript.segments)]
    if "word" in request.granularities:
        body["words"] = [
            {"word": word.text.strip(), "start": word.start_ms / 1000, "end": word.end_ms / 1000}
            for segment in transcript.segments
            for word in segment.words
        ]
    return body | {"usage": usage_of(transcript)} | _warnings(transcript)


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    """Whisper's ten fields; `seek` counts its frames of 10 ms."""
    return {
        "id": number,
        "seek": segment.seek_ms // 10,
        "start": segment.start_ms / 1000,
        "end": segment.end_ms / 1000,
        "text": segment.text,
        "tokens": segment.tokens,
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _diarized_json(transcript: Transcript) -> dict[str, Any]:
    segments = [diarized_segment(number, each) for number, each in enumerate(transcript.segments)]
    return {
        "task": "transcribe",
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": segments,
        "usage": usage_of(transcript),
    } | _warnings(transcript)


def _logprobs(segment: Segment) -> list[dict[str, Any]]:
    texts, logprobs = segment.token_texts or [], segment.token_logprobs or []
    return [
        {"token": text, "logprob": logprob, "bytes": list(text.encode())}
        for text, logprob in zip(texts, logprobs, strict=False)
    ]


def _warnings(transcript: Transcript) -> dict[str, Any]:
    return {"warnings": list(transcript.warnings)} if transcript.warnings else {}


def _tsv(segments: Sequence[Segment]) -> str:
    """Times in whole milliseconds; a text is one line without tabs."""
    rows = [f"{each.start_ms}\t{each.end_ms}\t{' '.join(each.text.split())}\n" for each in segments]
    return "".join(["start\tend\ttext\n", *rows])
