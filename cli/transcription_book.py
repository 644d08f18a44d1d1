"""What an output folder remembers of the jobs that its transcripts come from, so that the same command may be
given again: after Ctrl-C, in the morning, or when there are more recordings."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from cli.client import Object
from cli.errors import CommandFailed
from cli.recordings import Recording

NAME = ".batchyard-transcribe.json"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An item of a job: the version of a recording that it is about, and where its transcripts go."""

    source: str
    target: str
    size: int
    changed: int


class BookJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was submitted: what was asked of each recording but for formats, its items by custom_id."""

    id: str
    asked: Object
    items: dict[str, Entry]


class Book(msgspec.Struct, kw_only=True):
    """The jobs of an output folder, the newest last."""

    version: int = 1
    jobs: list[BookJob] = []

    def covered(self, recordings: Iterable[Recording], asked: Object) -> dict[str, dict[str, Recording]]:
        """By job, and there by custom_id, which of `recordings` have been submitted as they are now, and with
        the same things asked; each in the newest job that has it."""
        left = {_entry(recording): recording for recording in recordings}
        found: dict[str, dict[str, Recording]] = {}
        for job in reversed(self.jobs):
            if job.asked == asked:
                items = {name: left.pop(entry) for name, entry in job.items.items() if entry in left}
                if items:
                    found[job.id] = items
        return dict(reversed(found.items()))

    def taken(self) -> Callable[[Recording], bool]:
        """Tells of a recording whether another one's transcripts, from another place, lie at its target."""
        newest = {entry.target: entry for job in self.jobs for entry in job.items.values()}

        def is_taken(recording: Recording) -> bool:
            wanted = _entry(recording)
            held = newest.get(wanted.target, wanted)
            moved = (held.size, held.changed) == (wanted.size, wanted.changed)
            return held.source != wanted.source and not moved

        return is_taken

    def add(self, job_id: str, asked: Object, items: Mapping[str, Recording]) -> None:
        entries = {name: _entry(recording) for name, recording in items.items()}
        self.jobs.append(BookJob(id=job_id, asked=asked, items=entries))

    def forget(self, job_id: str) -> None:
        self.jobs = [job for job in self.jobs if job.id != job_id]


def read_book(output: Path) -> Book:
    """The book of a folder, an empty one where there is none. Raises `CommandFailed` if it cannot be read."""
    path = output / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Book)
    except FileNotFoundError:
        return Book()
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise CommandFailed(f"{path} is damaged ({error}); remove it to begin anew") from None


def write_book(output: Path, book: Book) -> None:
    """Keep the book, whole or not at all. Raises `CommandFailed`."""
    path = output / NAME
    draft = path.with_name(f"{NAME}.part")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(book))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror or error}") from None


def _entry(recording: Recording) -> Entry:
    return Entry(
        source=os.fsencode(recording.path.resolve()).decode("utf-8", "backslashreplace"),
        target=recording.target.encode("utf-8", "backslashreplace").decode(),
        size=recording.size,
        changed=recording.changed,
    )
