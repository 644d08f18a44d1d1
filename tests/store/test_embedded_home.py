"""What makes a home unusable, and how that is said."""

import os
import re
import socket
from pathlib import Path

import pytest

from store.embedded import home as home_module
from store.embedded.account import Account
from store.embedded.errors import HomeRefused
from store.embedded.home import HomeLock, make_home, own_folder, socket_folder
from store.embedded.services import EmbeddedServices
from tests.fixtures.processes import NOBODY, answer_of, as_root, living, program, reachable_by, wait_until

ACCOUNT = Account("nobody", NOBODY, NOBODY)


@as_root
def test_a_folder_closed_to_the_services_account_is_named(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(HomeRefused, match=rf"folder {re.escape(str(closed))} is closed .* chmod o\+x"):
        make_home(closed / "deeper" / "home", ACCOUNT)
    assert list(closed.iterdir()) == []


@as_root
def test_a_tight_umask_does_not_close_the_home(open_folder: Path) -> None:
    before = os.umask(0o077)
    try:
        make_home(open_folder / "tight" / "home", ACCOUNT)
    finally:
        os.umask(before)
    assert (open_folder / "tight" / "home").stat().st_mode & 0o777 == 0o711


def test_the_home_of_an_ordinary_account_is_closed_to_others(tmp_path: Path) -> None:
    make_home(tmp_path / "home", None)
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    for home in (tmp_path / "home", tmp_path / "home" / "below"):
        with pytest.raises(HomeRefused, match=f"{re.escape(str(tmp_path / 'home'))} is not a folder"):
            make_home(home, None)


@as_root
@pytest.mark.parametrize(("mode", "fault"), [(0o711, "cannot be made"), (0o700, "cannot be read")])
def test_a_home_that_an_ordinary_account_may_not_make_is_refused(
    open_folder: Path, mode: int, fault: str
) -> None:
    if not reachable_by(NOBODY, Path(__file__)):
        pytest.skip("the clone is closed to ordinary accounts")
    folder = open_folder / f"not-mine-{mode:o}"
    folder.mkdir()
    folder.chmod(mode)
    with program("run_services.py", folder / "home", NOBODY) as process:
        answer = answer_of(process)
    assert answer["kind"] == "HomeRefused"
    assert f"{fault}: Permission denied" in answer["error"]
    assert str(folder / "home") in answer["error"]


def test_a_home_in_use_is_refused_with_the_process_that_uses_it(tmp_path: Path) -> None:
    first = HomeLock(tmp_path)
    with pytest.raises(
        HomeRefused, match=rf"home {re.escape(str(tmp_path))} is in use by process {os.getpid()}"
    ):
        HomeLock(tmp_path)
    first.release()
    HomeLock(tmp_path).release()


def test_a_refused_start_does_not_disturb_the_holder(home: Path) -> None:
    with program("run_services.py", home) as owner:
        pids = answer_of(owner)["pids"]
        with pytest.raises(HomeRefused, match=f"in use by process {owner.pid}"):
            EmbeddedServices(home, durable=False).start()
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_lock_ends_with_its_process(home: Path) -> None:
    with program("run_services.py", home) as owner:
        pids = answer_of(owner)["pids"]
        owner.kill()
        owner.wait()
        HomeLock(home).release()
        wait_until(lambda: not living(pids), 10, "the servers have ended too")


def test_sockets_lie_under_the_home_as_long_as_the_path_fits(tmp_path: Path) -> None:
    room = 107 - len("/run/.s.PGSQL.5432") - len(str(tmp_path)) - 1
    fitting, longer = tmp_path / ("x" * room), tmp_path / ("x" * (room + 1))
    for folder in (fitting, longer):
        folder.mkdir()
    assert socket_folder(fitting, None) == fitting / "run"
    elsewhere = socket_folder(longer, None)
    assert elsewhere.parent == Path("/tmp")
    elsewhere.rmdir()


def test_a_link_in_the_place_of_our_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeRefused, match="is in the way"):
        own_folder(tmp_path / "run", None)


@as_root
def test_a_folder_of_a_third_account_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 1, 1)
    with pytest.raises(HomeRefused, match="is in the way"):
        own_folder(tmp_path / "run", ACCOUNT)


def test_the_limit_is_the_one_of_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / ("s" * (home_module.SOCKET_PATH_BYTES - len(str(tmp_path)) - 1))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with socket.socket(socket.AF_UNIX) as listener, pytest.raises(OSError, match="too long"):
        listener.bind(f"{path}s")
