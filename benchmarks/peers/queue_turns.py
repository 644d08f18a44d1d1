"""The loop of a task queue's process: open it with its workers, run what it is told to, say what that took.

Runs in the environment of the peers, so it needs nothing of ours. Reads lines of JSON from standard input,
{"calls": n} or {"items": n}; answers each with a line {"seconds": [...]}: of each call, or of all items.
BENCH_WORKERS says how many processes work.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

WORKERS = int(os.environ.get("BENCH_WORKERS", "1"))
CALL_PAUSE_SECONDS = 0.01  # the queue is idle, not saturated
END_SECONDS = 30


class Queue(Protocol):
    """A client of a queue whose task counts the words of a text."""

    def call(self, text: str) -> int:
        """One task, and its result."""

    def run(self, texts: Sequence[str]) -> list[int]:
        """A task for each text, and all results, in order."""


def text_of(number: int) -> str:
    """Ten words or so, each time others."""
    return f"number {number} of the texts that take no time to compute"


def serve(open_queue: Callable[[], Queue], *workers: Sequence[str]) -> None:
    """Start the commands `workers`, answer turns until standard input ends, end the workers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    queue = open_queue()
    processes = [subprocess.Popen(command) for command in workers]
    try:
        queue.run([text_of(number) for number in range(20)])  # once they answer, they are ready
        _say(answers, {"ready": True})
        for line in sys.stdin:
            asked = json.loads(line)
            seconds = _calls(queue, asked["calls"]) if "calls" in asked else _items(queue, asked["items"])
            _say(answers, {"seconds": seconds})
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _calls(queue: Queue, count: int) -> list[float]:
    seconds = []
    for number in range(count):
        begun = time.perf_counter()
        queue.call(text_of(number))
        seconds.append(time.perf_counter() - begun)
        time.sleep(CALL_PAUSE_SECONDS)
    return seconds


def _items(queue: Queue, count: int) -> list[float]:
    texts = [text_of(number) for number in range(count)]
    begun = time.perf_counter()
    results = queue.run(texts)
    seconds = time.perf_counter() - begun
    assert len(results) == count
    return [seconds]


def _say(answers: TextIO, value: dict[str, object]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()
