"""Structured logs on stderr: ours and those of the libraries, in one form.

Events are named noun.verb and carry ids (`log.info("chunk.claimed", job=…)`). Secrets never reach a log:
passwords inside URLs and the fields of `SECRET_FIELDS` are masked here, whoever logs them.
"""

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from configs.settings import Settings

SECRET_FIELDS = frozenset({"api_key", "authorization", "password", "secret"})
URL_PASSWORD = re.compile(r"(://[^:/?#\s]*):[^@/\s]+@")
# Libraries that say at INFO what we say better ourselves.
CHATTY = ("alembic", "celery", "httpcore", "httpx", "kombu", "uvicorn")


def configure(settings: Settings) -> None:
    """Send structlog's events and the standard library's records to stderr, as the settings say."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(settings)],
        )
    )
    level = settings.log_level.upper()
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


def _rendering(settings: Settings) -> list[Processor]:
    if settings.log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain tracebacks: the pretty ones print local variables, which may be somebody's text or key.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: masks secret fields, and passwords in URLs wherever they stand."""
    for name, value in event.items():
        if name in SECRET_FIELDS:
            event[name] = "***"
        elif isinstance(value, str) and "@" in value:
            event[name] = URL_PASSWORD.sub(r"\1:***@", value)
    return event
