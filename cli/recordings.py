"""Which recordings a command is about, and where their transcripts go."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from backends.transcription import FORMATS, Format
from cli.errors import CommandFailed
from tasks.transcripts.formats import ENDINGS

# Files in folders whose names end so are recordings; a file that is named itself is one in any case.
MEDIA = frozenset(
    (
        *(".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac", ".flv"),
        *(".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mpga"),
        *(".mts", ".oga", ".ogg", ".ogv", ".opus", ".spx", ".ts", ".tta", ".wav", ".weba", ".webm", ".wma"),
        *(".wmv", ".wv"),
    )
)
_BY_NAME: dict[str, Format] = {ending: form for form, ending in ENDINGS.items()} | {f: f for f in FORMATS}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A file with speech. `target` is where its transcripts go: below the output folder, without an ending.
    `size` in bytes and `changed` in nanoseconds tell a version of it from another."""

    path: Path
    target: str
    size: int
    changed: int


def formats_of(text: str) -> tuple[Format, ...]:
    """`srt,txt` as formats, each once. Raises ValueError for one that is none."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in _BY_NAME:
            raise ValueError(f"'{name}' is none of {', '.join(sorted(_BY_NAME))}")
    if not names:
        raise ValueError("name at least one format, such as srt")
    return tuple(dict.fromkeys(_BY_NAME[name] for name in names))


def find_recordings(
    sources: Sequence[Path],
    skipped: Callable[[Path, str], None],
    is_taken: Callable[[Recording], bool] = lambda recording: False,
) -> list[Recording]:
    """The recordings of files and folders, in order, each once. Folders are looked through to the bottom, but
    for hidden names; `skipped` is told of what cannot be read there. `is_taken`: true if what lies at the
    target of a recording is about another one.

    Two of one name that differ in their endings alone (talk.mp3, talk.wav) keep them in their targets. Raises
    `CommandFailed` for a source that is not there.
    """
    found: dict[str, tuple[Path, Path]] = {}  # by what a link leads to: as it was named, and its place
    for source in sources:
        if _is_folder(source):
            for path in _below(source, skipped):
                found.setdefault(os.path.realpath(path), (path, path.relative_to(source)))
        else:
            found.setdefault(os.path.realpath(source), (source, Path(source.name)))
    stems = Counter(_stem(place) for _, place in found.values())
    recordings: dict[str, Recording] = {}
    for path, place in found.values():
        try:
            status = path.stat()
        except OSError as error:
            skipped(path, error.strerror or "it cannot be read")
            continue
        if not stat.S_ISREG(status.st_mode):
            skipped(path, "it is no file")
            continue
        wanted = _stem(place) if stems[_stem(place)] == 1 else str(place)
        for target in _targets(wanted):
            one = Recording(path=path, target=target, size=status.st_size, changed=status.st_mtime_ns)
            if target not in recordings and not is_taken(one):
                recordings[target] = one
                break
    return list(recordings.values())


def files_of(output: Path, target: str, formats: Sequence[Format]) -> dict[Format, Path]:
    """Where each transcript of a recording belongs."""
    return {form: output / f"{target}.{ENDINGS[form]}" for form in formats}


def is_done(recording: Recording, output: Path, formats: Sequence[Format]) -> bool:
    """True if all its transcripts are there, and newer than it is."""
    for path in files_of(output, recording.target, formats).values():
        try:
            if path.stat().st_mtime_ns < recording.changed:
                return False
        except OSError:
            return False
    return True


def _is_folder(source: Path) -> bool:
    """True for a folder, False for a file. Raises `CommandFailed` where neither can be seen."""
    try:
        return stat.S_ISDIR(source.stat().st_mode)
    except FileNotFoundError:
        raise CommandFailed(f"{source}: there is no such file or folder") from None
    except OSError as error:
        raise CommandFailed(f"{source}: {error.strerror}") from None


def _below(folder: Path, skipped: Callable[[Path, str], None]) -> Iterator[Path]:
    def unread(error: OSError) -> None:
        skipped(Path(error.filename), error.strerror or "it cannot be read")

    for parent, folders, names in os.walk(folder, onerror=unread):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in MEDIA:
                yield Path(parent, name)


def _stem(place: Path) -> str:
    return str(place.with_suffix(""))


def _targets(wanted: str) -> Iterator[str]:
    """`wanted`, and with numbers behind it for when another folder has taken it."""
    yield wanted
    for number in count(2):
        yield f"{wanted} {number}"
