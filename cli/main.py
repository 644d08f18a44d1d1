"""`batchyard`: the index of the commands. What a command needs is imported when it runs."""

import sys
from typing import Annotated

import typer

from cli import (
    api,
    batch,
    check,
    deliver,
    demo,
    demo_speech,
    dispatch,
    doctor,
    embed,
    jobs,
    keys,
    migrate,
    models,
    prune,
    queues,
    transcribe,
    up,
    webhooks,
    worker,
    workers,
)
from cli.exit_codes import ExitCode, exit_code_of

app = typer.Typer(
    name="batchyard",
    help="OpenAI-compatible job queue and batch inference for local models on CPUs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("api")(api.api)
app.command("dispatch")(dispatch.dispatch)
app.command("deliver")(deliver.deliver)
app.command("worker")(worker.worker)
app.command("migrate")(migrate.migrate)
app.command("check")(check.check)
app.command("embed")(embed.embed)
app.command("transcribe")(transcribe.transcribe)
app.add_typer(batch.app, name="batch")
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(keys.app, name="keys")
app.command("queues")(queues.queues)
app.command("workers")(workers.workers)
app.command("prune")(prune.prune)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("demo-speech")(demo_speech.demo_speech)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"batchyard {version('batchyard')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """OpenAI-compatible job queue and batch inference for local models on CPUs."""


def main() -> None:
    """Run the command line. Expected errors are one line on stderr and an exit code (`cli/exit_codes.py`)."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        typer.echo(f"batchyard: {error}", err=True)
        sys.exit(code)


if __name__ == "__main__":
    main()
