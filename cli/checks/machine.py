"""Cores, instruction sets, memory and disk: what the engines have to work with."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from backends.builds import instruction_sets
from cli.checks.finding import Finding, note, ok, problem
from configs.settings import Settings

LEAST_MEMORY_MB = 1500  # Postgres, Redis, API, dispatcher and one engine with a small model
LEAST_DISK_MB = 1000
CGROUP = Path("/sys/fs/cgroup")

# What an x86 CPU must name for a rate, best first (Linux, arch/x86/include/asm/cpufeatures.h).
X86_LEVELS = (
    ("AMX", {"amx_bf16", "amx_tile"}, "bf16 in matrix units"),
    ("AVX-512 with bf16", {"avx512f", "avx512_bf16"}, "bf16, about 1.8 times the rate of float32"),
    ("AVX-512", {"avx512f"}, "float32"),
    ("AVX2", {"avx2", "fma"}, "float32"),
)


def check_machine(settings: Settings) -> Iterator[Finding]:
    yield describe_system()
    yield describe_cores(CGROUP)
    yield describe_cpu(instruction_sets(), platform.machine())
    yield describe_memory(available_memory_mb(CGROUP))
    yield from describe_disks(settings)


def describe_system() -> Finding:
    name = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        return problem("system", f"{name}: only Linux is supported", "run it on Linux, or in a container")
    return ok("system", name)


def describe_cores(cgroup: Path) -> Finding:
    usable, total = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    message = f"{usable} of {total} cores are usable"
    quota = cpu_quota(cgroup)
    if quota is not None and quota < usable:
        return note(
            "cores",
            f"{message}, but the container may use {quota:g} at a time",
            f"start with --slots {max(1, int(quota))}, so that engines do not wait for each other",
        )
    return ok("cores", f"{message}; --slots auto makes {usable} slots")


def cpu_quota(cgroup: Path) -> float | None:
    """Cores' worth of time that a container may use, from cgroup v2's cpu.max; None: no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def describe_cpu(sets: frozenset[str], machine: str) -> Finding:
    if machine not in ("x86_64", "AMD64"):
        return ok("cpu", f"{machine}: the runtimes choose their kernels by themselves")
    for name, needed, gain in X86_LEVELS:
        if needed <= sets:
            return ok("cpu", f"{name}: embeddings run in {gain}")
    return problem(
        "cpu",
        "no AVX2: the runtimes of the bert family do not run on this CPU",
        "use a machine of 2015 or later; in a virtual machine, pass the host's CPU through",
    )


def available_memory_mb(cgroup: Path) -> int:
    available = psutil.virtual_memory().available
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or "max"
        return int(available / 1e6)
    return int(min(available, max(0, limit - used)) / 1e6)


def describe_memory(available_mb: int) -> Finding:
    message = f"{available_mb:,} MB are available"
    if available_mb < LEAST_MEMORY_MB:
        return problem(
            "memory", message, f"free some: the service with one small model needs {LEAST_MEMORY_MB:,} MB"
        )
    return ok("memory", message)


def describe_disks(settings: Settings) -> Iterator[Finding]:
    folders = (("home", settings.home, "--home"), ("models", settings.models, "BATCHYARD_MODELS"))
    for name, folder, option in folders:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free_mb = shutil.disk_usage(existing).free / 1e6
        message = f"{name} at {folder}: {free_mb:,.0f} MB free"
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            yield problem(
                "disk", f"{message}, but {existing} cannot be written to", f"name another: {option}"
            )
        elif free_mb < LEAST_DISK_MB:
            yield problem("disk", message, f"free some, or name a folder on another disk: {option}")
        else:
            yield ok("disk", message)
