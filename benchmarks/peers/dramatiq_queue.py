"""Dramatiq: one message per item, Redis as broker and for the results, a process per worker with the default
number of threads."""

import os
import sys
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.queue_turns import WORKERS, serve

REDIS = os.environ["BENCH_REDIS"]
RESULT_MS = 600_000
broker = RedisBroker(url=REDIS)
broker.add_middleware(Results(backend=RedisBackend(url=REDIS)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)  # type: ignore[untyped-decorator]
def count_words(text: str) -> int:
    return len(text.split())


class DramatiqQueue:
    """See `queue_turns.Queue`."""

    def call(self, text: str) -> int:
        return int(count_words.send(text).get_result(block=True, timeout=RESULT_MS))

    def run(self, texts: Sequence[str]) -> list[int]:
        messages = [count_words.send(text) for text in texts]
        return [message.get_result(block=True, timeout=RESULT_MS) for message in messages]


if __name__ == "__main__":
    # By its full name: the actor's module must be the same one here and in the workers.
    from benchmarks.peers import dramatiq_queue

    serve(
        dramatiq_queue.DramatiqQueue,
        [sys.executable, "-m", "dramatiq", "benchmarks.peers.dramatiq_queue", "-p", str(WORKERS)],
    )
