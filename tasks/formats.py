"""In which formats a reader wants results, where not as each request asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from backends.embeddings import EncodingFormat
from backends.transcription import Format, TranscriptionRequest


@dataclass(frozen=True, kw_only=True)
class Formats:
    """What is left out is as each request asked. `captions` are fields of `Captions`."""

    encoding_format: EncodingFormat | None = None
    transcripts: tuple[Format, ...] = ()
    captions: Mapping[str, Any] = field(default_factory=dict)

    def ruled(self, request: TranscriptionRequest) -> TranscriptionRequest:
        """The request with the rules of captions that are wanted."""
        if not self.captions:
            return request
        captions = msgspec.structs.replace(request.captions, **self.captions)
        return msgspec.structs.replace(request, captions=captions)


AS_ASKED = Formats()
