"""Large files: streamed in and out, so that no process grows with them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import psutil
import pytest
from openai import OpenAI

from tests.fixtures.batches import run
from tests.fixtures.stack import Stack

MB = 1024**2
BLOCK = bytes(range(256)) * 4096


class Growth:
    """How far the processes of a stack grew, in bytes of resident memory, at the most."""

    def __init__(self, stack: Stack) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in stack.pids.items()}
        self._before = self._sizes()
        self.most = dict.fromkeys(self._before, 0)

    def look(self) -> None:
        for name, size in self._sizes().items():
            self.most[name] = max(self.most[name], size - self._before[name])

    def _sizes(self) -> dict[str, int]:
        return {name: process.memory_info().rss for name, process in self._processes.items()}


@contextmanager
def watched(stack: Stack) -> Iterator[Growth]:
    growth, done = Growth(stack), threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            growth.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        done.set()
        watcher.join()


def form_of(megabytes: int, purpose: str) -> tuple[dict[str, str], Iterator[bytes]]:
    """Headers and body of a form whose file is made while it is sent."""
    head = (
        f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
        '--b\r\nContent-Disposition: form-data; name="file"; filename="large"\r\n\r\n'
    ).encode()

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(megabytes):
            yield BLOCK
        yield b"\r\n--b--\r\n"

    return {"content-type": "multipart/form-data; boundary=b"}, body()


@pytest.mark.slow
def test_200_megabytes_in_and_out_grow_no_process_by_more_than_100(stack: Stack) -> None:
    headers, body = form_of(200, "user_data")
    with httpx.Client(base_url=f"{stack.url}/v1", timeout=120) as http, watched(stack) as growth:
        made = http.post("/files", content=body, headers=headers).json()
        assert made["bytes"] == 200 * MB
        with http.stream("GET", f"/files/{made['id']}/content") as reply:
            size = sum(len(chunk) for chunk in reply.iter_raw())
        http.delete(f"/files/{made['id']}")
    assert size == 200 * MB
    assert max(growth.most.values()) < 100 * MB, growth.most


@pytest.mark.slow
def test_a_300_megabyte_file_is_stored_and_is_too_large_for_a_batch(stack: Stack, client: OpenAI) -> None:
    headers, body = form_of(300, "batch")
    with watched(stack) as growth:
        made = httpx.post(f"{stack.url}/v1/files", content=body, headers=headers, timeout=120).json()
        batch = run(client, made["id"])
    client.files.delete(made["id"])
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data
    assert batch.errors.data[0].code == "batch_file_too_large"
    assert max(growth.most.values()) < 100 * MB, growth.most


@pytest.mark.slow
def test_a_file_over_the_limit_is_refused_however_it_is_sent(
    stack: Stack, client: OpenAI, tmp_path: Path
) -> None:
    headers, body = form_of(514, "user_data")
    reply = httpx.post(f"{stack.url}/v1/files", content=body, headers=headers, timeout=120)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "file_too_large")
    large = tmp_path / "large"
    with large.open("wb") as sparse:
        sparse.truncate(515 * MB)
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=large, purpose="user_data")
    assert caught.value.status_code == 413
