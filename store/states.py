"""The state machines: states, transitions, which are final. `docs/states.md` draws them; a test compares.

An item's state is derived, never stored: from its result, its chunk and its job.
"""

from enum import StrEnum


class JobState(StrEnum):
    VALIDATING = "validating"  # its input file is being read
    QUEUED = "queued"  # nothing of it has been claimed
    RUNNING = "running"  # something has
    FINALIZING = "finalizing"  # every part is recorded; files and counts are being settled
    CANCELLING = "cancelling"  # parts in flight are being ended
    COMPLETED = "completed"
    FAILED = "failed"  # validation failed, or the model cannot be loaded
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # the deadline came first; finished items are kept


class ItemState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ChunkState(StrEnum):
    RUNNING = "running"  # leased; an expired lease is claimed again under the next epoch
    DONE = "done"


class DeliveryState(StrEnum):
    PENDING = "pending"  # to be attempted, now or after a pause
    DELIVERED = "delivered"  # an attempt was answered with 2xx
    EXHAUSTED = "exhausted"  # every attempt of the schedule has failed
    DISABLED = "disabled"  # its receiver takes no more: 410, or its endpoint is disabled


J, C, D = JobState, ChunkState, DeliveryState

JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    J.VALIDATING: frozenset({J.QUEUED, J.FAILED, J.CANCELLING}),
    J.QUEUED: frozenset({J.RUNNING, J.FAILED, J.CANCELLING, J.EXPIRED}),
    J.RUNNING: frozenset({J.FINALIZING, J.COMPLETED, J.FAILED, J.CANCELLING, J.EXPIRED}),
    J.FINALIZING: frozenset({J.COMPLETED}),
    J.CANCELLING: frozenset({J.CANCELLED}),
    J.COMPLETED: frozenset(),
    J.FAILED: frozenset(),
    J.CANCELLED: frozenset(),
    J.EXPIRED: frozenset(),
}
CHUNK_TRANSITIONS: dict[ChunkState, frozenset[ChunkState]] = {
    C.RUNNING: frozenset({C.RUNNING, C.DONE}),
    C.DONE: frozenset(),
}
# From the ends a replay leads back: `exhausted` and `disabled` count as failed.
DELIVERY_TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    D.PENDING: frozenset({D.PENDING, D.DELIVERED, D.EXHAUSTED, D.DISABLED}),
    D.DELIVERED: frozenset({D.PENDING}),
    D.EXHAUSTED: frozenset({D.PENDING}),
    D.DISABLED: frozenset({D.PENDING}),
}
FINAL_JOB_STATES = frozenset(state for state, after in JOB_TRANSITIONS.items() if not after)
