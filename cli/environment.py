"""Settings for a command: the environment, and the options of the command line over it."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from configs.settings import Settings


def settings_from(**options: Any) -> "Settings":
    """Read the settings; an option that is not None replaces its variable.

    A value that is not valid is a usage error that names the variable.
    """
    from pydantic import ValidationError

    from configs.settings import Settings

    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"BATCHYARD_{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors()
        )
        raise typer.BadParameter(problems) from None
