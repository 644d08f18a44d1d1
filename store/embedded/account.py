"""Whom the embedded services run as, and what that account can reach.

Postgres refuses to run as root, so root hands its services to an unprivileged account. Anybody else runs
them as themselves (`None`).
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from store.embedded.errors import HomeRefused, ServiceError

# The first of these that the machine has; Postgres insists on an account with a passwd entry.
CANDIDATES = ("batchyard", "nobody")


@dataclass(frozen=True)
class Account:
    """An account of the machine, by number."""

    name: str
    uid: int
    gid: int


class RunAs(TypedDict):
    """Arguments of `subprocess.Popen`."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


def run_as(account: Account | None) -> RunAs:
    """What makes `subprocess` run a program as `account`; None changes nothing."""
    if account is None:
        return RunAs(user=None, group=None, extra_groups=None)
    return RunAs(user=account.uid, group=account.gid, extra_groups=[])


def service_account(data: Path) -> Account | None:
    """The account for services whose data lie in `data`: None to run them as ourselves.

    For root, the owner of data that are there already stays their owner. Raises `HomeRefused` when
    somebody else's data are in the way.
    """
    owner = _owner(data)
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise HomeRefused(
                f"{data} belongs to another account (uid {owner}): start as that account or as root, "
                "or name another home with --home"
            )
        return None
    entry = _entry_of(owner) if owner else next(filter(None, map(_entry_named, CANDIDATES)), None)
    if entry is None:
        raise ServiceError(
            "Postgres does not run as root, and this machine has no account "
            + (f"with uid {owner}, which owns {data}" if owner else " or ".join(map(repr, CANDIDATES)))
            + ": add one, start as an ordinary user, or set BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL"
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def closed_folder(path: Path, account: Account) -> Path | None:
    """The first folder on the way to `path`, itself included, that `account` may not enter.

    Asked of the system by trying, since mode bits do not tell about access lists.
    """
    if _enters(path, account):
        return None
    return next(folder for folder in [*reversed(path.parents), path] if not _enters(folder, account))


def _owner(folder: Path) -> int | None:
    try:
        return folder.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):  # behind a file: `make_home` says which
        return None
    except PermissionError as error:
        raise HomeRefused(
            f"{folder} cannot be read: {error.strerror}; name another home with --home"
        ) from None


def _entry_of(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _entry_named(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _enters(folder: Path, account: Account) -> bool:
    return subprocess.run(["test", "-x", folder], cwd="/", **run_as(account)).returncode == 0
