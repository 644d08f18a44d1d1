"""`batchyard models`: list, show, pull, rm, verify, without a service."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with one model whose weights are a local file, and one broken spec."""
    monkeypatch.setenv("BATCHYARD_HOME", str(tmp_path))
    monkeypatch.setenv("BATCHYARD_MODELS", str(tmp_path / "models"))
    specs = tmp_path / "specs"
    specs.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"weights" * 100_000)
    digest = sha256((tmp_path / "weights.bin").read_bytes()).hexdigest()
    (specs / "mine.yaml").write_text(
        "name: mine\nfamily: echo\naliases: [also]\nlimits: {max_tokens: 9}\nfiles:\n"
        f"- {{path: w.bin, source: 'file:../weights.bin', sha256: {digest}, size_bytes: 700000}}\n"
    )
    (specs / "dense.yaml").write_text(
        "name: dense\nfamily: bert\nfiles:\n- {path: m.safetensors, source: 'file:../weights.bin'}\n"
    )
    (specs / "broken.yaml").write_text("name: broken\nfamly: echo\n")
    (specs / "strange.yaml").write_text("name: strange\nfamily: nothing\n")
    return tmp_path


def test_list_names_every_model_and_every_broken_file(run: Run, home: Path) -> None:
    done = run("models", "list")
    assert done.code == 0
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert {"mine", "echo", "all-minilm-l6-v2"} <= set(rows)
    assert "not pulled (0.7 MB)" in rows["mine"]
    assert f"broken: {home}/specs/strange.yaml:2: family: unknown family 'nothing'" in done.err
    assert f"broken: {home}/specs/broken.yaml:2: famly" in done.err


def test_list_as_json_is_only_json(run: Run, home: Path) -> None:
    said = json.loads(run("models", "list", "--json").out)
    mine = next(model for model in said["models"] if model["name"] == "mine")
    assert (mine["family"], mine["runtime"], mine["files"][0]["there"]) == ("echo", "echo", False)
    assert said["broken"][0]["line"] == 2


def test_pull_show_verify_and_rm(run: Run, home: Path) -> None:
    assert "mine is ready for echo" in run("models", "pull", "also").err
    shown = run("models", "show", "mine").out
    assert "state        ready" in shown
    assert "max_tokens=9" in shown
    assert run("models", "verify").out.split() == ["mine", "ok", "0.7", "MB", "w.bin"]
    (home / "weights.bin").write_bytes(b"WEIGHTS" * 100_000)
    damaged = run("models", "verify", "--json")
    assert damaged.code == 1
    assert json.loads(damaged.out)["mine"][0]["state"] == "damaged"
    assert "batchyard models pull mine" in damaged.err
    assert run("models", "rm", "mine").code == 0
    assert not (home / "models" / "mine").exists()
    assert "nothing was there" in run("models", "rm", "mine").out
    assert (home / "weights.bin").exists()


def test_a_pull_that_fails_says_which_file_and_where_it_looked(run: Run, home: Path) -> None:
    (home / "weights.bin").unlink()
    done = run("models", "pull", "mine")
    assert done.code == 1
    assert "model 'mine', file 'w.bin'" in done.err
    assert done.err.count(f"{home}/weights.bin") == 1  # in the message, and not in the log as well
    assert "model.pull_failed" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull", "mien"], "did you mean 'mine'?"),
        (["show", "broken"], "its spec is broken: "),
        (["rm", "zzzzzz"], "there are "),
        (["pull", "strange"], "unknown family 'nothing'"),
        (["pull", "mine", "--runtime", "gpu"], "has no runtime 'gpu'"),
        (["pull", "dense", "--runtime", "llamacpp"], "no weights for runtime 'llamacpp'"),
    ],
)
def test_a_model_that_cannot_be_is_explained(run: Run, arguments: list[str], message: str) -> None:
    done = run("models", *arguments)
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err


def test_settings_that_are_wrong_are_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_PORT", "many")
    done = run("models", "list")
    assert (done.code, "BATCHYARD_PORT" in done.err) == (2, True)
