"""Bringing an engine up: files, runtimes by rank, and what is said meanwhile."""

import time
from pathlib import Path

import pytest

from backends.engine import Engine
from backends.errors import LoadFailed
from backends.registry import FAMILIES, Family, Runtime
from backends.weights.pull import PullProgress
from configs.models import ModelSpec
from configs.settings import Settings
from tasks.launch import Launch
from tests.tasks.slot import settings_for

ECHO = ModelSpec(name="echo", family="echo")


def spec_with_a_file(source: Path) -> ModelSpec:
    file = {"path": "weights.bin", "source": f"file:{source}"}
    return ModelSpec.model_validate({"name": "filed", "family": "echo", "files": [file]})


def bring_up(launch: Launch, seconds: float = 30.0) -> tuple[Engine, list[str | None]]:
    """Step until the engine is ready; also the notes on the way."""
    until, notes = time.monotonic() + seconds, []
    while time.monotonic() < until:
        engine = launch.step()
        notes.append(launch.note)
        if engine is not None:
            return engine, notes
        time.sleep(0.01)
    raise AssertionError("no engine")


def test_a_model_without_files_is_loaded_at_once(tmp_path: Path) -> None:
    engine, notes = bring_up(Launch(ECHO, settings_for(tmp_path), [0]))
    assert engine.state == "ready"
    assert set(notes) == {None}
    engine.kill()


def test_missing_files_are_pulled_and_the_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "somewhere.bin"
    weights.write_bytes(b"w" * 100)

    def slow_pull(spec: ModelSpec, settings: Settings, *, runtimes, progress) -> None:
        progress(
            PullProgress(model=spec.name, path="weights.bin", phase="copying", done_bytes=25, total_bytes=100)
        )
        time.sleep(0.2)
        (settings.models / spec.name).mkdir(parents=True)
        (settings.models / spec.name / "weights.bin").write_bytes(b"w" * 100)

    monkeypatch.setattr("tasks.launch.pull", slow_pull)
    engine, notes = bring_up(Launch(spec_with_a_file(weights), settings_for(tmp_path), [0]))
    assert "model 'filed': copying weights.bin 25 %" in notes
    assert notes[-1] is None
    engine.kill()


def test_missing_files_are_an_error_that_says_what_to_run_where_pulling_is_forbidden(tmp_path: Path) -> None:
    weights = tmp_path / "somewhere.bin"
    weights.write_bytes(b"w")
    with pytest.raises(LoadFailed, match="batchyard models pull filed") as caught:
        Launch(spec_with_a_file(weights), settings_for(tmp_path, pull="never"), [0])
    assert caught.value.code == "model_not_ready"


def test_a_source_that_is_gone_is_an_error_and_not_a_traceback(tmp_path: Path) -> None:
    launch = Launch(spec_with_a_file(tmp_path / "nowhere.bin"), settings_for(tmp_path), [0])
    with pytest.raises(LoadFailed) as caught:
        bring_up(launch)
    assert caught.value.code == "model_not_ready"


def test_the_next_runtime_is_taken_when_the_best_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`FAMILIES` of the engine's own process has no runtime `broken`, so it fails to load there."""
    runtimes = {"broken": Runtime(backend="no:Such"), "echo": Runtime(backend="backends.echo:EchoBackend")}
    monkeypatch.setitem(FAMILIES, "echo", Family(endpoints=("/v1/embeddings",), runtimes=runtimes))
    engine, _ = bring_up(Launch(ECHO, settings_for(tmp_path), [0]))
    assert engine.runtime == "echo"
    engine.kill()


def test_a_family_without_an_installed_library_says_what_installs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtimes = {"far": Runtime(backend="no:Such", package="no_such_package", extra="make bindings")}
    monkeypatch.setitem(FAMILIES, "echo", Family(endpoints=("/v1/embeddings",), runtimes=runtimes))
    with pytest.raises(LoadFailed, match="make bindings") as caught:
        Launch(ECHO, settings_for(tmp_path), [0])
    assert caught.value.code == "binding_missing"
