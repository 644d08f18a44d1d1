import socket
from collections.abc import Iterator

import pytest

from backends import pipe
from backends.pipe import (
    BadFrame,
    Cancel,
    Close,
    Give,
    Happened,
    Inbox,
    Load,
    Open,
    Outbox,
    Ready,
    Want,
    frame,
    from_engine,
    in_groups,
    to_engine,
)
from backends.types import Delta, Done, ErrorInfo, Failed, Lane, Part, Progress, Started

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def body(message: pipe.ToEngine | pipe.FromEngine) -> bytes:
    return frame(message)[pipe.HEADER_BYTES :]


def test_messages_to_the_engine_come_out_as_they_went_in() -> None:
    parts = [Part(1, "/v1/embeddings", b"\x00{}", Lane.INTERACTIVE), Part(2**40, "/v1/x", b"")]
    load = Load(spec=b"{}", runtime="echo", folder="/f", cores=[1], nice=3)
    for message in (load, Give(parts), Cancel([1, 2]), Close(4), Open()):
        assert to_engine.decode(body(message)) == message


def test_messages_from_the_engine_come_out_as_they_went_in() -> None:
    happened = Happened(
        [
            Started([1]),
            Progress(1, 0.5, None),
            Delta(1, b"d"),
            Done(1, b"r", units=3, more=[b"m"]),
            Failed(2, ErrorInfo("cancelled", "so", "input")),
        ]
    )
    for message in (Ready({"precision": "f32"}), Want(3), happened):
        assert from_engine.decode(body(message)) == message


def test_a_frame_may_arrive_byte_by_byte(pair: Pair) -> None:
    ours, theirs = pair
    inbox = Inbox(theirs)
    data = frame(Close(1)) + frame(Close(2))
    arrived = []
    for byte in data:
        ours.send(bytes([byte]))
        arrived += inbox.read()
    assert [to_engine.decode(one) for one in arrived] == [Close(1), Close(2)]


def test_frames_larger_than_the_socket_takes_are_kept_and_sent_in_order(pair: Pair) -> None:
    ours, theirs = pair
    outbox, inbox = Outbox(ours), Inbox(theirs)
    messages = [Give([Part(key, "e", bytes([key]) * 3_000_000)]) for key in range(3)]
    for message in messages:
        outbox.push(message)
    outbox.flush()
    assert outbox.size > 0
    arrived: list[bytes] = []
    while len(arrived) < len(messages):
        arrived += inbox.read()
        outbox.flush()
    assert [to_engine.decode(one) for one in arrived] == messages
    assert outbox.size == 0


def test_the_end_is_told_after_the_last_frame(pair: Pair) -> None:
    ours, theirs = pair
    inbox = Inbox(theirs)
    ours.send(frame(Open()) + b"\x09\x00")  # and half of another
    ours.close()
    assert len(inbox.read()) == 1
    assert inbox.ended
    assert inbox.read() == []


def test_nothing_there_is_no_end(pair: Pair) -> None:
    inbox = Inbox(pair[1])
    assert inbox.read() == []
    assert not inbox.ended


def test_a_senseless_length_is_refused_before_memory_is_asked_for(pair: Pair) -> None:
    pair[0].send(b"\xff\xff\xff\xff")
    with pytest.raises(BadFrame, match="4294967295"):
        Inbox(pair[1]).read()


def test_parts_are_grouped_by_their_size_and_none_is_lost() -> None:
    sizes = [10, 600_000, 600_000, 3_000_000, 0, 5]
    parts = [Part(key, "e", b"x" * size) for key, size in enumerate(sizes)]
    groups = [give.parts for give in in_groups(parts)]
    assert [len(group) for group in groups] == [2, 1, 1, 2]
    assert [one for group in groups for one in group] == parts
    assert list(in_groups([])) == []
