import subprocess
import sys

import pytest

from backends.base import Backend
from backends.echo import EchoBackend
from backends.errors import LoadFailed
from backends.registry import FAMILIES, Family, Runtime, backend_class, family_of, runtimes_of

NATIVE = ("openvino", "llama_cpp", "tokenizers", "numpy")


def test_a_backend_is_found_by_family_and_runtime() -> None:
    assert backend_class("echo", "echo") is EchoBackend


@pytest.mark.parametrize("family", FAMILIES)
def test_every_installed_runtime_names_a_backend_that_exists(family: str) -> None:
    for name, runtime in family_of(family).runtimes.items():
        if runtime.installed:
            assert issubclass(backend_class(family, name), Backend)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_runtime_that_needs_a_package_says_how_to_install_it(family: str) -> None:
    for runtime in family_of(family).runtimes.values():
        assert runtime.package is None or runtime.extra


def test_auto_is_the_ranked_list_and_a_name_is_that_one() -> None:
    assert runtimes_of("bert") == ["openvino", "llamacpp"]
    assert runtimes_of("bert", "llamacpp") == ["llamacpp"]


def test_unknown_names_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(LoadFailed, match=r"unknown family 'x'.*bert"):
        family_of("x")
    with pytest.raises(LoadFailed, match=r"no runtime 'x'.*openvino"):
        runtimes_of("bert", "x")
    with pytest.raises(LoadFailed, match="no runtime 'x'"):
        backend_class("bert", "x")


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(backend="x:Y", package="no_such_library", extra="make bindings")
    monkeypatch.setitem(FAMILIES, "x", Family(endpoints=(), runtimes={"slow": runtime}))
    with pytest.raises(LoadFailed, match="make bindings") as caught:
        backend_class("x", "slow")
    assert caught.value.code == "binding_missing"


def test_the_table_and_the_handle_load_no_native_library() -> None:
    code = f"import sys, backends.engine, backends.registry; print([n for n in {NATIVE} if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
