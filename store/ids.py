"""Public ids. A job's suffix is shared by its views (`job_…`, `batch_…`); the prefix names the view."""

import base64
import secrets
from typing import Literal

View = Literal["job", "batch", "call", "response"]

# A call is seen as a job by whoever asks for its id.
PREFIXES: dict[str, str] = {"job": "job_", "batch": "batch_", "call": "job_", "response": "resp_"}


def new_suffix() -> str:
    """24 characters of a-z and 2-7: 120 random bits."""
    return base64.b32encode(secrets.token_bytes(15)).decode().lower()


def new_file_id() -> str:
    return f"file-{new_suffix()}"


def new_upload_id() -> str:
    return f"upload_{new_suffix()}"


def new_upload_part_id() -> str:
    return f"part_{new_suffix()}"


def new_event_id() -> str:
    return f"evt_{new_suffix()}"


def new_endpoint_id() -> str:
    return f"we_{new_suffix()}"


def new_token() -> int:
    """The random half of a chunk's fence: 63 bits, a bigint."""
    return secrets.randbits(63)


def public_id(view: str, suffix: str) -> str:
    """`batch` and `abc` → `batch_abc`."""
    return PREFIXES[view] + suffix


def suffix_of_any(public: str) -> str | None:
    """The suffix of a job's id under any of its prefixes; None where the id has another form."""
    return next((suffix for view in PREFIXES if (suffix := suffix_of(view, public))), None)


def suffix_of(view: str, public: str) -> str | None:
    """The suffix of a public id of this view, or None where the id has another form."""
    prefix = PREFIXES[view]
    suffix = public.removeprefix(prefix)
    return suffix if public.startswith(prefix) and suffix.isalnum() and suffix.isascii() else None
