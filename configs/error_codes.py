"""Every error code that a caller can meet, with its HTTP status: the one catalogue.

`docs/errors.md` lists the same rows; a test holds the two against each other and against the codes
that the source names. The OpenAI error `type` follows from the status (notes of the official client).
"""

from typing import NamedTuple


class ErrorKind(NamedTuple):
    """Status of the HTTP reply (or of the item's reply in an error file), and what the code means."""

    status: int
    meaning: str


CODES: dict[str, ErrorKind] = {
    # the request as such
    "invalid_json": ErrorKind(400, "the body is not valid JSON"),
    "invalid_request": ErrorKind(400, "a field is missing, unknown to the endpoint, or of the wrong type"),
    "missing_required_parameter": ErrorKind(400, "a required field is missing"),
    "invalid_value": ErrorKind(400, "a field has a value that is not allowed"),
    "invalid_type": ErrorKind(400, "a field has the wrong type"),
    "empty_input": ErrorKind(400, "the input is empty"),
    "too_many_inputs": ErrorKind(400, "more inputs than one call takes"),
    "context_length_exceeded": ErrorKind(400, "an input has more tokens than the model takes"),
    "invalid_token_id": ErrorKind(400, "a token id is outside the model's vocabulary"),
    "invalid_dimensions": ErrorKind(400, "more dimensions than the model has"),
    "endpoint_not_supported": ErrorKind(400, "the model's family does not serve this endpoint"),
    "unsupported_language": ErrorKind(400, "the model does not know the language"),
    "translation_not_supported": ErrorKind(400, "the model cannot translate"),
    "body_too_large": ErrorKind(413, "the request body is larger than the limit"),
    "not_found": ErrorKind(404, "no such route or object"),
    "method_not_allowed": ErrorKind(405, "the route does not take this method"),
    "model_not_found": ErrorKind(404, "no model of this name"),
    "idempotency_mismatch": ErrorKind(409, "the Idempotency-Key was used for another request"),
    # keys
    "invalid_api_key": ErrorKind(401, "no API key, or one that is not known"),
    "insufficient_scope": ErrorKind(403, "the API key lacks the scope that this needs"),
    "api_key_not_found": ErrorKind(404, "no API key of this id"),
    # limits
    "rate_limit_exceeded": ErrorKind(429, "the API key has made its requests of this minute"),
    "too_many_queued_items": ErrorKind(429, "too many items are queued, of the API key or in all"),
    # files, uploads, batches
    "file_not_found": ErrorKind(404, "no file of this id"),
    "invalid_purpose": ErrorKind(400, "the file's purpose is unknown, or wrong for this use"),
    "file_too_large": ErrorKind(413, "the file is larger than the limit"),
    "upload_not_found": ErrorKind(404, "no upload of this id"),
    "upload_not_pending": ErrorKind(400, "the upload is completed, cancelled or expired"),
    "upload_mismatch": ErrorKind(400, "the parts do not add up to the declared size or digest"),
    "batch_not_found": ErrorKind(404, "no batch of this id"),
    "job_not_found": ErrorKind(404, "no job of this id"),
    "job_not_cancellable": ErrorKind(409, "the job has ended"),
    "job_not_ended": ErrorKind(409, "the job must have ended for this"),
    "nothing_to_retry": ErrorKind(409, "no item of the job failed or was left undone"),
    "item_not_found": ErrorKind(404, "the job has no item of this custom_id"),
    # webhooks
    "invalid_webhook_url": ErrorKind(400, "the URL is none that webhooks may be sent to"),
    "webhook_endpoint_not_found": ErrorKind(404, "no webhook endpoint of this id"),
    "webhook_delivery_not_found": ErrorKind(404, "no webhook delivery of this id"),
    "webhook_endpoint_disabled": ErrorKind(409, "the webhook endpoint is disabled"),
    "webhook_test_failed": ErrorKind(400, "the receiver did not answer the test event"),
    # lines of a batch's input file (in `errors.data[]`, with their line)
    "empty_file": ErrorKind(400, "the input file has no request"),
    "too_many_lines": ErrorKind(400, "the input file has more lines than a batch takes"),
    "batch_file_too_large": ErrorKind(400, "the input file is larger than a batch takes"),
    "invalid_json_line": ErrorKind(400, "a line is not valid JSON, or not an object"),
    "invalid_utf8": ErrorKind(400, "a line is not valid UTF-8"),
    "line_too_long": ErrorKind(400, "a line is longer than the limit"),
    "missing_custom_id": ErrorKind(400, "a line has no custom_id"),
    "duplicate_custom_id": ErrorKind(400, "two lines have the same custom_id"),
    "invalid_url": ErrorKind(400, "a line's url is not the batch's endpoint"),
    "invalid_method": ErrorKind(400, "a line's method is not POST"),
    "missing_body": ErrorKind(400, "a line has no body object"),
    "model_mismatch": ErrorKind(400, "the lines of one batch name different models"),
    # recordings
    "invalid_audio": ErrorKind(400, "the file is not a recording, or damaged beyond use"),
    "no_audio_stream": ErrorKind(400, "the file has no audio stream"),
    "empty_audio": ErrorKind(400, "the recording is empty"),
    "encrypted_audio": ErrorKind(400, "the recording is encrypted"),
    "invalid_audio_url": ErrorKind(400, "the recording's URL is none that may be fetched"),
    "fetch_failed": ErrorKind(400, "the recording could not be fetched from its URL"),
    # an item that could not be computed
    "model_not_ready": ErrorKind(503, "the model's files are missing and may not be pulled"),
    "model_load_failed": ErrorKind(503, "the model could not be loaded"),
    "binding_missing": ErrorKind(503, "the library that this model needs is not installed"),
    "bad_native_build": ErrorKind(503, "the installed native library fails its self-test on this CPU"),
    "non_finite_output": ErrorKind(500, "the model gave a result that is not a number"),
    "engine_crashed": ErrorKind(500, "the native library crashed twice on this item"),
    "engine_timeout": ErrorKind(500, "the item made no progress for the family's limit"),
    "engine_error": ErrorKind(500, "the engine failed on this item"),
    "cancelled": ErrorKind(409, "the job was cancelled before this item ran"),
    "batch_expired": ErrorKind(408, "the completion window ended before this item ran"),
    "batch_cancelled": ErrorKind(409, "the batch was cancelled before this item ran"),
    "call_timeout": ErrorKind(504, "the job did not end within the time that a call waits"),
    "service_unavailable": ErrorKind(503, "the database cannot be reached"),
    "server_error": ErrorKind(500, "an error of ours; the log has its request id"),
}


def status_of(code: str) -> int:
    """The HTTP status of `code`; codes that are not in the catalogue are errors of ours."""
    return CODES[code].status if code in CODES else 500


def type_of(status: int) -> str:
    """OpenAI's error `type` for a status."""
    kinds = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }
    return kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
