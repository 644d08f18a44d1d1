"""Signatures of webhooks, by Standard Webhooks v1 (https://www.standardwebhooks.com).

Signed is `id.timestamp.body` with HMAC-SHA256; several secrets give several signatures, of which a receiver
needs to match one. The timestamp is the attempt's, since receivers refuse what is older than five minutes.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence


def signed_headers(secrets: Sequence[str], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; `timestamp` in Unix seconds, `secrets` as `whsec_` and base64."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
