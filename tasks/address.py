"""Where the API answers: the socket that it listens on, and the URL by which this host reaches it."""

import errno
import socket

from configs.settings import Settings
from tasks.refusals import ArgumentRefused, StartRefused

PORT_AT_FAULT = (errno.EADDRINUSE, errno.EACCES)


def listen(settings: Settings) -> socket.socket:
    """Bind the API's address and listen. `up` does so before the API starts and hands the socket down: a
    taken port is known at once, port 0 has a number, and callers wait instead of being refused while a dead
    API is started again.

    Raises `StartRefused` for a port that is taken, `ArgumentRefused` for an address that is not ours.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen()
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        what = f"cannot bind {settings.host} port {settings.port}: {reason}"
        if getattr(error, "errno", None) in PORT_AT_FAULT:
            raise StartRefused(f"{what}; choose another port with --port") from None
        raise ArgumentRefused(f"{what}; name an address of this machine with --host") from None
    return listener


def url_of(settings: Settings) -> str:
    """Where this host reaches the API."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
