"""What can go wrong in an engine.

BackendError
├── InvalidBody       the request is wrong: the caller's fault, the item's own 4xx
├── PartFailed        this part cannot be computed; the engine is fine
├── LoadFailed        the model cannot be loaded: its job fails or waits
└── EngineDied        the child process ended; carries the signal (raised by the handle, in the parent)

Each carries a code of `configs/error_codes.py`.
"""

from configs.error_codes import status_of, type_of


class BackendError(Exception):
    """The root. `code` is a key of the catalogue, `param` the field of the request at fault."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param

    @property
    def status(self) -> int:
        return status_of(self.code)

    @property
    def type(self) -> str:
        return type_of(self.status)


class InvalidBody(BackendError):
    """A request body that is wrong for its endpoint or too large for its model."""


class PartFailed(BackendError):
    """One part that could not be computed."""


class LoadFailed(BackendError):
    """A model that could not be loaded.

    `transient`: for a reason that may pass (memory, a download, this machine): worth another try.
    """

    def __init__(self, message: str, *, code: str, param: str | None = None, transient: bool = False) -> None:
        super().__init__(message, code=code, param=param)
        self.transient = transient


class EngineDied(BackendError):
    """The engine's process has ended.

    `signal` is the number of the signal that ended it (None: it exited by itself), `in_flight` the keys
    of the parts that were started and not done.
    """

    def __init__(self, message: str, *, signal: int | None, in_flight: frozenset[int]) -> None:
        super().__init__(message, code="engine_crashed")
        self.signal = signal
        self.in_flight = in_flight
