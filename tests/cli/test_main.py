"""The command line as such: expected errors, exit codes, and that it starts fast."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import main as cli_main
from cli.environment import _warn_once
from cli.exit_codes import EXPECTED, ExitCode, exit_code_of
from configs.settings import Settings
from store.embedded.errors import HomeRefused
from store.errors import DatabaseUnavailable, StoreError
from tasks.refusals import PlanRefused, StartRefused
from tests.cli.conftest import Run
from tests.fixtures.fake_service import FakeService
from tests.fixtures.processes import REPOSITORY

HEAVY = {"celery", "fastapi", "httpx", "numpy", "psycopg", "pydantic", "redis", "sqlalchemy", "structlog"}


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(ran.stdout.split())


def test_every_expected_error_exists() -> None:
    for module, name, _ in EXPECTED:
        assert issubclass(getattr(import_module(module), name), Exception)


def test_no_expected_error_stands_twice() -> None:
    names = [(module, name) for module, name, _ in EXPECTED]
    assert len(names) == len(set(names))


def test_the_documentation_has_every_exit_code() -> None:
    table = (REPOSITORY / "docs" / "operations.md").read_text().partition("## Exit codes")[2]
    documented = re.findall(r"^\| (\d+) \|", table.partition("\n## ")[0], re.MULTILINE)
    assert documented == [str(int(code)) for code in ExitCode]


def test_the_exit_code_is_that_of_the_nearest_kind() -> None:
    assert exit_code_of(DatabaseUnavailable("away")) is ExitCode.UNREACHABLE
    assert exit_code_of(HomeRefused("closed")) is ExitCode.REFUSED
    assert exit_code_of(StoreError("other")) is ExitCode.REFUSED
    assert exit_code_of(StartRefused("port taken")) is ExitCode.REFUSED
    assert exit_code_of(PlanRefused("no such core")) is ExitCode.USAGE
    assert exit_code_of(KeyError("a defect")) is None


def test_an_unsupported_platform_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    monkeypatch.setattr("store.embedded.binaries.sys", SimpleNamespace(platform="plan9"))
    monkeypatch.setattr("configs.logging.configure", lambda settings: None)
    ended = run("up", "--home", open_folder / "unsupported", "--port", "0")
    assert ended.code == ExitCode.REFUSED
    assert ended.err.startswith("batchyard: Postgres and Redis are not embedded on plan9.")
    assert "BATCHYARD_DATABASE_URL" in ended.err
    assert ended.err.count("\n") == 1


def test_a_wrong_setting_is_a_usage_error_that_names_its_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHYARD_PORT", "seventy")
    ended = run("migrate")
    assert ended.code == ExitCode.USAGE
    assert "BATCHYARD_PORT" in ended.err
    assert "Traceback" not in ended.err


def test_a_wrong_option_is_named_as_the_option(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ended = run("up", "--home", tmp_path / "file")
    assert (ended.code, ended.err) == (2, f"batchyard: --home: {tmp_path}/file is not a folder\n")
    monkeypatch.setenv("BATCHYARD_HOME", str(tmp_path / "file"))
    ended = run("doctor")
    assert (ended.code, ended.err) == (2, f"batchyard: BATCHYARD_HOME: {tmp_path}/file is not a folder\n")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BATCHYARD_DATABASE_URL", "mysql://x", "must begin with postgresql://"),
        ("BATCHYARD_REDIS_URL", "http://x", "must begin with redis://"),
        ("BATCHYARD_BLOB_URL", "s3://x", "blobs in S3 are not built yet"),
    ],
)
def test_a_url_of_the_wrong_kind_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    for command in ("up", "dispatch", "doctor"):
        ended = run(command)
        assert (ended.code, ended.err.count("\n")) == (ExitCode.USAGE, 1)
        assert ended.err.startswith(f"batchyard: {variable}: {message}")


def test_a_variable_that_means_nothing_is_named_once(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHYARD_ULR", "http://elsewhere")
    _warn_once.cache_clear()
    warning = (
        "batchyard: warning: BATCHYARD_ULR is not a setting and does nothing; did you mean BATCHYARD_URL?"
    )
    assert run("embed", "-", stdin=b"a").err.splitlines().count(warning) == 1
    assert warning not in run("embed", "-", stdin=b"a").err
    _warn_once.cache_clear()
    monkeypatch.setenv("BATCHYARD_PART_OF_UP", "1")
    assert warning not in run("embed", "-", stdin=b"a").err


def test_a_folder_of_specs_that_is_not_there_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _warn_once.cache_clear()
    monkeypatch.setenv("BATCHYARD_SPECS", str(tmp_path / "none"))
    ended = run("models", "list")
    assert ended.code == ExitCode.OK
    assert f"batchyard: warning: BATCHYARD_SPECS: there is no folder {tmp_path}/none" in ended.err


def test_a_secret_setting_that_is_wrong_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_API_KEY", "hunter2")
    ended = run("migrate")
    assert ended.code == ExitCode.USAGE
    assert "BATCHYARD_API_KEY" in ended.err
    assert "hunter2" not in ended.err


def test_migrate_without_a_database_says_what_to_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHYARD_DATABASE_URL", raising=False)
    ended = run("migrate")
    assert ended.code == ExitCode.USAGE
    assert "BATCHYARD_DATABASE_URL is not set" in ended.err


def test_migrate_brings_an_empty_database_up(
    run: Run, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setattr("configs.logging.configure", lambda settings: None)
    monkeypatch.setenv("BATCHYARD_DATABASE_URL", empty_database_url)
    for _ in range(2):
        ended = run("migrate")
        assert ended.code == ExitCode.OK
        assert ended.out.startswith("migrated to ")


def test_a_database_that_is_away_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("configs.logging.configure", lambda settings: None)
    monkeypatch.setenv("BATCHYARD_DATABASE_URL", "postgresql://nobody@/none?host=/nowhere")
    ended = run("migrate")
    assert ended.code == ExitCode.UNREACHABLE
    assert ended.err.startswith("batchyard: ")


def test_ctrl_c_has_its_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_main, "app", interrupted)
    assert run().code == ExitCode.INTERRUPTED


def test_a_defect_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def defective() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli_main, "app", defective)
    with pytest.raises(ZeroDivisionError):
        run()


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").out == "batchyard 0.1.0\n"


def test_defaults_are_valid_settings() -> None:
    assert Settings().port == 8080
