"""Finding out how a native binding was installed, and whether it runs, without loading it."""

import sys
from pathlib import Path

import msgspec
import pytest

from backends import builds
from backends.errors import LoadFailed

MODULE = "yard_binding"
CPUINFO = """\
processor\t: 0
flags\t\t: fpu tsc hypervisor sse4_2 avx2 avx512f amx_int8 constant_tsc fma md_clear ibpb

processor\t: 1
flags\t\t: fpu
"""


class Site:
    """A folder of installed packages with one binding in it, which is real enough to be imported."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / MODULE
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").write_text("raise RuntimeError('this must never be imported')")
        info = folder / "yard_binding-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: yard-binding\nVersion: 1.2\n")
        self.folder = folder

    def mark(self, sets: list[str], machine: str | None = None) -> None:
        marker = builds.Marker(
            dist="yard-binding",
            version="1.2",
            machine=machine or builds.platform.machine(),
            instruction_sets=sets,
            compiler="g++ 12",
            flags=[],
        )
        (self.package / builds.MARKER).write_bytes(msgspec.json.encode(marker))

    def self_test(self, source: str) -> None:
        (self.folder / "yard_selftest.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "site packages")
    monkeypatch.syspath_prepend(str(site.folder))
    monkeypatch.setenv("PYTHONPATH", str(site.folder))  # for the child
    monkeypatch.setitem(
        builds.BINDINGS, MODULE, builds.Binding(dist="yard-binding", self_test="yard_selftest")
    )
    monkeypatch.setattr(builds, "instruction_sets", lambda: frozenset({"avx2", "fma"}))
    return site


def test_instruction_sets_are_told_from_the_rest_of_the_flags() -> None:
    assert builds.parse_instruction_sets(CPUINFO, "x86_64") == {
        "sse4_2",
        "avx2",
        "avx512f",
        "amx_int8",
        "fma",
    }
    assert builds.parse_instruction_sets("Features\t: fp asimd sve\n", "aarch64") == {"fp", "asimd", "sve"}
    assert builds.parse_instruction_sets("nothing of the kind", "x86_64") == frozenset()


def test_this_machine_has_instruction_sets() -> None:
    assert builds.instruction_sets() & {"sse2", "asimd"}


def test_a_binding_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(builds.BINDINGS, "no_such_binding", builds.Binding(dist="none", self_test="none"))
    report = builds.check("no_such_binding")
    assert (report.state, report.version, report.advice) == ("missing", None, "run: make bindings")
    with pytest.raises(LoadFailed, match="not installed") as refused:
        builds.require("no_such_binding")
    assert refused.value.code == "binding_missing"


def test_a_folder_that_an_uninstall_left_behind_is_no_binding(site: Site) -> None:
    site.mark(["avx2"])
    (site.package / "__init__.py").unlink()
    assert builds.inspect(MODULE).state == "missing"
    assert builds.read_marker(MODULE) is None


def test_a_marked_build_for_this_cpu_is_ours(site: Site) -> None:
    site.mark(["avx2"])
    report = builds.inspect(MODULE)
    assert report.ok
    assert report.version == "1.2"
    assert report.advice == ""
    builds.require(MODULE)  # without any self-test: there is none


@pytest.mark.parametrize("damage", [None, b"", b"{}", b"\xff\xfe", b'{"dist": 3}'])
def test_a_build_without_a_good_marker_is_bare(site: Site, damage: bytes | None) -> None:
    if damage is not None:
        (site.package / builds.MARKER).write_bytes(damage)
    report = builds.inspect(MODULE)
    assert report.state == "bare"
    assert "bare pip install" in report.message
    assert report.advice == "run: make bindings"


def test_a_build_for_another_cpu_is_refused_and_never_run(site: Site) -> None:
    site.mark(["avx2", "amx_int8", "avx512f"])
    site.self_test("open('ran', 'w')")
    report = builds.check(MODULE)
    assert report.state == "wrong-cpu"
    assert "lacks amx_int8 avx512f" in report.message
    assert not Path("ran").exists()
    with pytest.raises(LoadFailed, match="another CPU") as refused:
        builds.require(MODULE)
    assert refused.value.code == "bad_native_build"


def test_a_build_for_another_machine_is_refused(site: Site) -> None:
    site.mark([], machine="riscv64")
    assert builds.inspect(MODULE).state == "wrong-cpu"


def test_a_self_test_that_passes_leaves_the_state_as_it_is(site: Site) -> None:
    site.self_test("")
    assert builds.check(MODULE).state == "bare"
    builds.require(MODULE)  # bare, but it works
    site.mark(["fma"])
    assert builds.check(MODULE).state == "ours"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "died of SIGILL"),
        ("import os; os.abort()", "died of SIGABRT"),
        ("import sys; sys.stderr.write('noise\\nq8_0: cosine 0.2\\n'); sys.exit(1)", "q8_0: cosine 0.2"),
        ("import yard_binding", "RuntimeError: this must never be imported"),
        ("raise SystemExit(3)", "exit status 3"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_failing_self_test_becomes_a_sentence(site: Site, source: str, expected: str) -> None:
    site.self_test(source)
    timeout = 1.0 if "sleep" in source else 30.0
    for mark in (False, True):
        if mark:
            site.mark(["fma"])
        report = builds.check(MODULE, timeout=timeout)
        assert report.state == "broken"
        assert expected in report.message
        assert report.advice == "run: make bindings"


def test_a_bare_build_that_dies_is_refused_before_it_is_loaded(site: Site) -> None:
    site.self_test("import os; os.abort()")
    with pytest.raises(LoadFailed, match="SIGABRT") as refused:
        builds.require(MODULE)
    assert refused.value.code == "bad_native_build"
    assert MODULE not in sys.modules


@pytest.mark.bindings
def test_the_builds_in_this_environment_pass_their_self_tests() -> None:
    for module in builds.BINDINGS:
        report = builds.check(module)
        assert report.ok, report
        assert "built for this CPU" in report.message
