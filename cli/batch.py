"""`batchyard batch`: OpenAI batches from the command line, with input files in OpenAI's form."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CommandFailed
from cli.exit_codes import ExitCode
from cli.jobs import wait_and_exit
from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer(help="Submit input files as batches, and fetch what came out.", no_args_is_help=True)
BatchArgument = Annotated[str, typer.Argument(help="batch_…", metavar="BATCH", show_default=False)]


@app.command()
def submit(
    path: Annotated[Path, typer.Argument(help="Input file, one request per line.", show_default=False)],
    endpoint: Annotated[str, typer.Option(help="Endpoint of every line.")] = "/v1/embeddings",
    completion_window: Annotated[
        str, typer.Option(help="Time after which it expires: 90m, 24h, 7d.")
    ] = "24h",
    metadata: Annotated[
        list[str] | None, typer.Option(help="Kept with the batch; may be given again.", metavar="KEY=VALUE")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload an input file and start a batch of it; prints the batch's id."""
    from cli.job_facts import print_job
    from cli.progress import Meter

    pairs = dict(_pair(text) for text in metadata or [])
    with connect(url, api_key) as client, Meter() as meter:
        size = _size_of(path)
        meter.stage(f"uploading {path.name}", "MB")
        file_id = client.upload(path, report=lambda done: meter.update(done, size))
        work = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": completion_window}
        batch = client.post("/v1/batches", work | ({"metadata": pairs} if pairs else {}))
    if wait:
        wait_and_exit(batch["id"], url, api_key, as_json=as_json)
    elif as_json:
        print_job(batch, as_json=True)
    else:
        typer.echo(batch["id"])


@app.command()
def wait(
    batch_id: BatchArgument,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait until a batch has ended. Exit code 0 only if every item succeeded."""
    wait_and_exit(batch_id, url, api_key, as_json=as_json)


@app.command()
def fetch(
    batch_id: BatchArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the results.")] = None,
    errors: Annotated[Path | None, typer.Option(help="File for the items that failed.")] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
) -> None:
    """Download the output file (and the error file) of a batch that has ended.

    Without a name they become BATCH_output.jsonl and BATCH_errors.jsonl in the current folder.
    """
    from cli.watch import FINAL, complaints, outcome

    with connect(url, api_key) as client:
        batch = client.get(f"/v1/batches/{batch_id}")
        if batch["status"] not in FINAL:
            typer.echo(
                f"{batch_id} is {batch['status']}; wait with: batchyard batch wait {batch_id}", err=True
            )
            raise typer.Exit(ExitCode.FAILED)
        if batch["status"] == "failed":
            raise CommandFailed("\n  ".join([f"{batch_id} failed:", *complaints(batch)]))
        for file_id, path in (
            (batch["output_file_id"], output or Path(f"{batch_id}_output.jsonl")),
            (batch["error_file_id"], errors or Path(f"{batch_id}_errors.jsonl")),
        ):
            if file_id is not None:
                typer.echo(f"{path}: {_save(client, file_id, path):,} bytes")
    raise typer.Exit(outcome(batch))


@app.command()
def cancel(
    batch_id: BatchArgument,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a batch. What is finished stays readable."""
    from cli.job_facts import print_job

    with connect(url, api_key) as client:
        batch = client.post(f"/v1/batches/{batch_id}/cancel")
    print_job(batch, as_json=as_json)


def _size_of(path: Path) -> int:
    try:
        with path.open("rb"):
            return path.stat().st_size
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None


def _save(client: "Client", file_id: str, path: Path) -> int:
    """Stream a file to disk, under its name only when it is whole; returns the bytes."""
    draft = path.with_name(f".{path.name}.part")
    size = 0
    try:
        with client.stream(f"/v1/files/{file_id}/content") as reply, draft.open("wb") as file:
            for block in reply.iter_bytes():
                file.write(block)
                size += len(block)
        draft.replace(path)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)
    return size


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"'{text}' must read KEY=VALUE", param_hint="--metadata")
    return key, value
