import os
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from backends.engine_log import KEPT_LINES, LINE_BYTES, EngineLog


@pytest.fixture
def ends() -> Iterator[tuple[EngineLog, int]]:
    reader, writer = os.pipe()
    log = EngineLog(os.fdopen(reader, "rb"), model="m")
    yield log, writer
    os.close(writer)
    log.close()


def tail(log: EngineLog) -> list[str]:
    log.read()
    return list(log.tail)


def test_lines_are_logged_with_their_model_once_they_are_whole(ends: tuple[EngineLog, int]) -> None:
    log, writer = ends
    with capture_logs() as entries:
        os.write(writer, b"first\nsec")
        assert tail(log) == ["first"]
        os.write(writer, b"ond\n\n")
        assert tail(log) == ["first", "second"]
    assert entries[0] == {"event": "engine.log", "log_level": "debug", "line": "first", "model": "m"}


def test_a_progress_bar_is_lines(ends: tuple[EngineLog, int]) -> None:
    log, writer = ends
    os.write(writer, b"10 %\r20 %\r\n")
    assert tail(log) == ["10 %", "20 %"]


def test_what_is_no_utf8_is_kept_readable(ends: tuple[EngineLog, int]) -> None:
    log, writer = ends
    os.write(writer, b"caf\xe9 \xff\n")
    assert tail(log) == ["caf\ufffd \ufffd"]


def test_a_line_without_end_is_cut_into_pieces(ends: tuple[EngineLog, int]) -> None:
    log, writer = ends
    os.write(writer, b"x" * (2 * LINE_BYTES + 10))
    pieces = tail(log)
    assert "".join(pieces) == "x" * (2 * LINE_BYTES + 10)
    assert max(map(len, pieces)) == LINE_BYTES


def test_only_the_last_lines_are_kept(ends: tuple[EngineLog, int]) -> None:
    log, writer = ends
    os.write(writer, b"".join(b"%d\n" % n for n in range(KEPT_LINES + 5)))
    assert tail(log) == [str(n) for n in range(5, KEPT_LINES + 5)]


def test_the_last_words_need_no_line_end() -> None:
    reader, writer = os.pipe()
    log = EngineLog(os.fdopen(reader, "rb"), model="m")
    os.write(writer, b"Illegal instruction")
    os.close(writer)
    log.close()
    assert list(log.tail) == ["Illegal instruction"]
