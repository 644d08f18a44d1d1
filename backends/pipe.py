"""What a controller and its engine say to each other: msgpack frames over a stream socket.

A frame is a length (4 bytes, little-endian) and one message as msgpack. Both ends keep the socket
non-blocking and put what it does not take at once into an `Outbox`, so that neither ever waits in the
middle of a frame.
"""

import socket
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from backends.types import ErrorInfo, Event, Part

HEADER_BYTES = 4
MAX_FRAME_BYTES = 1 << 30
GROUP_BYTES = 1 << 20  # parts travel in groups of about this size
READ_BYTES = 1 << 18
MOST_READS = 64  # per call, so that an end that talks without pause does not hold the other up


# --- to the engine ------------------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, array_like=True, tag="load", kw_only=True):
    """The first frame: where to run and what to load. `spec` is the ModelSpec as JSON."""

    spec: bytes
    runtime: str
    folder: str
    cores: list[int]
    nice: int


class Give(msgspec.Struct, frozen=True, array_like=True, tag="give"):
    parts: list[Part]


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    keys: list[int]


class Close(msgspec.Struct, frozen=True, array_like=True, tag="close"):
    """No more parts for now: finish what is in hand, then answer `Closed` with the same number."""

    number: int


class Open(msgspec.Struct, frozen=True, array_like=True, tag="open"):
    """There may be parts again."""


ToEngine = Load | Give | Cancel | Close | Open


# --- from the engine ----------------------------------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """The model is loaded and has passed its self-test."""

    info: dict[str, Any]


class Broken(msgspec.Struct, frozen=True, array_like=True, tag="broken"):
    """The model could not be loaded; the engine ends."""

    error: ErrorInfo


class Want(msgspec.Struct, frozen=True, array_like=True, tag="want"):
    """Room for so many more bulk parts. Interactive ones may come without being asked for."""

    room: int


class Happened(msgspec.Struct, frozen=True, array_like=True, tag="happened"):
    events: list[Event]


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="closed"):
    number: int


FromEngine = Ready | Broken | Want | Happened | Closed

to_engine = msgspec.msgpack.Decoder(ToEngine)
from_engine = msgspec.msgpack.Decoder(FromEngine)
_encoder = msgspec.msgpack.Encoder()


class BadFrame(Exception):
    """The other end does not speak this protocol: it is broken, and the pipe of no more use."""


def frame(message: ToEngine | FromEngine) -> bytes:
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise BadFrame(f"a message of {len(body)} bytes")
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def in_groups(parts: Iterable[Part]) -> Iterator[Give]:
    """`parts` in frames of about GROUP_BYTES, so that many large bodies never make one huge frame."""
    group: list[Part] = []
    size = 0
    for part in parts:
        if group and size + len(part.body) > GROUP_BYTES:
            yield Give(group)
            group, size = [], 0
        group.append(part)
        size += len(part.body)
    if group:
        yield Give(group)


class Outbox:
    """Frames on their way out. `size` is how many bytes the socket has not taken yet."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._frames: deque[memoryview] = deque()
        self.size = 0

    def push(self, message: ToEngine | FromEngine) -> None:
        data = frame(message)
        self._frames.append(memoryview(data))
        self.size += len(data)

    def flush(self) -> None:
        """Send what the socket takes now. Raises OSError when the other end is gone."""
        while self._frames:
            try:
                sent = self._stream.send(self._frames[0], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            self.size -= sent
            if sent == len(self._frames[0]):
                self._frames.popleft()
            else:
                self._frames[0] = self._frames[0][sent:]


class Inbox:
    """Frames coming in. `ended` is True once the other end has closed."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self.ended = False

    def read(self) -> list[bytes]:
        """The whole frames that have arrived, without waiting. Raises `BadFrame` on a senseless length."""
        for _ in range(MOST_READS):
            if self.ended:
                break
            try:
                data = self._stream.recv(READ_BYTES)
            except BlockingIOError:
                break
            except ConnectionResetError:  # the other end was killed with frames of ours unread
                data = b""
            self._buffer += data
            self.ended = not data
        return self._cut()

    def _cut(self) -> list[bytes]:
        # A list, not a generator: a generator abandoned midway would give its frames again.
        frames: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= HEADER_BYTES:
            body = start + HEADER_BYTES
            length = int.from_bytes(self._buffer[start:body], "little")
            if length > MAX_FRAME_BYTES:
                raise BadFrame(f"a frame of {length} bytes")
            if len(self._buffer) < body + length:
                break
            frames.append(bytes(self._buffer[body : body + length]))
            start = body + length
        del self._buffer[:start]
        return frames
