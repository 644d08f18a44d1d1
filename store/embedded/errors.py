"""What can go wrong with the embedded services. Each message says what to do about it.

ServiceError (a StoreError)
├── HomeRefused        the home folder cannot be used: closed, somebody else's, or in use
├── NotEmbeddable      there are no binaries for this machine
└── ServiceFailed      Postgres or Redis does not start
"""

from store.errors import StoreError


class ServiceError(StoreError):
    """The root: something that an operator can put right."""


class HomeRefused(ServiceError):
    """The home folder cannot be used."""


class NotEmbeddable(ServiceError):
    """Postgres or Redis cannot run here; the message names the settings that replace them by servers."""


class ServiceFailed(ServiceError):
    """A service that was started has ended or does not answer; the message ends with its last log lines."""
