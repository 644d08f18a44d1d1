"""Callers who go away, and jobs that take too long: nothing is computed for nobody."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from api import awaiting
from api.awaiting import wait_for_result
from api.background import Background
from api.errors import ApiError
from store.results import UNFINISHED, ItemResult
from tasks.submit import Caller, Submitted

SUBMITTED = Submitted(job_id=7, suffix="abc")
DONE = ItemResult(n=0, custom_id="abc", body=b"{}", status=200, parts=[b"x"])


class Scene:
    """A call, its caller and the service around it; `left` lists the jobs that their caller left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, results: list[ItemResult] | None) -> None:
        self.answered = asyncio.Event()
        self.gone = asyncio.Event()
        self.left: list[int] = []
        self.job: Any = None
        self._results = results
        monkeypatch.setattr(awaiting, "borrow", self._borrow)
        monkeypatch.setattr("store.calls.leave", self._leave)
        monkeypatch.setattr("store.jobs.find", self._find)
        monkeypatch.setattr(awaiting, "GRACE_SECONDS", 0.05)

    async def call(self, seconds: float = 5.0, *, goes_on: bool = False) -> ItemResult:
        background = Background()
        services: Any = SimpleNamespace(
            settings=SimpleNamespace(call_timeout_seconds=seconds),
            answers=SimpleNamespace(wait=self._wait),
            background=background,
            pool=None,
        )
        request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, self._receive)
        try:
            return await wait_for_result(request, services, SUBMITTED, Caller(), goes_on=goes_on)
        finally:
            await asyncio.sleep(0.2)
            await background.stop()

    async def _wait(self, job_id: int, seconds: float) -> list[ItemResult]:
        await asyncio.wait_for(self.answered.wait(), seconds)
        return self._results or []

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @asynccontextmanager
    async def _borrow(self, pool: Any) -> Any:
        yield None

    async def _leave(self, conn: Any, job_id: int) -> None:
        self.left.append(job_id)

    async def _find(self, conn: Any, suffix: str, project_id: int) -> Any:
        return self.job


def test_an_answer_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> Scene:
        scene = Scene(monkeypatch, [DONE])
        scene.answered.set()
        assert await scene.call() is DONE
        return scene

    assert asyncio.run(play()).left == []


def test_a_caller_who_has_gone_leaves_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> Scene:
        scene = Scene(monkeypatch, [DONE])
        scene.gone.set()
        with pytest.raises(ClientDisconnect):
            await scene.call()
        return scene

    assert asyncio.run(play()).left == [7]


def test_a_job_that_ends_soon_after_its_caller_has_gone_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play() -> Scene:
        scene = Scene(monkeypatch, [DONE])
        scene.gone.set()
        asyncio.get_running_loop().call_later(0.02, scene.answered.set)
        with pytest.raises(ClientDisconnect):
            await scene.call()
        return scene

    assert asyncio.run(play()).left == []


def test_a_call_that_takes_too_long_is_left_and_not_worth_a_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play() -> Scene:
        scene = Scene(monkeypatch, [DONE])
        with pytest.raises(ApiError, match=r"0\.01 seconds") as caught:
            await scene.call(seconds=0.01)
        assert caught.value.code == "call_timeout"
        assert caught.value.headers == {"x-should-retry": "false"}
        return scene

    assert asyncio.run(play()).left == [7]


def test_a_call_that_takes_too_long_and_goes_on_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        with pytest.raises(ApiError, match="ask again") as caught:
            await Scene(monkeypatch, [DONE]).call(seconds=0.01, goes_on=True)
        assert (caught.value.code, caught.value.headers) == ("call_timeout", None)

    asyncio.run(play())


@pytest.mark.parametrize("results", [[], [ItemResult(n=0, custom_id="a", body=b"{}", status=UNFINISHED)]])
@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ({"object": "list", "data": [{"code": "model_load_failed", "message": "no"}]}, "model_load_failed"),
        (None, "cancelled"),
    ],
)
def test_a_job_that_failed_as_a_whole_says_why(
    monkeypatch: pytest.MonkeyPatch, results: list[ItemResult], errors: Any, code: str
) -> None:
    async def play() -> None:
        scene = Scene(monkeypatch, results)
        scene.job = SimpleNamespace(errors=errors)
        scene.answered.set()
        with pytest.raises(ApiError) as caught:
            await scene.call()
        assert caught.value.code == code

    asyncio.run(play())
