"""Exit codes of every command, and which errors are expected: those end in one line, not in a traceback."""

import sys
from enum import IntEnum


class ExitCode(IntEnum):
    """What a script may rely on. `docs/operations.md` lists the same."""

    OK = 0
    FAILED = 1  # the command could not do what it was asked to
    USAGE = 2  # wrong arguments or settings
    UNREACHABLE = 3  # the service, or the database or Redis under it, does not answer
    INCOMPLETE = 4  # the job ended, and not every item has succeeded
    REFUSED = (
        5  # it cannot start here and now: home in use, port taken, cores taken, no key for an open address
    )
    INTERRUPTED = 130  # Ctrl-C; what was submitted goes on


# By module and class, so that a command which does not need httpx or psycopg does not import them:
# an error of a module that was never imported cannot be in the air. The first that fits counts.
EXPECTED = (
    ("cli.client", "ServiceUnreachable", ExitCode.UNREACHABLE),
    ("cli.errors", "CommandFailed", ExitCode.FAILED),
    ("cli.errors", "WrongSetting", ExitCode.USAGE),
    ("httpx", "TransportError", ExitCode.UNREACHABLE),
    ("store.errors", "DatabaseUnavailable", ExitCode.UNREACHABLE),
    ("store.errors", "StoreError", ExitCode.REFUSED),
    ("api.auth", "KeyMissing", ExitCode.REFUSED),
    ("tasks.refusals", "ArgumentRefused", ExitCode.USAGE),
    ("tasks.refusals", "StartRefused", ExitCode.REFUSED),
    ("configs.spec_files", "InvalidSpec", ExitCode.FAILED),
    ("backends.errors", "BackendError", ExitCode.FAILED),
)


def exit_code_of(error: BaseException) -> ExitCode | None:
    """The exit code of an expected error; None for one that nobody expected."""
    for module, name, code in EXPECTED:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return code
    return None
