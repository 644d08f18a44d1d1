"""`batchyard demo-speech`: starts the service, transcribes real speech in bulk, counts the wrong words."""

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from cli.demo_service import HomeOption, demo_service, demo_settings, have_model, results_folder
from cli.errors import CommandFailed
from cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from backends.transcription import Format
    from cli.client import Client
    from cli.progress import Meter

MODEL = "whisper-tiny.en"
FORMATS: tuple["Format", ...] = ("text", "srt")
CLIPS = Path(__file__).with_name("clips")
SHOWN = 6  # clips whose transcript is printed
WAITED_FOR = "2414-128291-0000"  # a short clip, for which somebody waits


class Clip(NamedTuple):
    """A recording of which it is known what is said in it."""

    name: str
    path: Path
    seconds: float
    said: str


def demo_speech(home: HomeOption = None) -> None:
    """Start the service, transcribe real recordings as one bulk job, and count the words that are wrong.

    Ends what it started. Runs as often as you like; the second time finds the model and the home ready.
    """
    from cli.progress import Meter

    settings = demo_settings(home)
    folder = results_folder(settings.home, "demo-speech")
    clips = read_clips()
    with Meter() as meter:
        have_model(settings, MODEL, meter)
        with demo_service(settings, MODEL, folder / "up.log", meter) as client:
            _wait_for_one(client, clips, meter)
            seconds = _transcribe(client, clips, folder, meter)
            _compare(clips, folder, seconds, meter)
        meter.tell(f"\nThe transcripts and their captions lie in {folder}")
    raise typer.Exit(ExitCode.OK)


def read_clips() -> list[Clip]:
    """The clips of LibriSpeech that come with us (`clips/README.md`)."""
    with (CLIPS / "references.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    return [Clip(name, CLIPS / f"{name}.flac", float(seconds), said) for name, seconds, said in rows]


def _wait_for_one(client: "Client", clips: list[Clip], meter: "Meter") -> None:
    """A short clip as a call that is waited for: first with the model to load, then without."""
    clip = next(clip for clip in clips if clip.name == WAITED_FOR)
    file_id = client.upload(clip.path, purpose="user_data", mime_type="audio/flac", keep_seconds=86_400)
    meter.stage("loading the model")
    took = []
    for _ in range(2):
        started = time.monotonic()
        client.post("/v1/audio/transcriptions", {"model": MODEL, "file_id": file_id})
        took.append(time.monotonic() - started)
    meter.tell(
        f"a clip of {clip.seconds:.0f} s is answered in {took[1]:.2f} s "
        f"(the first one, which loaded the model, in {took[0]:.1f} s)"
    )


def _transcribe(client: "Client", clips: list[Clip], folder: Path, meter: "Meter") -> float:
    """The bulk path, as `batchyard transcribe` takes it; returns the seconds from the job's submission to the
    last transcript."""
    from cli.recordings import find_recordings
    from cli.transcription_run import Order, Run

    recordings = find_recordings([clip.path for clip in clips], lambda path, why: meter.say(f"{path}: {why}"))
    rendering = {"formats": list(FORMATS)}
    order = Order(output=folder, formats=FORMATS, asked={"model": MODEL}, rendering=rendering, work={})
    run = Run(client, order, meter, quiet=True)
    run.begin(recordings, anew=True)
    started = time.monotonic()
    run.follow()
    if run.tally.failed or run.tally.unfinished:
        problems = {**run.tally.failed, **run.tally.unfinished}
        raise CommandFailed("\n  ".join(["not all was transcribed:", *map(": ".join, _named(problems))]))
    return time.monotonic() - started


def _named(problems: dict[Path, str]) -> list[tuple[str, str]]:
    return [(path.name, why) for path, why in problems.items()]


def _compare(clips: list[Clip], folder: Path, seconds: float, meter: "Meter") -> None:
    """Print transcripts, and how much of them is right."""
    from cli.word_errors import WordErrors, word_errors

    found = []
    for number, clip in enumerate(clips):
        heard = (folder / f"{clip.name}.txt").read_text(encoding="utf-8").strip()
        errors = word_errors(heard, clip.said)
        found.append(errors)
        if number % (len(clips) // SHOWN) == 0:
            meter.tell(
                f"\n{clip.name}  ({clip.seconds:.1f} s, {errors.errors} of {errors.words} words wrong)"
            )
            meter.tell(f"  {heard}")
    total = WordErrors(sum(one.errors for one in found), sum(one.words for one in found))
    audio = sum(clip.seconds for clip in clips)
    rate = f"{audio / seconds:.0f} s of audio/s"
    meter.tell(f"\n{len(clips)} clips, {audio:.0f} s of speech, in {seconds:.1f} s: {rate}")
    meter.tell(f"word error rate {100 * total.rate:.1f} % ({total.errors} of {total.words} words)")
