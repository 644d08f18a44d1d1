"""Build the native bindings for this machine's CPU, once, and install them into this environment.

    .venv/bin/python deploy/bindings/build.py [--jobs N] [--rebuild]

Each wheel is built from its source distribution with our flags and the AMX header in `include/`, then
kept in `$BATCHYARD_WHEELS` (default: the user's cache folder) under a name that stands for the CPU's
instruction sets, the C library, the compiler, the pinned version and our flags: a native wheel of
another CPU dies of SIGILL, so it must never be found. Installing an up-to-date binding is a no-op.

Exit status: 0 built, installed and tested; 1 it could not be, with the reason on stderr.
"""

import argparse
import base64
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from backends import builds

HERE = Path(__file__).resolve().parent
INCLUDE = HERE / "include"
AMX_HEADER = INCLUDE / "batchyard_amx.h"
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
PROGRESS = re.compile(r"^\s*\[(\d+)/(\d+)\]")  # how ninja counts its steps
SECONDS_BETWEEN_LINES = 15.0
LOG = "build.log"


class BuildFailed(Exception):
    """Why a binding could not be built or installed, in a sentence for the terminal."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one binding is built."""

    module: str
    cmake: tuple[str, ...]

    @property
    def dist(self) -> str:
        return builds.BINDINGS[self.module].dist


RECIPES = (
    # GGML_NATIVE: every instruction set of this CPU. Without mtmd, which reads images: nothing here uses it.
    Recipe(module="llama_cpp", cmake=("-DGGML_NATIVE=ON", "-DLLAVA_BUILD=OFF", "-DGGML_CCACHE=OFF")),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be built, and the folder whose name says for which machine."""

    recipe: Recipe
    marker: builds.Marker
    folder: Path

    @property
    def wheel(self) -> Path | None:
        stem = self.marker.dist.replace("-", "_")
        return next(iter(sorted(self.folder.glob(f"{stem}-{self.marker.version}-*.whl"))), None)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build and install the native bindings for this CPU.")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="parallel compilers")
    parser.add_argument("--rebuild", action="store_true", help="ignore the cached wheel")
    options = parser.parse_args()
    try:
        for recipe in RECIPES:
            provide(recipe, jobs=max(1, options.jobs), rebuild=options.rebuild)
    except BuildFailed as error:
        say(f"error: {error}")
        return 1
    return 0


def provide(recipe: Recipe, *, jobs: int, rebuild: bool) -> None:
    """Have the binding installed and tested, building it only when no wheel fits. A build that is
    installed and fails its self-test (a damaged file) is installed anew."""
    plan = make_plan(recipe)
    name = f"{plan.marker.dist} {plan.marker.version}"
    with locked(plan.folder):
        if rebuild or not (is_installed(plan) and builds.check(recipe.module).ok):
            if rebuild or plan.wheel is None:
                build(plan, jobs=jobs)
            else:
                say(f"{name}: installing the wheel that was built for this CPU ({plan.folder.name})")
            install(plan)
            report = builds.check(recipe.module)
            if not report.ok:
                raise BuildFailed(
                    f"{report.message}; its build's log is {plan.folder / LOG}, --rebuild tries anew"
                )
    say(f"{name}: installed, built for this CPU, self-test passed")


# --- which machine, which wheel ------------------------------------------------------------------------


def make_plan(recipe: Recipe) -> Plan:
    marker = builds.Marker(
        dist=recipe.dist,
        version=pinned_version(recipe.dist, CONSTRAINTS),
        machine=platform.machine(),
        instruction_sets=sorted(builds.instruction_sets()),
        compiler=compiler_version(),
        flags=[*recipe.cmake, f"amx-header={hashlib.sha256(AMX_HEADER.read_bytes()).hexdigest()[:12]}"],
    )
    return Plan(recipe=recipe, marker=marker, folder=wheels_folder() / cpu_kind(marker))


def cpu_kind(marker: builds.Marker) -> str:
    """A folder name for machines that may share a wheel: readable first, exact in its hash."""
    level = next(
        (name for name in ("amx_int8", "avx512f", "avx2", "asimd") if name in marker.instruction_sets),
        "base",
    )
    # The C library counts too: a wheel linked against a newer one does not load under an older one.
    exact = msgspec.json.encode([marker, platform.libc_ver()])
    return f"{marker.machine}-{level}-{hashlib.sha256(exact).hexdigest()[:12]}"


def wheels_folder() -> Path:
    named = os.environ.get("BATCHYARD_WHEELS")
    if named:
        return Path(named).expanduser().absolute() / "wheels"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "batchyard" / "wheels"


def pinned_version(dist: str, constraints: Path) -> str:
    """The version in constraints.txt: the one place where it is written."""
    for line in constraints.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("#")[0].partition("==")
        if name.strip() == dist and version:
            return version.strip()
    raise BuildFailed(f"{constraints.name} pins no version of {dist} (expected the line {dist}==…)")


def compiler_version() -> str:
    """The first line of the C++ compiler's --version. CMake honours CXX in the same way."""
    compiler = (
        os.environ.get("CXX", "").split() or [found for found in ("c++", "g++") if shutil.which(found)][:1]
    )
    if not compiler or shutil.which(compiler[0]) is None:
        raise BuildFailed("no C++ compiler is installed; on Debian or Ubuntu: apt-get install g++")
    told = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise BuildFailed(f"{' '.join(compiler)} --version failed: {told.stderr.strip()}")
    return told.stdout.splitlines()[0]


def is_installed(plan: Plan) -> bool:
    report = builds.inspect(plan.recipe.module)
    return report.ok and builds.read_marker(plan.recipe.module) == plan.marker


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One build per kind of CPU at a time; a second caller waits and then finds the wheel."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise BuildFailed(
            f"cannot write to {folder} ({error.strerror}); name another folder in BATCHYARD_WHEELS"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of the same wheel")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- building ------------------------------------------------------------------------------------------


def build(plan: Plan, *, jobs: int) -> None:
    """Compile the wheel and put it, marked, into the plan's folder. A broken build leaves only its log."""
    marker = plan.marker
    say(f"{marker.dist} {marker.version}: compiling for {plan.folder.name} with {marker.compiler}")
    say(f"  {jobs} compilers at a time, several minutes, once per kind of CPU; kept in {plan.folder}")
    log = plan.folder / LOG
    with tempfile.TemporaryDirectory(dir=plan.folder, prefix=".build-") as work:
        run_logged(pip_wheel(marker, Path(work)), environment(plan.recipe, jobs), log)
        built = next(Path(work).glob("*.whl"), None)
        if built is None:
            raise BuildFailed(f"pip made no wheel; see {log}")
        marked = Path(work) / "marked" / built.name
        marked.parent.mkdir()
        mark_wheel(built, marked, module=plan.recipe.module, marker=marker)
        os.replace(marked, plan.folder / built.name)


def pip_wheel(marker: builds.Marker, out: Path) -> list[str]:
    """`--no-cache-dir`: pip keeps wheels that it compiled, and would answer with one made by other flags
    or on another CPU, or later hand ours to a bare install."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "wheel", "-v"]
    requirement = f"{marker.dist}=={marker.version}"
    return [*pip, "--no-deps", "--no-binary", marker.dist, "--wheel-dir", str(out), requirement]


def environment(recipe: Recipe, jobs: int) -> dict[str, str]:
    """The build's variables. The header goes in by name and search path: a path inside CXXFLAGS would
    break at a space."""
    path = os.pathsep.join(filter(None, (str(INCLUDE), os.environ.get("CPLUS_INCLUDE_PATH"))))
    flags = f"-include {AMX_HEADER.name} {os.environ.get('CXXFLAGS', '')}".strip()
    return os.environ | {
        "CMAKE_ARGS": " ".join(recipe.cmake),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs),
        "CMAKE_GENERATOR": "Ninja",
        "CPLUS_INCLUDE_PATH": path,
        "CXXFLAGS": flags,
    }


def run_logged(command: list[str], env: dict[str, str], log: Path) -> None:
    """Run a long command: its output goes to the log, its progress to the terminal."""
    started, shown, tail = time.monotonic(), 0.0, list[str]()
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            tail = [*tail[-19:], line.rstrip()]
            step, elapsed = PROGRESS.match(line), time.monotonic() - started
            if step and (elapsed - shown >= SECONDS_BETWEEN_LINES or step[1] == step[2]):
                say(f"  {step[1]} of {step[2]} steps, {elapsed:.0f} s")
                shown = elapsed
    if process.returncode != 0:
        say("\n".join(f"  | {line}" for line in tail))
        raise BuildFailed(f"the compile failed (status {process.returncode}); the whole log is {log}")


def mark_wheel(wheel: Path, out: Path, *, module: str, marker: builds.Marker) -> None:
    """Copy a wheel with our marker added. It must stand in RECORD, so that pip uninstall removes it:
    a marker that outlived its library would vouch for whatever is installed next."""
    name, data = f"{module}/{builds.MARKER}", msgspec.json.encode(marker)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                content = f"{name},sha256={digest},{len(data)}\n".encode() + content
            target.writestr(entry, content)
        target.writestr(name, data)


# --- installing ----------------------------------------------------------------------------------------


def install(plan: Plan) -> None:
    """Put the wheel into this environment, over whatever build of the same version is there."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    needs = ["--only-binary", ":all:", "-c", str(CONSTRAINTS), f"{plan.marker.dist}=={plan.marker.version}"]
    steps = (
        [*pip, "--force-reinstall", "--no-deps", str(plan.wheel)],
        [*pip, *needs],  # the binding itself is here now: this fetches what it needs
    )
    for command in steps:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildFailed(f"pip could not install {plan.wheel}: {done.stderr.strip()}")


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
