"""`batchyard jobs`: what became of jobs, of whatever kind."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit_codes import ExitCode
from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer(help="List jobs, wait for them, fetch their results.", no_args_is_help=True)
JobArgument = Annotated[str, typer.Argument(help="job_… or batch_…", metavar="JOB", show_default=False)]


@app.command("list")
def list_jobs(
    status: Annotated[
        list[str] | None, typer.Option(help="Only jobs of this status; may be given again.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only jobs of this endpoint.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="job, batch, call or response.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    after: Annotated[str | None, typer.Option(help="Go on after this job.", metavar="JOB")] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    from cli.job_facts import print_jobs

    asked = {
        "status": ",".join(status or ()),
        "kind": ",".join(kind or ()),
        "model": model,
        "endpoint": endpoint,
        "after": after,
    }
    with connect(url, api_key) as client:
        page = client.get("/v1/jobs", limit=limit, **{name: value for name, value in asked.items() if value})
    if as_json:
        print_json(page)
        return
    print_jobs(page["data"])
    if page["has_more"]:
        typer.echo(f"there are more: --after {page['last_id']}", err=True)


@app.command()
def show(
    job_id: JobArgument, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show a job: its state, counts, rate, place in the queue and times, and what is wrong with it."""
    from cli.job_facts import print_job

    with connect(url, api_key) as client:
        job = client.get(f"/v1/jobs/{job_id}")
    print_job(job, as_json=as_json)


@app.command()
def wait(
    job_id: JobArgument, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Wait until a job has ended. Exit code 0 only if every item succeeded."""
    wait_and_exit(job_id, url, api_key, as_json=as_json)


@app.command()
def cancel(
    job_id: JobArgument, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Cancel a job. What is finished stays readable."""
    from cli.job_facts import print_job
    from cli.watch import view_of

    with connect(url, api_key) as client:
        job = client.post(f"/v1/{view_of(job_id)}/{job_id}/cancel")
    print_job(job, as_json=as_json)


@app.command()
def retry(
    job_id: JobArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the new job has ended.")] = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new job of the items that failed or never ran; prints its id."""
    with connect(url, api_key) as client:
        job = client.post(f"/v1/jobs/{job_id}/retry")
    if wait:
        wait_and_exit(job["id"], url, api_key, as_json=as_json)
    elif as_json:
        print_json(job)
    else:
        typer.echo(job["id"])


@app.command()
def results(
    job_id: JobArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the results; default: stdout.")
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on behind the last line of the file.")
    ] = False,
    after: Annotated[int, typer.Option(min=-1, help="Begin behind the item of this number.")] = -1,
    include_retries: Annotated[
        bool, typer.Option("--include-retries", help="Results of retries in place of what failed.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
) -> None:
    """Fetch results, errors among them, as JSON lines in the order of the items. While the job runs: as far
    as all items before have ended, so that --continue leaves no gap."""
    from cli.watch import FINAL

    if go_on and output is None:
        raise typer.BadParameter("it goes on with a file: name one with -o", param_hint="--continue")
    options = {"include_retries": "true"} if include_retries else {}
    with connect(url, api_key) as client:
        job = client.get(f"/v1/jobs/{job_id}")
        if output is None:
            _write_lines(client, job_id, after, options)
        else:
            _save_lines(client, job_id, after, options, output, go_on=go_on)
    if job["status"] not in FINAL:
        typer.echo(f"{job_id} is {job['status']}: more results will come", err=True)


@app.command()
def delete(job_id: JobArgument, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None) -> None:
    """Delete a job that has ended, with its results and output files."""
    with connect(url, api_key) as client:
        client.delete(f"/v1/jobs/{job_id}")
    typer.echo(f"{job_id} deleted")


def wait_and_exit(job_id: str, url: str, api_key: str | None, *, as_json: bool) -> None:
    """Wait, print the job, exit with its outcome; Ctrl-C leaves the job running and says so."""
    from cli.job_facts import print_job
    from cli.progress import Meter
    from cli.watch import outcome, wait_for

    with connect(url, api_key) as client, Meter() as meter:
        try:
            job = wait_for(client, job_id, meter)
        except KeyboardInterrupt:
            meter.say(f"\n{job_id} goes on. Come back with: batchyard jobs wait {job_id}")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    print_job(job, as_json=as_json)
    raise typer.Exit(outcome(job))


def _write_lines(client: "Client", job_id: str, after: int, options: dict[str, str]) -> None:
    from cli.result_lines import result_lines

    for line in result_lines(client, job_id, after=after, **options):
        sys.stdout.buffer.write(line.raw + b"\n")


def _save_lines(
    client: "Client", job_id: str, after: int, options: dict[str, str], path: Path, *, go_on: bool
) -> None:
    """What has come stays if the rest does not, for `--continue`."""
    from cli.errors import CommandFailed
    from cli.result_lines import go_on_with, result_lines

    count = 0
    try:
        file, last = go_on_with(path) if go_on else (path.open("wb"), -1)
        with file:
            for line in result_lines(client, job_id, after=max(after, last), **options):
                file.write(line.raw + b"\n")
                count += 1
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror or error}") from None
    typer.echo(f"{path}: {count:,} results", err=True)
