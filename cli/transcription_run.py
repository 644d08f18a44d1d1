"""Recordings to transcripts, as far as they are not there: goes on with earlier jobs of the folder, submits
the rest as a new one, and follows them all."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backends.transcription import Format
from cli.client import Client, Object, ServiceRefused
from cli.errors import CommandFailed
from cli.progress import Meter, counted, duration
from cli.recordings import Recording, files_of
from cli.transcript_files import Collecting, Transcribed
from cli.transcription_book import read_book, write_book
from cli.transcription_job import items_of, submit, upload_all
from cli.watch import FINAL, FIRST_POLL_SECONDS, LAST_POLL_SECONDS, Patience, complaints, note_of

_RATE_SECONDS = 120.0  # a long recording is done in parts of two minutes
_NO_AUDIO = {"done_seconds": 0.0, "known_seconds": 0.0}

WARNINGS = {
    "truncated_input": "it was cut off: transcribed as far as it goes",
    "damaged_input": "parts of it are damaged",
    "no_speech": "nobody speaks in it",
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted. `asked` is the body of each item but for recording and formats, `rendering` what of the
    body goes with the formats, `work` what a new job is to have besides its items."""

    output: Path
    formats: Sequence[Format]
    asked: Object
    rendering: Object
    work: Object


@dataclass(kw_only=True)
class Tally:
    """What became of the recordings."""

    done: list[Transcribed] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    unfinished: dict[Path, str] = field(default_factory=dict)  # why they were not reached
    jobs: list[str] = field(default_factory=list)
    heard_before: float = 0.0  # seconds of audio that were computed when we came back for them

    @property
    def seconds(self) -> float:
        """Of audio."""
        return sum(one.seconds for one in self.done)

    def rate(self, seconds: float) -> float | None:
        """Seconds of audio that were computed per second, in so many seconds of watching; None: it was all
        there before."""
        heard = self.seconds - self.heard_before
        return heard / seconds if seconds and heard >= 1 else None


class Run:
    """Call `begin`, then `follow`; `tally` has what came of it."""

    def __init__(self, client: Client, order: Order, meter: Meter, *, quiet: bool = False) -> None:
        """`quiet`: say nothing of recordings that went well."""
        self.tally = Tally()
        self._quiet = quiet
        self._client = client
        self._order = order
        self._meter = meter
        self._open: list[Collecting] = []
        self._sizes = (0, 0)  # bytes of the recordings that are done, and of all
        self._settled = 0.0  # seconds of audio of those that had been done when we began to follow

    def begin(self, recordings: Sequence[Recording], *, anew: bool = False) -> None:
        """Take what earlier jobs have, and submit what none has. `anew`: submit everything."""
        book = read_book(self._order.output)
        left = {recording.path: recording for recording in recordings}
        self._sizes = 0, sum(recording.size for recording in recordings)
        earlier = {} if anew else book.covered(recordings, self._order.asked)
        for job_id, items in earlier.items():
            for recording in self._gone_on_with(job_id, items):
                del left[recording.path]
        if left:
            write_book(self._order.output, book)  # a folder that cannot be written is told before the uploads
            files, refused = upload_all(self._client, left.values(), self._meter)
            self.tally.failed |= refused
            items = items_of(recording for recording in left.values() if recording.path in files)
            if items:
                body = self._order.asked | self._order.rendering
                job = submit(self._client, items, files, body, self._order.work)
                book.add(job["id"], self._order.asked, items)
                write_book(self._order.output, book)
                self._open.append(self._collecting(job["id"], items))
                self._meter.say(f"{job['id']} is submitted: {counted(len(items), 'recording')}")
        self.tally.jobs = [collecting.job_id for collecting in self._open]

    def follow(self) -> None:
        """Write transcripts as they come, until all jobs have ended. Raises `CommandFailed` for a job that
        failed as a whole."""
        self._meter.stage("transcribing", "s of audio", rate_seconds=_RATE_SECONDS)
        patience, pause = Patience(self._client, self._meter), FIRST_POLL_SECONDS
        self._settled = self.tally.seconds
        jobs: dict[str, Object] = {}  # as they were seen last
        while self._open:
            for collecting in list(self._open):
                job = patience.get(f"/v1/jobs/{collecting.job_id}")
                if job is None:
                    continue
                jobs[collecting.job_id] = job
                self._take(collecting, job)
                if job["status"] in FINAL:
                    self._open.remove(collecting)
                    self._conclude(collecting, job)
            if self._open:
                self._show(jobs)
                time.sleep(pause)
                pause = min(pause * 1.5, LAST_POLL_SECONDS)

    def _gone_on_with(self, job_id: str, items: dict[str, Recording]) -> Iterable[Recording]:
        """Those of `items` that the job has, or will have, or that would fail again."""
        try:
            job = self._client.get(f"/v1/jobs/{job_id}")
        except ServiceRefused as error:
            if error.code != "job_not_found":
                raise
            return []
        collecting = self._collecting(job_id, items)
        if job["status"] not in FINAL:
            self._open.append(collecting)
            self.tally.heard_before += (job.get("audio") or {}).get("done_seconds", 0.0)
            self._meter.say(f"goes on with {job_id}: {counted(len(items), 'recording')}")
            return items.values()
        settled = list(collecting.fresh(job))
        self.tally.heard_before += sum(one.seconds for one in settled)
        for one in settled:
            if one.problem is None or one.lasting:
                self._count(one)
        return [one.recording for one in settled if one.problem is None or one.lasting]

    def _collecting(self, job_id: str, items: dict[str, Recording]) -> Collecting:
        return Collecting(
            client=self._client,
            job_id=job_id,
            items=items,
            output=self._order.output,
            formats=self._order.formats,
        )

    def _take(self, collecting: Collecting, job: Object) -> None:
        for one in collecting.fresh(job):
            self._count(one)

    def _count(self, one: Transcribed) -> None:
        done, total = self._sizes
        self._sizes = done + one.recording.size, total
        if one.problem is not None:
            self.tally.failed[one.recording.path] = one.problem
            self._meter.say(f"{one.recording.path}: {one.problem}")
            return
        self.tally.done.append(one)
        if self._quiet:
            return
        names = ", ".join(
            path.name
            for path in files_of(self._order.output, one.recording.target, self._order.formats).values()
        )
        notes = "".join(f"; {WARNINGS.get(warning, warning)}" for warning in one.warnings)
        self._meter.say(f"{one.recording.path} ({duration(one.seconds)}): {names}{notes}")

    def _conclude(self, collecting: Collecting, job: Object) -> None:
        if job["status"] == "failed":
            raise CommandFailed("\n  ".join([f"{collecting.job_id} failed:", *complaints(job)]))
        answered = self.tally.failed.keys() | {one.recording.path for one in self.tally.done}
        for recording in collecting.items.values():
            if recording.path not in answered:
                self.tally.unfinished[recording.path] = f"{collecting.job_id} is {job['status']}"

    def _show(self, jobs: Mapping[str, Object]) -> None:
        if self._open[0].job_id not in jobs:  # the service is away
            return
        counts = [job["request_counts"] for job in jobs.values()]
        done = sum(count["completed"] + count["failed"] for count in counts)
        total = sum(count["total"] for count in counts)
        audio = [job.get("audio") or _NO_AUDIO for job in jobs.values()]
        heard, known = (sum(one[name] for one in audio) for name in _NO_AUDIO)
        self._meter.update(
            heard,
            self._foreseen(heard, known, alone=total == 1),
            note=note_of(jobs[self._open[0].job_id]),
            aside=f"{done:,} of {counted(total, 'recording')}",
        )

    def _foreseen(self, heard: float, known: float, *, alone: bool) -> float | None:
        """About how many seconds there are to be heard in all: by the seconds per byte of what is done, as
        long as the service has not opened the others. Of one recording that is `alone` it is known once it
        is cut."""
        done, total = self._sizes
        if done and self.tally.seconds:
            return max(known, self.tally.seconds * total / done - self._settled)
        return known if alone and known > heard else None
