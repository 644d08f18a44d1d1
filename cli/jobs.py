"""`batchyard jobs`: what became of a job, of whatever kind."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit_codes import ExitCode
from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json

if TYPE_CHECKING:
    from cli.client import Object

app = typer.Typer(help="Look at jobs, wait for them, cancel them.", no_args_is_help=True)
JobArgument = Annotated[str, typer.Argument(help="job_… or batch_…", metavar="JOB", show_default=False)]


@app.command()
def show(
    job_id: JobArgument, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show a job: its state, counts and times, and what was wrong with its input."""
    with connect(url, api_key) as client:
        job = client.get(f"/v1/{_view(job_id)}/{job_id}")
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
    with connect(url, api_key) as client:
        job = client.post(f"/v1/{_view(job_id)}/{job_id}/cancel")
    print_job(job, as_json=as_json)


def wait_and_exit(job_id: str, url: str, api_key: str | None, *, as_json: bool) -> None:
    """Wait, print the job, exit with its outcome; Ctrl-C leaves the job running and says so."""
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


def print_job(job: "Object", *, as_json: bool) -> None:
    """A job or batch as JSON, or as one fact per line."""
    from cli.watch import complaints

    if as_json:
        print_json(job)
        return
    counts = job["request_counts"]
    facts = {
        "status": job["status"],
        "waiting for": job.get("note"),
        "model": job.get("model"),
        "endpoint": job["endpoint"],
        "items": f"{counts['total']:,}: {counts['completed']:,} succeeded, {counts['failed']:,} failed",
        "input": job.get("input_file_id"),
        "output": job.get("output_file_id"),
        "errors": job.get("error_file_id"),
        **{name.removesuffix("_at"): _time(value) for name, value in job.items() if name.endswith("_at")},
    }
    typer.echo(job["id"])
    for name, value in facts.items():
        if value:
            typer.echo(f"  {name:<12} {value}")
    for line in complaints(job):
        typer.echo(f"  {line}")


def _time(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def _view(job_id: str) -> str:
    from cli.watch import view_of

    return view_of(job_id)
