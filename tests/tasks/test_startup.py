"""Steps of `up` that need nothing running."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.weights.pull import PullProgress
from configs.settings import Settings
from tasks import startup
from tasks.refusals import ArgumentRefused, PlanRefused, StartRefused
from tasks.startup import PullLog, choose_models, environment_of, plan_slots


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", models=tmp_path / "models", port=0)


def test_children_read_the_same_settings(settings: Settings) -> None:
    changed = settings.model_copy(
        update={"offline": True, "database_url": "postgresql:///x", "specs": Path("/s")}
    )
    code = "from configs.settings import Settings; print(Settings().model_dump_json(exclude_none=True))"
    env = {"PATH": os.defpath, **environment_of(changed)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert Settings.model_validate_json(ran.stdout) == changed


def test_a_named_model_is_planned_for(settings: Settings) -> None:
    assert [spec.name for spec in choose_models(settings, ["echo"])] == ["echo"]


def test_without_names_the_plan_is_for_what_has_been_pulled(settings: Settings) -> None:
    assert "all-minilm-l6-v2" not in [spec.name for spec in choose_models(settings, [])]


def test_an_unknown_model_is_refused_with_those_that_are_known(settings: Settings) -> None:
    with pytest.raises(ArgumentRefused, match=r"there is no model 'parrot'; known are .*echo"):
        choose_models(settings, ["echo", "parrot"])


def test_a_broken_spec_does_not_stop_the_start(settings: Settings) -> None:
    settings.specs_folder.mkdir(parents=True)
    (settings.specs_folder / "broken.yaml").write_text("name: [")
    assert [spec.name for spec in choose_models(settings, ["echo"])] == ["echo"]


def test_a_plan_that_does_not_fit_the_given_memory_is_refused(settings: Settings) -> None:
    settings.specs_folder.mkdir(parents=True)
    (settings.specs_folder / "big.yaml").write_text("name: big\nfamily: echo\nmemory_mb: 64\n")
    small = settings.model_copy(update={"memory_mb": 10, "slots": "1"})
    with pytest.raises(StartRefused, match="64 MB") as refused:
        plan_slots(small, choose_models(small, ["big"]))
    assert not isinstance(refused.value, PlanRefused)  # with more memory the same arguments would do
    assert len(plan_slots(small.model_copy(update={"memory_mb": 64}), choose_models(small, ["big"]))) == 1


def test_a_pull_is_told_every_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    now = [0.0]
    monkeypatch.setattr("tasks.startup.time.monotonic", lambda: now[0])
    monkeypatch.setattr(startup.log, "info", lambda event, **fields: told.append(fields["done_bytes"]))
    pull_log = PullLog()
    for step in range(50):
        now[0] = step / 10
        pull_log(PullProgress(model="m", path="f", phase="downloading", done_bytes=step))
    assert told == [0, 20, 40]
