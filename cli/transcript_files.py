"""Transcripts from a job to files, each as soon as it is there."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from backends.transcription import Format
from cli.client import Client, Object
from cli.errors import CommandFailed
from cli.recordings import Recording, files_of
from cli.result_lines import ResultLine, problem_of, result_lines
from cli.watch import FINAL

_PAGE = 1000  # items at a time
_ENDED = "succeeded,errored"


@dataclass(frozen=True, kw_only=True)
class Transcribed:
    """What became of a recording: seconds of it and warnings, or a problem, which is `lasting` if it would be
    the same again."""

    recording: Recording
    seconds: float = 0.0
    warnings: Sequence[str] = ()
    problem: str | None = None
    lasting: bool = False


@dataclass(kw_only=True)
class Collecting:
    """Takes the transcripts of `items` (recordings by custom_id) of a job and writes them to `output`."""

    client: Client
    job_id: str
    items: Mapping[str, Recording]
    output: Path
    formats: Sequence[Format]
    _seen: set[int] = field(default_factory=set)
    _head: int = -1  # all up to this item have been seen

    def fresh(self, job: Object) -> Iterator[Transcribed]:
        """What has ended since the last look, written. `job` is how the job is now. Raises `CommandFailed`
        where a file cannot be written."""
        counts = job["request_counts"]
        if counts["completed"] + counts["failed"] <= len(self._seen) and job["status"] not in FINAL:
            return
        for line in self._lines():
            recording = self.items.get(line.found["custom_id"])
            if recording is not None:
                yield self._written(line.found, recording)

    def _lines(self) -> Iterator[ResultLine]:
        """Lines that have not been seen: those in order, then those behind a recording that is not done."""
        for line in self._results(self._head):
            self._head = line.number
            if line.number not in self._seen:
                self._seen.add(line.number)
                yield line
        for first, last in self._runs():
            for line in self._results(first - 1):
                if line.number > last:
                    break
                self._seen.add(line.number)
                yield line

    def _results(self, after: int) -> Iterator[ResultLine]:
        # json has what the files do not say: the length of the recording, and warnings
        formats = ",".join(dict.fromkeys([*self.formats, "json"]))
        return result_lines(self.client, self.job_id, after=after, formats=formats)

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Stretches of neighbouring items that have ended and not been seen: their first and last number."""
        first = last = None
        for number in self._ended_behind(self._head):
            if number in self._seen:
                continue
            if first is None or last is None or number != last + 1:
                if first is not None and last is not None:
                    yield first, last
                first = number
            last = number
        if first is not None and last is not None:
            yield first, last

    def _ended_behind(self, after: int) -> Iterator[int]:
        while True:
            page = self.client.get(f"/v1/jobs/{self.job_id}/items", state=_ENDED, after=after, limit=_PAGE)
            for item in page["data"]:
                after = item["id"]
                yield after
            if not page["has_more"]:
                return

    def _written(self, line: Object, recording: Recording) -> Transcribed:
        problem = problem_of(line)
        if problem is not None:
            response = line["response"]
            lasting = response is not None and response["status_code"] < 500
            return Transcribed(recording=recording, problem=problem, lasting=lasting)
        body: Any = line["response"]["body"]
        transcripts: dict[str, Any] = body.get("formats", {"json": body})
        for form, path in files_of(self.output, recording.target, self.formats).items():
            _write(path, transcripts[form])
        facts = transcripts["json"]
        seconds = float((facts.get("usage") or {}).get("seconds") or 0.0)
        return Transcribed(recording=recording, seconds=seconds, warnings=facts.get("warnings") or ())


def _write(path: Path, transcript: Any) -> None:
    """Under its name only when it is whole."""
    data = (
        transcript.encode()
        if isinstance(transcript, str)
        else orjson.dumps(transcript, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    draft = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CommandFailed(f"{path}: {error.strerror or error}; the job keeps its results") from None
