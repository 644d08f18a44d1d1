"""The script that builds the native bindings: which wheel fits which machine, and what becomes of a build."""

import base64
import csv
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from backends import builds

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy" / "bindings" / "build.py"
MARKER = builds.Marker(
    dist="llama-cpp-python",
    version="0.3.36",
    machine="x86_64",
    instruction_sets=["avx2", "fma"],
    compiler="g++ 12.2",
    flags=["-DGGML_NATIVE=ON"],
)
# A tile configuration, every field of which must have been stored when the instruction reads it.
TILES = """\
#include <immintrin.h>
struct alignas(64) tiles {
    unsigned char palette, start, reserved[14];
    unsigned short widths[16];
    unsigned char rows[16];
};
void configure() {
    tiles t = {};
    t.palette = 1;
    t.widths[3] = 0x1234;
    t.rows[5] = 0x56;
    _tile_loadconfig(&t);
}
"""


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bindings_build", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plan(build: ModuleType, tmp_path: Path) -> Any:
    return build.Plan(recipe=build.RECIPES[0], marker=MARKER, folder=tmp_path / "wheels" / "kind")


@pytest.mark.parametrize(
    "change",
    [
        {"instruction_sets": ["avx2", "avx512f", "fma"]},
        {"instruction_sets": ["avx2"]},
        {"compiler": "g++ 13.1"},
        {"version": "0.3.37"},
        {"flags": ["-DGGML_NATIVE=ON", "amx-header=other"]},
        {"machine": "aarch64"},
    ],
)
def test_whatever_makes_a_wheel_unfit_gives_another_folder(build: ModuleType, change: dict[str, Any]) -> None:
    other = msgspec.structs.replace(MARKER, **change)
    assert build.cpu_kind(other) != build.cpu_kind(MARKER)
    assert build.cpu_kind(msgspec.structs.replace(MARKER)) == build.cpu_kind(MARKER)


def test_an_older_c_library_gives_another_folder(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    here = build.cpu_kind(MARKER)
    monkeypatch.setattr(build.platform, "libc_ver", lambda: ("glibc", "2.17"))
    assert build.cpu_kind(MARKER) != here


@pytest.mark.parametrize(
    ("level", "sets"),
    [
        ("amx_int8", ["amx_int8", "avx2", "avx512f"]),
        ("avx512f", ["avx2", "avx512f"]),
        ("avx2", ["avx2"]),
        ("base", ["sse2"]),
    ],
)
def test_the_folder_says_which_kind_of_cpu_it_is_for(build: ModuleType, level: str, sets: list[str]) -> None:
    kind = build.cpu_kind(msgspec.structs.replace(MARKER, instruction_sets=sets))
    assert kind.startswith(f"x86_64-{level}-")


def test_the_version_is_the_one_of_the_constraints(build: ModuleType, tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("# pins\nllama-cpp-python-extra==9\nllama-cpp-python==1.2.3  # why\nother\n")
    assert build.pinned_version("llama-cpp-python", pins) == "1.2.3"
    with pytest.raises(build.BuildFailed, match="pins no version of other"):
        build.pinned_version("other", pins)
    for recipe in build.RECIPES:
        assert re.fullmatch(r"[\d.]+", build.pinned_version(recipe.dist, build.CONSTRAINTS))


def test_wheels_lie_where_they_are_asked_to(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BATCHYARD_WHEELS", str(tmp_path / "a b"))
    assert build.wheels_folder() == tmp_path / "a b" / "wheels"
    monkeypatch.delenv("BATCHYARD_WHEELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert build.wheels_folder() == tmp_path / "cache" / "batchyard" / "wheels"


def test_a_marked_wheel_lists_its_marker_with_the_right_digest(build: ModuleType, tmp_path: Path) -> None:
    """pip uninstall removes what RECORD lists: a marker that stayed would vouch for the next build."""
    record = "yard.dist-info/RECORD"
    with zipfile.ZipFile(tmp_path / "plain.whl", "w") as wheel:
        wheel.writestr("llama_cpp/__init__.py", "x = 1\n")
        wheel.writestr("llama_cpp/lib/libllama.so", bytes(1000))
        wheel.writestr(record, f"llama_cpp/__init__.py,,\n{record},,\n")
    build.mark_wheel(tmp_path / "plain.whl", tmp_path / "marked.whl", module="llama_cpp", marker=MARKER)
    with zipfile.ZipFile(tmp_path / "marked.whl") as wheel:
        rows = {row[0]: row[1:] for row in csv.reader(wheel.read(record).decode().splitlines())}
        data = wheel.read(f"llama_cpp/{builds.MARKER}")
        assert wheel.read("llama_cpp/lib/libllama.so") == bytes(1000)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    assert rows[f"llama_cpp/{builds.MARKER}"] == [f"sha256={digest}", str(len(data))]
    assert "llama_cpp/__init__.py" in rows
    assert msgspec.json.decode(data, type=builds.Marker) == MARKER


def test_a_folder_that_cannot_be_written_is_named(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(build.BuildFailed, match="BATCHYARD_WHEELS"), build.locked(tmp_path / "file" / "kind"):
        pass


def test_without_a_compiler_it_says_what_to_install(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(build.BuildFailed, match=r"apt-get install g\+\+"):
        build.compiler_version()


def test_a_long_command_shows_its_progress_and_keeps_its_log(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "print('[1/2] Building a'); print('[2/2] Linking')"
    build.run_logged([sys.executable, "-c", script], dict(os.environ), tmp_path / "log")
    assert "2 of 2 steps" in capsys.readouterr().err
    assert "Building a" in (tmp_path / "log").read_text()


def test_a_compile_that_fails_shows_its_end_and_leaves_no_wheel(
    build: ModuleType, plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [sys.executable, "-c", "print('fatal: out of space'); raise SystemExit(2)"]
    monkeypatch.setattr(build, "pip_wheel", lambda marker, out: failing)
    with build.locked(plan.folder), pytest.raises(build.BuildFailed, match=r"status 2.*build\.log"):
        build.build(plan, jobs=1)
    assert "fatal: out of space" in capsys.readouterr().err
    assert sorted(path.name for path in plan.folder.iterdir()) == [".lock", "build.log"]


class Steps:
    """What `provide` did, with the installed build in the states that a test lists."""

    def __init__(self, build: ModuleType, plan: Any, patch: pytest.MonkeyPatch, states: list[str]) -> None:
        self.done: list[str] = []
        self._states = iter(states)
        self._state = ""
        patch.setattr(build, "make_plan", lambda recipe: plan)
        patch.setattr(build, "is_installed", lambda plan: self._next() != "none")
        patch.setattr(build, "build", lambda plan, jobs: self.done.append("build"))
        patch.setattr(build, "install", lambda plan: (self.done.append("install"), self._next()))
        patch.setattr(build.builds, "check", lambda module: self._report())

    def _next(self) -> str:
        self._state = next(self._states)
        return self._state

    def _report(self) -> builds.BuildReport:
        good = self._state == "good"
        return builds.BuildReport(
            module="llama_cpp", state="ours" if good else "broken", version="1", message="died of SIGILL"
        )


def put_wheels(plan: Any, *versions: str) -> None:
    plan.folder.mkdir(parents=True)
    for version in versions:
        (plan.folder / f"llama_cpp_python-{version}-py3-none-linux_x86_64.whl").touch()


@pytest.mark.parametrize(
    ("wheels", "states", "steps"),
    [
        (["0.3.35"], ["none", "good"], ["build", "install"]),
        (["0.3.35", "0.3.36"], ["none", "good"], ["install"]),
        (["0.3.36"], ["good"], []),
        (["0.3.36"], ["damaged", "good"], ["install"]),
    ],
)
def test_no_more_is_done_than_needed(
    build: ModuleType,
    plan: Any,
    monkeypatch: pytest.MonkeyPatch,
    wheels: list[str],
    states: list[str],
    steps: list[str],
) -> None:
    put_wheels(plan, *wheels)
    seen = Steps(build, plan, monkeypatch, states)
    build.provide(plan.recipe, jobs=1, rebuild=False)
    assert seen.done == steps


def test_a_rebuild_ignores_the_wheel_that_is_there(
    build: ModuleType, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheels(plan, "0.3.36")
    seen = Steps(build, plan, monkeypatch, ["good", "good"])
    build.provide(plan.recipe, jobs=1, rebuild=True)
    assert seen.done == ["build", "install"]


def test_a_build_that_fails_its_self_test_is_an_error(
    build: ModuleType, plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_wheels(plan, "0.3.36")
    Steps(build, plan, monkeypatch, ["none", "damaged"])
    monkeypatch.setattr(sys, "argv", ["build.py"])
    assert build.main() == 1
    assert re.search(r"error: died of SIGILL.*--rebuild", capsys.readouterr().err)


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.skipif(builds.platform.machine() != "x86_64", reason="AMX is x86's")
def test_the_forced_header_keeps_the_whole_tile_configuration(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GCC 12 drops all stores but those to the first eight bytes without it; AMX itself is not needed."""
    include = tmp_path / "path with a space"
    shutil.copytree(build.INCLUDE, include)
    monkeypatch.setattr(build, "INCLUDE", include)
    environment = build.environment(build.RECIPES[0], 1)
    (tmp_path / "tiles.cpp").write_text(TILES)
    command = [
        "c++",
        *environment["CXXFLAGS"].split(),
        "-O3",
        "-march=sapphirerapids",
        "-S",
        "-o",
        "-",
        "tiles.cpp",
    ]
    compiled = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert compiled.returncode == 0, compiled.stderr
    before = compiled.stdout[: compiled.stdout.index("ldtilecfg")]
    assert re.search(rf"\$({0x1234}|0x1234)\b", before)
    assert re.search(rf"\$({0x56}|0x56)\b", before)
