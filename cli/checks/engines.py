"""Native libraries and the models that they are to load. All native code runs in children of this process:
one that dies becomes a sentence."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from backends import builds
from backends.engine import Engine
from backends.errors import BackendError, LoadFailed
from backends.registry import FAMILIES, Runtime
from backends.weights import cache
from cli.checks.finding import Finding, note, ok, problem
from configs.models import ModelSpec
from configs.settings import Settings
from configs.spec_files import load_catalogue

IMPORT_SECONDS = 60.0
LOAD_SECONDS = 120.0


def check_runtimes() -> Iterator[Finding]:
    """Every runtime: installed, built for this CPU, loadable."""
    for family_name, family in FAMILIES.items():
        for name, runtime in family.runtimes.items():
            if runtime.package is not None:
                yield describe_runtime(f"{family_name}/{name}", runtime, runtime.package)


def check_models(settings: Settings) -> Iterator[Finding]:
    """Every spec: readable, its files here, loaded once in an engine of each runtime that has them, self-test
    included."""
    catalogue = load_catalogue(settings)
    for fault in catalogue.broken:
        yield problem("models", str(fault), "correct the file, or remove it")
    for spec in catalogue.specs.values():
        yield from _model(spec, settings)


def describe_runtime(area: str, runtime: Runtime, package: str) -> Finding:
    if package in builds.BINDINGS:
        report = builds.check(package)
        if report.state == "ours":
            return ok(area, f"{report.message}; passes its self-test")
        missing_or_bare = report.state in ("missing", "bare")
        return (note if missing_or_bare else problem)(area, report.message, report.advice)
    if not runtime.installed:
        return note(area, f"{package} is not installed", f"install it with: {runtime.extra}")
    failure = _import_failure(runtime.native or package)
    if failure is not None:
        return problem(area, f"{package} cannot be loaded: {failure}", f"install it again: {runtime.extra}")
    return ok(area, f"{package} is installed and loads")


def _import_failure(package: str) -> str | None:
    """What happens when a child imports the package; None when all is well."""
    command = [sys.executable, "-P", "-c", f"import {package}"]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=IMPORT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {IMPORT_SECONDS:.0f} s"
    if ended.returncode < 0:
        return f"it dies of {signal.Signals(-ended.returncode).name}"
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return None if ended.returncode == 0 else (lines or [f"exit status {ended.returncode}"])[-1]


def _model(spec: ModelSpec, settings: Settings) -> Iterator[Finding]:
    area = f"model {spec.name}"
    folder = cache.model_folder(settings, spec)
    try:
        runtimes = cache.runnable_runtimes(spec) or [cache.best_runtime(spec)]
    except LoadFailed as error:
        advice = "" if error.code == "binding_missing" else "correct its spec"
        yield (note if error.code == "binding_missing" else problem)(area, error.message, advice)
        return
    here = [name for name in runtimes if not cache.missing_files(spec, folder, name)]
    if not here:
        yield note(area, "its files are not here yet", f"fetch them with: batchyard models pull {spec.name}")
    for runtime in here:
        yield _loaded(spec, runtime, folder)


def _loaded(spec: ModelSpec, runtime: str, folder: Path) -> Finding:
    area = f"model {spec.name}"
    try:
        seconds, info = _load(spec, runtime, folder)
    except BackendError as error:
        return problem(
            area,
            f"{runtime} cannot load it: {error.message} ({error.code})",
            f"check its files with: batchyard models verify {spec.name}",
        )
    facts = ", ".join(
        f"{key} {info[key]}" for key in ("precision", "dimensions", "max_tokens") if key in info
    )
    # What computes in Python alone has no native build to test.
    native = FAMILIES[spec.family].runtimes[runtime].package is not None
    tested = " and passes its self-test" if native else ""
    return ok(area, f"{runtime} loads it in {seconds:.1f} s{tested}" + f" ({facts})" * bool(facts))


def _load(spec: ModelSpec, runtime: str, folder: Path) -> tuple[float, dict[str, object]]:
    """Start an engine, wait until it is ready, stop it. Raises `BackendError`."""
    started = time.monotonic()
    cores = sorted(os.sched_getaffinity(0))[: spec.cores]
    engine = Engine(spec, runtime, folder, cores, nice=0)
    try:
        poll = select.poll()
        poll.register(engine.fileno(), select.POLLIN)
        poll.register(engine.pidfd, select.POLLIN)
        while engine.state == "starting":
            left = started + LOAD_SECONDS - time.monotonic()
            if left <= 0:
                message = f"it was not loaded within {LOAD_SECONDS:.0f} s"
                raise LoadFailed(message, code="model_load_failed")
            poll.poll(left * 1000)
            engine.receive()
        return time.monotonic() - started, dict(engine.info)
    finally:
        engine.kill()
