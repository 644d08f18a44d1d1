"""`batchyard demo`, as a newcomer runs it: twice in a row, and when it cannot start."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.cli.conftest import Run

DEMO = (sys.executable, "-P", "-m", "cli.main", "demo", "--limit", "60")


def processes_of(home: Path) -> list[int]:
    """Processes that name something in this home in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in word for word in process.info["cmdline"] or []):
            found.append(process.pid)
    return found


@pytest.mark.slow
def test_the_demo_answers_questions_twice_in_a_row_and_leaves_nothing_running(
    open_home: Path, minilm_folder: Path
) -> None:
    env = os.environ | {"BATCHYARD_MODELS": str(minilm_folder.parent)}
    for _ in range(2):
        done = subprocess.run(
            [*DEMO, "--home", str(open_home / "demo")],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "60 vectors of 384 dimensions" in done.stdout
        assert "texts/s" in done.stdout
        assert "how do I parse a date?" in done.stdout
        assert f"lie in {open_home}/demo/demo" in done.stdout
        assert processes_of(open_home) == []
    vectors = np.load(open_home / "demo" / "demo" / "vectors.npy")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)


@pytest.mark.slow
def test_a_demo_that_cannot_start_shows_why(
    run: Run, open_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.demo.have_model", lambda settings, name, meter: None)
    monkeypatch.setenv("BATCHYARD_SLOTS", "99999")
    done = run("demo", "--home", open_home / "demo", "--limit", 1)
    assert done.code == 1
    assert "did not come up" in done.err
    assert "99999 slots" in done.err
    assert processes_of(open_home) == []


def test_a_home_that_cannot_be_made_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("demo", "--home", tmp_path / "file" / "home")
    assert (done.code, "name another with --home" in done.err) == (1, True)
