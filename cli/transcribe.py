"""`batchyard transcribe`: recordings in, transcripts beside each other in a folder, as one bulk job."""

import os
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CommandFailed
from cli.exit_codes import ExitCode
from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json

if TYPE_CHECKING:
    from backends.transcription import Format
    from cli.client import Object
    from cli.progress import Meter
    from cli.recordings import Recording
    from cli.transcription_run import Run, Tally


class Channels(StrEnum):
    """What becomes of the channels of a recording."""

    MIX = "mix"
    SPLIT = "split"


REQUEST, JOB = "How it is transcribed", "When it is done"
MOST_NAMED = 20  # recordings that failed, in the summary
ZONES = "/zoneinfo/"

Sources = Annotated[
    list[Path],
    typer.Argument(
        help="Recordings, and folders of them, which are looked through to the bottom.",
        metavar="SOURCE",
        show_default=False,
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for the transcripts.", metavar="DIR", show_default=False)
]
Formats = Annotated[
    str,
    typer.Option("--formats", "-f", help="srt, vtt, txt, json, verbose_json, tsv, lrc, diarized_json."),
]
Model = Annotated[str, typer.Option("--model", "-m", help="Name of the model.", rich_help_panel=REQUEST)]
Language = Annotated[
    str | None, typer.Option(help="Spoken language, such as en; default: found out.", rich_help_panel=REQUEST)
]
Prompt = Annotated[
    str | None, typer.Option(help="Names and words that occur, to spell them right.", rich_help_panel=REQUEST)
]
Words = Annotated[bool, typer.Option("--words", help="Times of words too.", rich_help_panel=REQUEST)]
ChannelsOption = Annotated[
    Channels, typer.Option(help="split: one speaker per channel, told apart.", rich_help_panel=REQUEST)
]
Window = Annotated[str | None, typer.Option(help="Hours in which it runs: 22:00-06:00.", rich_help_panel=JOB)]
Timezone = Annotated[
    str | None, typer.Option(help="Of the window; default: this machine's.", rich_help_panel=JOB)
]
Webhook = Annotated[
    str | None, typer.Option("--webhook-url", help="Is told of the job's end.", rich_help_panel=JOB)
]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait for the transcripts, or print the job's id.")
]
Anew = Annotated[bool, typer.Option("--anew", help="Transcribe also what has its transcripts.")]


def transcribe(
    sources: Sources,
    out: Out,
    formats: Formats = "txt,srt",
    model: Model = "whisper-tiny.en",
    language: Language = None,
    prompt: Prompt = None,
    words: Words = False,
    channels: ChannelsOption = Channels.MIX,
    window: Window = None,
    timezone: Timezone = None,
    webhook_url: Webhook = None,
    wait: Wait = True,
    anew: Anew = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Transcribe recordings: files and folders, any format and length, each to files in DIR.

    What has its transcripts already is left out. Ctrl-C leaves the job running; the same command goes on.
    """
    from cli.progress import Meter, counted
    from cli.recordings import find_recordings, formats_of, is_done
    from cli.transcription_book import read_book
    from cli.transcription_run import Order, Run

    try:
        wanted = formats_of(formats)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--formats") from None
    work = _work(window, timezone, webhook_url)
    asked, rendering = _request(wanted, model, language, prompt, words, channels)
    order = Order(output=out, formats=wanted, asked=asked, rendering=rendering, work=work)
    started = time.monotonic()
    with connect(url, api_key) as client, Meter() as meter:
        taken = read_book(out).taken()
        found = find_recordings(sources, lambda path, why: meter.say(f"skipped {path}: {why}"), taken)
        if not found:
            raise CommandFailed(f"there is no recording in {', '.join(map(str, sources))}")
        left = found if anew else [one for one in found if not is_done(one, out, wanted)]
        if len(left) < len(found):
            meter.say(f"{counted(len(found) - len(left), 'recording')} already done")
        _check(client.get(f"/v1/models/{model}"), asked | rendering)
        run = Run(client, order, meter)
        _begin(run, meter, left, anew=anew)
        if wait:
            _follow(run, meter)
        elif not as_json:
            for job_id in run.tally.jobs:
                meter.tell(job_id)
    seconds = time.monotonic() - started
    if as_json:
        print_json(_report(run.tally, len(found) - len(left), seconds))
    if wait or run.tally.failed:
        typer.echo(_summary(run.tally, seconds), err=True)
    raise typer.Exit(ExitCode.INCOMPLETE if run.tally.failed or run.tally.unfinished else ExitCode.OK)


def _begin(run: "Run", meter: "Meter", left: "Sequence[Recording]", *, anew: bool) -> None:
    try:
        run.begin(left, anew=anew)
    except KeyboardInterrupt:
        meter.say(
            "\nThat was before the job. The same command goes on, and sends no recording again that is up."
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _follow(run: "Run", meter: "Meter") -> None:
    """Until the end, or Ctrl-C, which leaves the jobs running."""
    try:
        run.follow()
    except KeyboardInterrupt:
        jobs = " and ".join(run.tally.jobs)
        meter.say(f"\n{jobs} will go on. Come back for the rest with the same command.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _request(
    formats: Sequence["Format"],
    model: str,
    language: str | None,
    prompt: str | None,
    words: bool,
    channels: Channels,
) -> "tuple[Object, Object]":
    """The body of each item: what shapes the transcript, and what goes with its formats."""
    asked: Object = {"model": model}
    if language is not None:
        asked["language"] = language
    if prompt is not None:
        asked["prompt"] = prompt
    if words:
        asked["words"] = True
    if channels is Channels.SPLIT or "diarized_json" in formats:
        asked["channels"] = Channels.SPLIT.value
    rendering: Object = {"formats": list(formats)}
    if words and "verbose_json" in formats:
        rendering["timestamp_granularities"] = ["segment", "word"]
    return asked, rendering


def _check(model: "Object", body: "Object") -> None:
    """Refuse a model that is for something else, and what it cannot do, before anything is uploaded."""
    import orjson

    from backends.errors import InvalidBody
    from backends.spoken_languages import check_languages
    from backends.transcription import TRANSCRIPTIONS, parse_request

    if TRANSCRIPTIONS not in model.get("endpoints", [TRANSCRIPTIONS]):
        raise CommandFailed(
            f"the model {model['id']} does not transcribe; 'batchyard models list' has others"
        )
    try:
        request = parse_request(orjson.dumps(body), TRANSCRIPTIONS, attached=True)
        if (known := model.get("languages")) is not None:
            check_languages(request.task, request.language, known, translates=True)
    except InvalidBody as error:
        raise CommandFailed(f"{error} ({error.code})") from None


def _work(window: str | None, timezone: str | None, webhook_url: str | None) -> "Object":
    """What the job is to have besides its items; checked here, as an upload may take an hour."""
    from configs.windows import parse_window

    if timezone is not None and window is None:
        raise typer.BadParameter("it belongs to a --window", param_hint="--timezone")
    work: Object = {}
    if window is not None:
        zone = timezone or _own_timezone()
        try:
            parse_window(window, zone)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--window") from None
        work |= {"window": window, "timezone": zone}
    if webhook_url is not None:
        work["webhook_url"] = webhook_url
    return work


def _own_timezone() -> str:
    """The name of this machine's time zone: of TZ, else of the file that /etc/localtime is."""
    name = os.environ.get("TZ", "").lstrip(":") or os.path.realpath("/etc/localtime").partition(ZONES)[2]
    return name or "UTC"


def _report(tally: "Tally", already: int, seconds: float) -> "Object":
    return {
        "jobs": tally.jobs,
        "transcribed": len(tally.done),
        "already_done": already,
        "failed": {str(path): why for path, why in tally.failed.items()},
        "not_reached": {str(path): why for path, why in tally.unfinished.items()},
        "audio_seconds": round(tally.seconds, 2),
        "seconds": round(seconds, 2),
    }


def _summary(tally: "Tally", seconds: float) -> str:
    from cli.progress import counted, duration

    heard = tally.rate(seconds)
    rate = "" if heard is None else f" ({heard:,.0f} s of audio/s)"
    lines = [
        f"{counted(len(tally.done), 'recording')} transcribed, {duration(tally.seconds)} of audio, in "
        f"{duration(seconds)}{rate}"
    ]
    for problems, what in ((tally.failed, "failed"), (tally.unfinished, "not reached")):
        if problems:
            lines.append(f"{counted(len(problems), 'recording')} {what}:")
            lines += [f"  {path}: {why}" for path, why in list(problems.items())[:MOST_NAMED]]
            if len(problems) > MOST_NAMED:
                lines.append(f"  and {len(problems) - MOST_NAMED:,} more")
    return "\n".join(lines)
