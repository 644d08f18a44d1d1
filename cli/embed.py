"""`batchyard embed`: texts in, vectors out, as one bulk job of a running service."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.environment import settings_from
from cli.errors import CommandFailed
from cli.exit_codes import ExitCode
from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect

if TYPE_CHECKING:
    from cli.client import Client, Object
    from cli.embedding_job import Collected
    from cli.progress import Meter
    from cli.texts import Text


class Overlong(StrEnum):
    """What becomes of a text that has more tokens than the model takes."""

    ERROR = "error"
    TRUNCATE = "truncate"
    CHUNK_MEAN = "chunk_mean"


READ, REQUEST = "What is read", "How it is embedded"
Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files, folders, or - for stdin. A .jsonl, .csv, .tsv or .parquet file has a text per row; "
        "any other file is one text, and so is each text file in a folder.",
        metavar="SOURCE",
        show_default=False,
    ),
]
Output = Annotated[
    str, typer.Option("--output", "-o", help="NAME.jsonl, NAME.parquet or NAME.npy; -: JSON lines on stdout.")
]
Model = Annotated[str, typer.Option("--model", "-m", help="Name of the model.", rich_help_panel=REQUEST)]
Field = Annotated[str | None, typer.Option(help="JSON field that holds the text.", rich_help_panel=READ)]
Column = Annotated[str | None, typer.Option(help="Column that holds the text.", rich_help_panel=READ)]
Lines = Annotated[
    bool, typer.Option("--lines", help="Each line of a text file is a text.", rich_help_panel=READ)
]
Dimensions = Annotated[
    int | None, typer.Option(min=1, help="Shorten the vectors to so many.", rich_help_panel=REQUEST)
]
OverlongOption = Annotated[
    Overlong, typer.Option(help="What becomes of texts that are too long.", rich_help_panel=REQUEST)
]
InputType = Annotated[
    str | None, typer.Option(help="Prefix of the model to use: query, passage.", rich_help_panel=REQUEST)
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the vectors, or print the job's id.")]
Resume = Annotated[
    str | None, typer.Option(metavar="JOB", help="Go on with a job that an earlier call has submitted.")
]


# What shapes a new job, and says nothing to one that is there already.
OF_A_NEW_JOB = ("model", "field", "column", "lines", "dimensions", "overlong", "input_type")


def embed(
    context: typer.Context,
    sources: Sources = None,
    output: Output = "-",
    model: Model = "all-minilm-l6-v2",
    field: Field = None,
    column: Column = None,
    lines: Lines = False,
    dimensions: Dimensions = None,
    overlong: OverlongOption = Overlong.ERROR,
    input_type: InputType = None,
    wait: Wait = True,
    resume: Resume = None,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed texts: files, folders, stdin, rows of JSONL, CSV, TSV or Parquet.

    Ctrl-C leaves the job running; it says how to come back for the vectors.
    """
    from cli.embedding_job import check_is_embedding, submit
    from cli.progress import Meter
    from cli.vectors import check_output

    if bool(sources) == bool(resume):
        raise typer.BadParameter("name something to embed (- is stdin), or a job with --resume; one of them")
    if as_json and output == "-" and wait:
        raise typer.BadParameter("--json writes to stdout as well; name a file with --output")
    if resume:
        _check_resume(context, resume)
    if wait:
        check_output(output)
    started = time.monotonic()
    with connect(url, api_key) as client, Meter() as meter:
        if resume:
            job = client.get(f"/v1/jobs/{resume}")
            check_is_embedding(job)
        else:
            request = _request(model, dimensions, overlong, input_type)
            texts = _texts(sources or [], field, column, lines, meter)
            limit = settings_from().max_line_bytes
            job = submit(client, texts, request, meter, max_line_bytes=limit)
        if not wait:
            meter.tell(json.dumps(job, indent=2) if as_json else job["id"])
            return
        try:
            code = _finish(client, job, output, meter, started, as_json)
        except KeyboardInterrupt:
            command = _resume_command(job, output, url)
            meter.say(f"\n{job['id']} goes on. Come back for its vectors with:\n  {command}")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    raise typer.Exit(code)


def _check_resume(context: typer.Context, job_id: str) -> None:
    """Refuse what a resumed job could not take note of, and another kind of job, before there is a wait."""
    given = [
        f"--{name.replace('_', '-')}"
        for name in OF_A_NEW_JOB
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    ]
    if given:
        raise typer.BadParameter(
            f"{', '.join(given)}: a job keeps what it was submitted with; leave this out, or embed anew"
        )
    if job_id.startswith("batch_"):
        raise typer.BadParameter(f"{job_id} is a batch; fetch it with: batchyard batch fetch {job_id}")


def _request(model: str, dimensions: int | None, overlong: Overlong, input_type: str | None) -> "Object":
    request: Object = {"model": model}
    if overlong is not Overlong.ERROR:
        request["overlong"] = overlong.value
    if dimensions is not None:
        request["dimensions"] = dimensions
    if input_type is not None:
        request["input_type"] = input_type
    return request


def _texts(
    sources: Sequence[str], field: str | None, column: str | None, lines: bool, meter: "Meter"
) -> "Iterator[Text]":
    from cli.texts import Reading, read_texts

    reading = Reading(
        field=field,
        column=column,
        lines=lines,
        skipped=lambda path, reason: meter.say(f"skipped {path}: {reason}"),
    )
    return read_texts(sources, reading)


def _finish(
    client: "Client", job: "Object", output: str, meter: "Meter", started: float, as_json: bool
) -> ExitCode:
    """Wait for the job, write its vectors, say how it went."""
    from cli.embedding_job import collect
    from cli.vectors import open_output
    from cli.watch import complaints, outcome, wait_for

    meter.say(f"{job['id']} is submitted")
    job = wait_for(client, job["id"], meter, label="embedding")
    if job["status"] == "failed":
        raise CommandFailed("\n  ".join([f"{job['id']} failed:", *complaints(job)]))
    try:
        with open_output(output, job["request_counts"]["total"]) as sink:
            collected = collect(client, job, sink, meter)
    except BrokenPipeError:  # the reader of our stdout has seen enough
        raise
    except OSError as error:
        raise CommandFailed(f"{output}: {error.strerror or error}; {job['id']} keeps its results") from None
    seconds = time.monotonic() - started
    if as_json:
        meter.tell(_report(job, collected, output, seconds))
    meter.say(_summary(job, collected, output, seconds))
    return outcome(job)


def _report(job: "Object", collected: "Collected", output: str, seconds: float) -> str:
    facts = {
        "job": job["id"],
        "status": job["status"],
        "output": output,
        "vectors": collected.vectors,
        "failed": collected.failed,
        "dimensions": collected.dimensions,
        "tokens": collected.tokens,
        "seconds": round(seconds, 2),
    }
    return json.dumps(facts, indent=2)


def _summary(job: "Object", collected: "Collected", output: str, seconds: float) -> str:
    from cli.progress import counted, duration

    place = "" if output == "-" else f" in {output}"
    rate = collected.vectors / seconds if seconds else 0.0
    lines = [
        f"{counted(collected.vectors, 'vector')} of {counted(collected.dimensions, 'dimension')}{place}, "
        f"{duration(seconds)} ({rate:,.0f} texts/s)"
    ]
    if job["status"] != "completed":
        unfinished = job["request_counts"]["total"] - collected.vectors - collected.failed
        were = "was" if unfinished == 1 else "were"
        lines.append(f"{job['id']} is {job['status']}; {counted(unfinished, 'text')} {were} not reached")
    if collected.failed:
        lines.append(f"{counted(collected.failed, 'text')} failed:")
        lines += [f"  {example}" for example in collected.examples]
        if collected.failed > len(collected.examples):
            lines.append("  …")
    return "\n".join(lines)


def _resume_command(job: "Object", output: str, url: str) -> str:
    command = ["batchyard", "embed", "--resume", job["id"]]
    if output != "-":
        command += ["--output", output]
    if url != DEFAULT_URL:
        command += ["--url", url]
    return shlex.join(command)
