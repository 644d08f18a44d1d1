"""What the demos have in common: a home of their own, the model, and a service for as long as they run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.environment import settings_from
from cli.errors import CommandFailed

if TYPE_CHECKING:
    from cli.client import Client
    from cli.progress import Meter
    from configs.settings import Settings

HomeOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the demo's service and results; default: beside the usual home."),
]


def demo_settings(home: Path | None) -> "Settings":
    """Settings with a home of the demos' own, so that they do not meet a service that runs already."""
    from configs import logging

    settings = settings_from()
    chosen = home.absolute() if home else settings.home.with_name(f"{settings.home.name}-demo")
    logging.configure(settings.model_copy(update={"log_level": "warning"}))
    return settings.model_copy(update={"home": chosen})


def results_folder(home: Path, name: str) -> Path:
    """A folder in the home, made if need be. Raises `CommandFailed`."""
    folder = home / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"{folder} cannot be made: {error.strerror}; name another with --home") from None
    return folder


def have_model(settings: "Settings", name: str, meter: "Meter") -> None:
    """Pull what the best runtime of the model needs."""
    from backends.weights.cache import best_runtime
    from cli.models import pull_files
    from configs.spec_files import load_catalogue

    spec = load_catalogue(settings).specs[name]
    pull_files(spec, settings, [best_runtime(spec)], meter)


@contextmanager
def demo_service(settings: "Settings", model: str, log: Path, meter: "Meter") -> "Iterator[Client]":
    """A service that serves `model` until the end, and a client of it; what it says goes to `log`."""
    from cli.client import Client
    from cli.own_service import own_service

    meter.stage("starting the service (Postgres, Redis, API, dispatcher, slots)")
    started = time.monotonic()
    options = ["--home", str(settings.home), "--models", model]

    def waiting(seconds: float) -> None:
        meter.update(0, note=f"{seconds:.0f} s")

    with own_service(options, log, waiting=waiting) as url:
        meter.tell(f"the service is ready at {url} after {time.monotonic() - started:.1f} s")
        with Client(url, settings.api_key) as client:
            yield client
        meter.stage("stopping the service")
