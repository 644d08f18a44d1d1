"""Recordings for the contract suite."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.transcription import TRANSCRIPTIONS
from backends.types import Lane, Part, Result, Source, TranscriptResult
from tests.backends.contract_asks import senseless_body
from tests.fixtures.speech import clips
from tests.fixtures.tiny_whisper import SENTENCE


class TranscriptionAsks:
    """Real speech; the model says `SENTENCE` to each window of it, and knows one language."""

    several, many = 29, 45
    _bad: Mapping[str, tuple[dict[str, Any] | bytes, str, str | None]] = {
        "invalid_json": (b'{"model": NaN}', "speech", None),
        "invalid_value": ({"temperature": 7}, "speech", "temperature"),
        "unsupported_language": ({"language": "xx"}, "speech", "language"),
        "invalid_audio": ({}, "shopping list", "file"),
        "empty_audio": ({}, "nothing", "file"),
        "file_not_found": ({}, "", "file"),
    }
    codes: Mapping[str, str | None] = {code: param for code, (*_, param) in _bad.items()}

    def __init__(self, folder: Path) -> None:
        self._clips = clips()
        self._files = {"speech": self._clips[0], "shopping list": folder / "list", "nothing": folder / "0"}
        self._files["shopping list"].write_text("six eggs, a pound of flour " * 50)
        self._files["nothing"].write_bytes(b"")

    def valid(self, key: int, *, seed: int, lane: Lane = Lane.BULK) -> Part:
        return self._part(key, {}, self._clips[seed % len(self._clips)], lane)

    def heavy(self, key: int, *, seed: int) -> Part:
        return self.valid(key, seed=seed)

    def bad(self, key: int, code: str) -> Part:
        body, file, _ = self._bad[code]
        return self._part(key, body, self._files.get(file))

    def senseless(self, key: int, dice: random.Random) -> Part:
        whole = {"file_id": "file-1", "model": "m", "temperature": 0.1}
        fields = ["file_id", "language", "temperature", "formats", "channels", "captions", "prompt", "x"]
        return self._part(key, senseless_body(dice, whole, fields), self._files["speech"])

    def is_right(self, seed: int, result: Result) -> bool:
        assert isinstance(result, TranscriptResult)
        said = "".join(segment.text for segment in result.segments)
        return bool(said) and said == SENTENCE * (len(said) // len(SENTENCE)) and result.warnings == []

    def same(self, one: Result, other: Result) -> bool:
        assert isinstance(one, TranscriptResult)
        assert isinstance(other, TranscriptResult)
        both = [[(each.start_ms, each.end_ms, each.text) for each in some.segments] for some in (one, other)]
        return both[0] == both[1]

    def _part(
        self, key: int, body: dict[str, Any] | bytes, path: Path | None, lane: Lane = Lane.BULK
    ) -> Part:
        source = None if path is None else Source(str(path), "blob", path.name)
        if isinstance(body, dict):
            body = json.dumps([["blob", "name"], None, {"model": "m", **body}]).encode()
        return Part(key, TRANSCRIPTIONS, body, lane, source)
