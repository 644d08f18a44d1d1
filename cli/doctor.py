"""`batchyard doctor`: what this machine has, what works, and what to do about what does not."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.environment import settings_from
from cli.exit_codes import ExitCode
from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, print_json

if TYPE_CHECKING:
    from cli.checks.finding import Finding
    from configs.settings import Settings

QuickOption = Annotated[bool, typer.Option("--quick", help="Load no native library and no model.")]


def doctor(
    quick: QuickOption = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine: cores, instruction sets, memory, disk, native builds, models, services.

    Exit code 1 if something that should work does not; each such line says what to do.
    """
    from cli.checks.finding import State
    from configs import logging

    settings = settings_from()
    logging.configure(settings.model_copy(update={"log_level": "error"}))
    found = []
    for finding in _findings(settings, url, api_key, quick):
        found.append(finding)
        if not as_json:
            _print(finding)
    problems = sum(finding.state is State.PROBLEM for finding in found)
    if as_json:
        print_json({"ok": not problems, "findings": [finding.as_json() for finding in found]})
    else:
        typer.echo(f"\n{problems} problem{'s' * (problems != 1)}" if problems else "\nall is well")
    raise typer.Exit(ExitCode.FAILED if problems else ExitCode.OK)


def _findings(settings: "Settings", url: str, api_key: str | None, quick: bool) -> "Iterator[Finding]":
    from cli.checks.machine import check_machine
    from cli.checks.services import check_services

    yield from check_machine(settings)
    yield from check_services(settings, url, api_key)
    if not quick:
        from cli.checks.engines import check_models, check_runtimes

        yield from check_runtimes()
        yield from check_models(settings)


def _print(finding: "Finding") -> None:
    color = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "problem": typer.colors.RED}[
        finding.state
    ]
    typer.secho(f"{finding.state:<8}", fg=color, nl=False)
    typer.echo(f"{finding.area}: {finding.message}")
    if finding.advice:
        typer.echo(f"{'':<8}→ {finding.advice}")
