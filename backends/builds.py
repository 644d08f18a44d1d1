"""Native bindings that are built from source: are they here, are they ours, do they run on this CPU?

`deploy/bindings/build.py` puts a marker into each wheel it builds; a bare `pip install` has none. Nothing
in this module loads a native library into the calling process: the self-test runs in a child, so that
a build which dies of SIGILL or SIGSEGV becomes a sentence.
"""

import platform
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Literal

import msgspec

from backends.errors import LoadFailed

MARKER = "batchyard_build.json"
ADVICE = "run: make bindings"

# Names in /proc/cpuinfo of what a compiler may emit with -march=native (Linux, arch/x86 cpufeatures.h).
# The rest of that line is about kernels, power and virtual machines and differs between equal CPUs.
_X86_SETS = re.compile(
    r"(mmx|sse|ssse|avx|amx|fma|f16c|bmi|abm|popcnt|movbe|aes|vaes|pclmul|vpclmul|gfni|sha_|sha512|sm[34]|rdrand"
    r"|rdseed|rdpid|adx|xsave|clflushopt|clwb|clzero|cldemote|movdir|fsgsbase|prefetch|3dnow|tbm|xop|lwp"
    r"|cx16|lahf_lm|pku|waitpkg|serialize|wbnoinvd|rtm|hle|mwaitx)"
)


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A library that we build: its distribution on PyPI, and the module that tests it (run with -m)."""

    dist: str
    self_test: str


BINDINGS: dict[str, Binding] = {
    "llama_cpp": Binding(dist="llama-cpp-python", self_test="backends.bert.llamacpp_selftest")
}


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """What a wheel of ours says about itself."""

    dist: str
    version: str
    machine: str
    instruction_sets: list[str]
    compiler: str
    flags: list[str]


State = Literal["ours", "bare", "wrong-cpu", "missing", "broken"]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """How a binding is installed. `message` is a sentence; `advice` says what to do (empty: nothing)."""

    module: str
    state: State
    version: str | None
    message: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return self.state == "ours"


@lru_cache(maxsize=1)
def instruction_sets() -> frozenset[str]:
    """The instruction sets of this machine's CPU, as Linux names them. Empty where /proc does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    return parse_instruction_sets(text, platform.machine())


def parse_instruction_sets(cpuinfo: str, machine: str) -> frozenset[str]:
    """From the text of /proc/cpuinfo; only x86 needs the filter."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    names = line.group(1).split() if line else []
    if machine in ("x86_64", "i686", "AMD64"):
        names = [name for name in names if _X86_SETS.match(name)]
    return frozenset(names)


def inspect(module: str) -> BuildReport:
    """How the binding is installed, read from files alone: no native code runs."""
    if _package_folder(module) is None:
        return BuildReport(
            module=module, state="missing", version=None, message=f"{module} is not installed", advice=ADVICE
        )
    version = _version(BINDINGS[module].dist)
    marker = read_marker(module)
    if marker is None:
        message = f"{module} {version} comes from a bare pip install: no AMX fix, flags unknown"
        return BuildReport(module=module, state="bare", version=version, message=message, advice=ADVICE)
    lacking = set(marker.instruction_sets) - instruction_sets()
    if marker.machine != platform.machine() or lacking:
        names = " ".join(sorted(lacking)) or marker.machine
        message = f"{module} {version} was built for another CPU; this one lacks {names}"
        return BuildReport(module=module, state="wrong-cpu", version=version, message=message, advice=ADVICE)
    message = f"{module} {version}, built for this CPU with {marker.compiler}"
    return BuildReport(module=module, state="ours", version=version, message=message)


def read_marker(module: str) -> Marker | None:
    """The marker of an installed build of ours; None for any other, or when it cannot be read."""
    folder = _package_folder(module)
    if folder is None:
        return None
    try:
        return msgspec.json.decode((folder / MARKER).read_bytes(), type=Marker)
    except (OSError, msgspec.MsgspecError):
        return None


def check(module: str, *, timeout: float = 60.0) -> BuildReport:
    """`inspect` plus the native self-test in a child process. What `batchyard doctor` shows.

    A bare build that passes stays "bare"; one that fails, or an own build that fails, is "broken". A
    build for another CPU is not run: it would only die.
    """
    report = inspect(module)
    if report.state in ("missing", "wrong-cpu"):
        return report
    failure = run_self_test(BINDINGS[module].self_test, timeout=timeout)
    if failure is None:
        return report
    return BuildReport(
        module=module,
        state="broken",
        version=report.version,
        message=f"{module} {report.version} fails its self-test: {failure}",
        advice=ADVICE,
    )


def require(module: str) -> None:
    """Raise `LoadFailed` when loading the binding here would be a mistake; call it before importing it.

    Our own builds were tested when they were installed, so only their marker is read. A bare one is tried
    in a child first.
    """
    report = inspect(module)
    if report.state == "bare":
        report = check(module)
    if report.state == "missing":
        raise LoadFailed(f"{report.message}; {report.advice}", code="binding_missing")
    if report.state in ("wrong-cpu", "broken"):
        raise LoadFailed(f"{report.message}; {report.advice}", code="bad_native_build")


def run_self_test(self_test: str, *, timeout: float) -> str | None:
    """Run a self-test module in a child. None when it passed, else what happened, in a sentence."""
    command = [sys.executable, "-P", "-m", self_test]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:.0f} s"
    if ended.returncode == 0:
        return None
    if ended.returncode < 0:
        return f"died of {signal.Signals(-ended.returncode).name}"
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {ended.returncode}"


def _package_folder(module: str) -> Path | None:
    """Where the package lies, without importing it. A leftover folder without __init__.py is no package."""
    spec = util.find_spec(module)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _version(dist: str) -> str | None:
    try:
        return metadata.version(dist)
    except metadata.PackageNotFoundError:
        return None
