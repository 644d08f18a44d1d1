"""Plain Celery: one task per item, Redis as broker and for the results, prefork, all else as it comes."""

import os
import sys
from collections.abc import Sequence

from celery import Celery

from benchmarks.peers.queue_turns import WORKERS, serve

REDIS = os.environ["BENCH_REDIS"].replace("unix://", "redis+socket://")
app = Celery("celery_queue", broker=REDIS, backend=REDIS)


@app.task(name="count_words")  # type: ignore[untyped-decorator]
def count_words(text: str) -> int:
    return len(text.split())


class CeleryQueue:
    """See `queue_turns.Queue`."""

    def call(self, text: str) -> int:
        return int(count_words.delay(text).get())

    def run(self, texts: Sequence[str]) -> list[int]:
        results = [count_words.delay(text) for text in texts]
        return [result.get() for result in results]


if __name__ == "__main__":
    module = "benchmarks.peers.celery_queue"
    serve(
        CeleryQueue,
        [sys.executable, "-m", "celery", "-A", module, "worker", "-c", str(WORKERS), "-l", "WARNING"],
    )
