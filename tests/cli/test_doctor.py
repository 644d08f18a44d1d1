"""`batchyard doctor`: what it finds, and that what is wrong here has advice and an exit code."""

import json
import sys
from pathlib import Path

import pytest

from backends.builds import BuildReport
from backends.errors import LoadFailed
from backends.registry import FAMILIES, Runtime
from cli.checks import engines, machine, services
from cli.checks.finding import State
from cli.checks.machine import cpu_quota
from configs.settings import Settings
from tests.cli.conftest import Run
from tests.fixtures.stack import Stack


@pytest.fixture(autouse=True)
def home(open_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATCHYARD_HOME", str(open_home))
    monkeypatch.setenv("BATCHYARD_MODELS", str(open_home / "models"))
    monkeypatch.setenv("BATCHYARD_URL", "http://127.0.0.1:9")
    return open_home


def test_a_healthy_machine_has_no_problem(run: Run) -> None:
    done = run("doctor", "--quick", "--json")
    said = json.loads(done.out)
    assert (done.code, said["ok"]) == (0, True)
    areas = {finding["area"] for finding in said["findings"]}
    assert {"system", "cores", "cpu", "memory", "disk", "services", "service"} <= areas
    assert all(finding["advice"] for finding in said["findings"] if finding["state"] == "problem")


def test_a_broken_spec_is_a_problem_with_its_line(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.checks.engines.check_runtimes", lambda: iter(()))
    (home / "specs").mkdir()
    (home / "specs" / "bad.yaml").write_text("name: bad\nfamily: echo\nlimts: {}\n")
    done = run("doctor")
    assert done.code == 1
    assert f"{home}/specs/bad.yaml:3: limts" in done.out
    assert "→ correct the file, or remove it" in done.out
    assert "1 problem" in done.out
    (echo,) = [line for line in done.out.splitlines() if "model echo: echo loads it in" in line]
    assert "self-test" not in echo  # it has none
    assert "batchyard models pull all-minilm-l6-v2" in done.out


def test_whether_a_service_answers_is_said(stack: Stack) -> None:
    assert services.describe_service(stack.url, None).message == f"one answers at {stack.url}"
    assert services.describe_service("http://127.0.0.1:9", None).advice == "start one with: batchyard up"


@pytest.mark.parametrize(
    ("sets", "state", "words"),
    [
        ({"avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "avx2", "fma"}, State.OK, "AMX"),
        ({"avx512f", "avx512_bf16", "avx2", "fma"}, State.OK, "AVX-512 with bf16"),
        ({"avx512f", "avx2", "fma"}, State.OK, "AVX-512: embeddings run in float32"),
        ({"avx2", "fma"}, State.OK, "AVX2: embeddings run in float32"),
        ({"sse4_2"}, State.PROBLEM, "no AVX2"),
    ],
)
def test_instruction_sets_say_what_to_expect(sets: set[str], state: State, words: str) -> None:
    finding = machine.describe_cpu(frozenset(sets), "x86_64")
    assert finding.state is state
    assert words in finding.message


@pytest.mark.parametrize(
    ("text", "cores"),
    [("150000 100000", 1.5), ("max 100000", None), ("", None), ("1 0", None), ("words here", None)],
)
def test_a_containers_share_of_the_cores_is_read(tmp_path: Path, text: str, cores: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path) == cores


def test_a_share_below_the_cores_advises_fewer_slots(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000")
    finding = machine.describe_cores(tmp_path)
    assert (finding.state, "--slots 1" in finding.advice) == (State.NOTE, True)


def test_a_containers_memory_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000000000")
    (tmp_path / "memory.current").write_text("1500000000")
    assert machine.available_memory_mb(tmp_path) == 500
    assert machine.describe_memory(500).state is State.PROBLEM


def test_a_folder_on_a_full_disk_or_behind_a_file_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    found = list(machine.describe_disks(Settings(home=tmp_path, models=tmp_path / "file" / "models")))
    assert [finding.state for finding in found] == [State.OK, State.PROBLEM]
    monkeypatch.setattr(machine, "LEAST_DISK_MB", 10**12)
    found = list(machine.describe_disks(Settings(home=tmp_path, models=tmp_path)))
    assert all("on another disk" in finding.advice for finding in found)


def test_a_library_that_dies_when_it_is_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a child: the signal must not reach us."""
    for name, body in (("dies", "import os; os.abort()"), ("raises", "raise ImportError('no libgomp')")):
        (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    dies = engines.describe_runtime(
        "x/dies", Runtime(backend="", package="dies", extra="pip install x"), "dies"
    )
    assert dies.state is State.PROBLEM
    assert "dies of SIGABRT" in dies.message
    raises = engines.describe_runtime(
        "x/raises", Runtime(backend="", package="raises", extra="pip install x"), "raises"
    )
    assert "no libgomp" in raises.message
    assert "pip install x" in raises.advice
    (tmp_path / "thin.py").write_text("")
    thin = Runtime(backend="", package="thin", extra="pip install z", native="dies")
    assert "dies of SIGABRT" in engines.describe_runtime("x/thin", thin, "thin").message
    absent = engines.describe_runtime(
        "x/absent", Runtime(backend="", package="absent", extra="pip install y"), "absent"
    )
    assert (absent.state, absent.advice) == (State.NOTE, "install it with: pip install y")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("ours", State.OK),
        ("bare", State.NOTE),
        ("missing", State.NOTE),
        ("wrong-cpu", State.PROBLEM),
        ("broken", State.PROBLEM),
    ],
)
def test_builds_are_told_apart(monkeypatch: pytest.MonkeyPatch, state: str, expected: State) -> None:
    report = BuildReport(module="llama_cpp", state=state, version="1", message="m", advice="make bindings")  # type: ignore[arg-type]
    monkeypatch.setattr("backends.builds.check", lambda module: report)
    runtime = Runtime(backend="", package="llama_cpp", extra="make bindings")
    assert engines.describe_runtime("bert/llamacpp", runtime, "llama_cpp").state is expected


def test_a_model_is_loaded_by_every_runtime_that_has_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.cache, "runnable_runtimes", lambda spec: list(FAMILIES[spec.family].runtimes))
    monkeypatch.setattr(engines.cache, "missing_files", lambda spec, folder, runtime: [])
    monkeypatch.setattr(engines, "_load", lambda spec, runtime, folder: (1.0, {"precision": runtime[:3]}))
    found = [each for each in engines.check_models(Settings()) if each.area == "model whisper-tiny.en"]
    assert [(each.state, each.message) for each in found] == [
        (State.OK, "ctranslate2 loads it in 1.0 s and passes its self-test (precision ctr)"),
        (State.OK, "whispercpp loads it in 1.0 s and passes its self-test (precision whi)"),
    ]


def test_a_model_that_does_not_load_is_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise LoadFailed("the tokenizer is broken", code="model_load_failed")

    monkeypatch.setattr(engines, "_load", refuse)
    found = {finding.area: finding for finding in engines.check_models(Settings())}
    assert found["model echo"].state is State.PROBLEM
    assert "the tokenizer is broken (model_load_failed)" in found["model echo"].message


def test_a_database_and_a_redis_that_do_not_answer_are_problems(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"postgresql:///x?host={tmp_path}", redis_url=f"unix://{tmp_path}/no.sock"
    )
    found = {
        finding.area: finding for finding in services.check_services(settings, "http://127.0.0.1:9", None)
    }
    assert found["database"].state is State.PROBLEM
    assert found["redis"].state is State.PROBLEM
    assert "services" not in found  # nothing embedded is needed then


def test_a_database_that_answers_says_its_migration(database_url: str, redis_url: str) -> None:
    settings = Settings(database_url=database_url, redis_url=redis_url)
    found = {
        finding.area: finding for finding in services.check_services(settings, "http://127.0.0.1:9", None)
    }
    assert found["database"].state is State.OK
    assert found["redis"].state is State.OK


def test_a_database_without_tables_is_told_to_migrate(empty_database_url: str, redis_url: str) -> None:
    settings = Settings(database_url=empty_database_url, redis_url=redis_url)
    found = {
        finding.area: finding for finding in services.check_services(settings, "http://127.0.0.1:9", None)
    }
    assert (found["database"].state, found["database"].advice) == (State.NOTE, "run: batchyard migrate")


def test_another_system_than_linux_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.describe_system().state is State.PROBLEM
