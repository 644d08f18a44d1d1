"""`batchyard worker`: one slot alone."""

from typing import Annotated

import typer

from cli.part import check_database, settings_of_part


def worker(
    cores: Annotated[
        str, typer.Option(help="Cores to own, such as 0,1 or 4-7; auto: a free one of this host.")
    ] = "auto",
    families: Annotated[
        str | None, typer.Option(help="Families to serve, comma-separated; all: every one.")
    ] = None,
) -> None:
    """Be one slot: compute what is queued for its families, on cores of its own."""
    import os

    from tasks import worker
    from tasks.slots import check_sets, parse_cores, parse_families

    settings = settings_of_part(families=families)
    wanted = None if cores == "auto" else parse_cores(cores)
    if wanted is not None:
        check_sets([wanted], sorted(os.sched_getaffinity(0)))
    parse_families(settings.families)
    check_database(settings)
    raise typer.Exit(worker.run(settings, settings.families, wanted))
