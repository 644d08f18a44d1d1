"""`batchyard worker`: one slot alone."""

from typing import Annotated

import typer

from cli.environment import settings_from


def worker(
    cores: Annotated[
        str, typer.Option(help="Cores to own, such as 0,1 or 4-7; auto: a free one of this host.")
    ] = "auto",
    families: Annotated[
        str | None, typer.Option(help="Families to serve, comma-separated; all: every one.")
    ] = None,
) -> None:
    """Be one slot: compute what is queued for its families, on cores of its own."""
    from configs import logging
    from tasks import worker
    from tasks.slots import parse_cores, parse_families

    settings = settings_from(families=families)
    logging.configure(settings)
    wanted = None if cores == "auto" else parse_cores(cores)
    parse_families(settings.families)
    raise typer.Exit(worker.run(settings, settings.families, wanted))
