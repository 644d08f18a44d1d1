"""`batchyard queues`, `workers`, `prune` and `models resume`: what is printed of what the service says."""

import json

from tests.cli.conftest import Run
from tests.fixtures.fake_service import FakeService

LANE = {
    "lane": "bulk",
    "items": {"waiting": 12_000, "running": 64, "held": 5},
    "jobs": {"waiting": 2, "running": 1, "held": {"paused": 1, "window": 3, "not_before": 4}},
    "oldest_seconds": 125.0,
}
QUEUES = {
    "data": [
        {"family": "bert", "slots": 2, "lanes": [LANE]},
        {"family": "echo", "slots": 1, "lanes": []},
    ],
    "validating": 1,
    "finalizing": 0,
    "paused_models": [{"model": "a/b", "reason": "it crashed on 3 items in a row", "jobs": 1}],
}
WORKER = {
    "id": "slot_7", "host": "box", "pid": 42, "cores": [0, 1], "families": ["bert"], "loaded": ["m", "n"],
    "working_on": "job_x:3", "rate": 12.25, "memory_mb": 900,
}  # fmt: skip


def test_queues_show_counts_reasons_and_paused_models(run: Run, service: FakeService) -> None:
    service.answers["GET /v1/queues"] = QUEUES
    lines = run("queues").out.splitlines()
    assert lines[1].split() == ["bert", "bulk", "2", "12,000", "64", "5", "2", "1", "1", "3", "4", "2", "min"]
    assert lines[2].split() == ["echo", "-", "1", *["0"] * 8, "-"]
    assert lines[3] == "1 job being read"
    assert "model a/b is paused, 1 job held: it crashed on 3 items in a row" in lines[4]
    assert "batchyard models resume a/b" in lines[4]
    assert json.loads(run("queues", "--json").out) == QUEUES


def test_workers_show_what_they_do(run: Run, service: FakeService) -> None:
    service.answers["GET /v1/workers"] = {"data": [WORKER]}
    line = run("workers").out.splitlines()[1]
    assert line.split() == ["slot_7", "box:42", "0,1", "bert", "m,n", "job_x:3", "12.2", "900"]
    service.answers["GET /v1/workers"] = {"data": []}
    assert "no slot is alive" in run("workers").err


def test_a_dry_run_of_prune_says_what_would_go(run: Run, service: FakeService) -> None:
    service.answers["POST /v1/prune"] = {
        "jobs": {"batch": 2, "job": 1},
        "files": 3,
        "bytes": 4096,
        "events": 1,
    }
    dry, wet = run("prune", "--dry-run").out, run("prune").out
    assert dry.splitlines() == ["would be deleted:", "  2 batch jobs", "  1 job", "  3 files, 4,096 bytes",
                                "  1 webhook event"]  # fmt: skip
    assert wet.splitlines()[0] == "deleted:"


def test_a_model_with_a_slash_in_its_name_is_resumed(run: Run, service: FakeService) -> None:
    service.answers["POST /v1/models/a/b/resume"] = {"id": "a/b", "was_paused": True}
    service.answers["POST /v1/models/c/resume"] = {"id": "c", "was_paused": False}
    assert run("models", "resume", "a/b").out == "a/b: resumed\n"
    assert run("models", "resume", "c").out == "c: it was not paused\n"
