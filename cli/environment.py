"""Settings for a command: the environment, and the options of the command line over it."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from cli.errors import WrongSetting

if TYPE_CHECKING:
    from configs.settings import Settings


def settings_from(**options: Any) -> "Settings":
    """Read the settings; an option that is not None replaces its variable.

    Raises `WrongSetting`, which names each option or variable whose value is not valid.
    """
    from pydantic import ValidationError

    from configs.settings import PREFIX, Settings

    warn_of_strange_variables()
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            field = str(problem["loc"][0])
            source = f"--{field}" if field in given else f"{PREFIX}{field.upper()}"
            problems.append(f"{source}: {problem['msg'].removeprefix('Value error, ')}")
        raise WrongSetting("; ".join(problems)) from None
    _warn_of_missing_specs(settings)
    return settings


def warn_of_strange_variables() -> None:
    """Name the variables that look like ours and are none: most are typing errors."""
    from configs.settings import unknown_variables

    for name, near in unknown_variables(os.environ):
        hint = f"; did you mean {near}?" if near else ""
        _warn_once(f"{name} is not a setting and does nothing{hint}")


def _warn_of_missing_specs(settings: "Settings") -> None:
    if settings.specs is not None and not settings.specs.is_dir():
        _warn_once(f"BATCHYARD_SPECS: there is no folder {settings.specs}, so that no spec of yours is read")


@cache
def _warn_once(text: str) -> None:
    """Once per process; a part of `up` leaves it to `up`, which reads the same variables."""
    if "BATCHYARD_PART_OF_UP" not in os.environ:
        typer.echo(f"batchyard: warning: {text}", err=True)
