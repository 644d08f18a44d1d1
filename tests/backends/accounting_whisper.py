"""The whisper family on CTranslate2 with an account of its parts; imported by an engine's process alone."""

import json
import os
import time
from collections.abc import Iterator

from backends.base import Feed
from backends.transcription import parse_part
from backends.types import Done, Event, Part, Started
from backends.whisper.ctranslate2 import CTranslate2Backend
from backends.whisper.desk import Desk
from tests.backends.accounting_engine import VARIABLE


class AccountingBackend(CTranslate2Backend):
    def run(self, feed: Feed) -> Iterator[Event]:
        self._stretches: dict[int, tuple[int, int] | None] = {}
        for event in super().run(feed):
            if isinstance(event, Started):
                for key in event.keys:
                    self._note(key, done=False)
            yield event
            if isinstance(event, Done):
                self._note(event.key, done=True)

    def _accept(self, part: Part, desk: Desk) -> Iterator[Event]:
        self._stretches[part.key] = parse_part(part.body, part.endpoint, model=self._spec.name).stretch
        return super()._accept(part, desk)

    def _note(self, key: int, *, done: bool) -> None:
        """One write per line: several engines share the file."""
        line = json.dumps([time.monotonic(), os.getpid(), done, self._stretches[key]])
        account = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(account, line.encode() + b"\n")
        os.close(account)
