"""The home folder: made so that the services' account can enter it, and held by one owner at a time."""

import fcntl
import hashlib
import os
from pathlib import Path

from store.embedded.account import Account, closed_folder
from store.embedded.errors import HomeRefused

# sun_path of sockaddr_un holds 108 bytes on Linux, the closing zero included (unix(7)).
SOCKET_PATH_BYTES = 107
LONGEST_SOCKET = ".s.PGSQL.5432"


def make_home(home: Path, account: Account | None) -> None:
    """Make `home` and its missing parents. `account` may pass through what we make, and list nothing.

    Raises `HomeRefused`, naming the folder at fault, when we cannot make it or `account` cannot enter it.
    """
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    nearest = missing[-1].parent if missing else home
    if not nearest.is_dir():
        raise HomeRefused(f"home {home} cannot be used: {nearest} is not a folder; name another with --home")
    if account and (closed := closed_folder(nearest, account)):
        raise HomeRefused(
            f"home {home} cannot be used: root's services run as '{account.name}', and the folder {closed} "
            f"is closed to that account; name another home with --home, or open it with: chmod o+x {closed}"
        )
    mode = 0o711 if account else 0o700
    try:
        for folder in reversed(missing):
            folder.mkdir(mode)
            folder.chmod(mode)  # whatever the umask took away
    except OSError as error:
        raise HomeRefused(
            f"home {home} cannot be made: {error.strerror} ({error.filename}); name another with --home"
        ) from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise HomeRefused(f"home {home} is not ours to write to; name another with --home")


class HomeLock:
    """Holds a home for this process. Gone with the process, however it ends; children do not inherit it."""

    def __init__(self, home: Path) -> None:
        """Raises `HomeRefused` when another process holds `home`."""
        self._fd = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise HomeRefused(
                f"home {home} is in use by process {holder}: stop that one, or name another home with --home"
            ) from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.close(self._fd)


def own_folder(folder: Path, account: Account | None) -> Path:
    """Make `folder` for the services alone (0700). Raises `HomeRefused` when somebody else has made it."""
    owner = account.uid if account else os.geteuid()
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        found = folder.lstat()
        if folder.is_symlink() or not folder.is_dir() or found.st_uid not in (owner, os.geteuid()):
            raise HomeRefused(f"{folder} is in the way: it is not a folder of ours; remove it") from None
    if account:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)
    return folder


def socket_folder(home: Path, account: Account | None) -> Path:
    """The folder for unix sockets: HOME/run, or one under /tmp when that path does not do.

    It must not be too long for a socket, nor have a comma, which separates hosts in a libpq URL.
    """
    folder = home / "run"
    if len(os.fsencode(folder / LONGEST_SOCKET)) > SOCKET_PATH_BYTES or "," in str(folder):
        folder = Path("/tmp") / f"batchyard-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    return own_folder(folder, account)
