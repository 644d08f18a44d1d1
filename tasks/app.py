"""The Celery app: one queue per family, and the one task, a wake-up. The index of the worker side.

A wake-up carries no state and may be lost, late or repeated; the database decides what there is to do.
Hence early acks, no results, no ETA, no canvas. Celery needs `packaging` for Redis and does not say so.
"""

from collections.abc import Callable

from celery import Celery
from kombu.entity import Exchange, Queue

from backends.registry import FAMILIES
from configs.settings import Settings
from tasks.signals import PREFIX

WAKE = "batchyard.wake"


def celery_url(redis_url: str) -> str:
    """Celery's spelling of a Redis URL: a unix socket is `redis+socket://` there."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def queue_of(family: str) -> Queue:
    """The queue of a family: named like it, and the only one bound to its key."""
    return Queue(family, Exchange(family), routing_key=family)  # type: ignore[no-untyped-call]


def make_app(settings: Settings, wake: Callable[[str], None] | None = None) -> Celery:
    """The app for `settings.redis_url`. `wake(family)` is the body of the task; senders need none."""
    if settings.redis_url is None:
        raise ValueError("BATCHYARD_REDIS_URL is not set: start the parts with `batchyard up`, or set it")
    app = Celery("batchyard", broker=celery_url(settings.redis_url))
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_reject_on_worker_lost=False,
        task_retry_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # a wake-up stays in Redis until a slot is free
        worker_hijack_root_logger=False,
        worker_enable_remote_control=True,
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_timeout": 10,  # must exceed the one second that BRPOP blocks
            "socket_keepalive": True,
            "health_check_interval": 25,
            "queue_order_strategy": "round_robin",  # priorities live in SQL
            "global_keyprefix": PREFIX,
        },
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
        task_queues=[queue_of(family) for family in FAMILIES],
        task_create_missing_queues=False,
    )

    @app.task(name=WAKE)  # type: ignore[untyped-decorator]
    def wake_up(family: str) -> None:
        if wake is not None:
            wake(family)

    return app


def send_wake_up(app: Celery, family: str) -> None:
    """Ask any slot of `family` to look. Raises what kombu raises when Redis is away."""
    app.send_task(WAKE, args=(family,), queue=family)
