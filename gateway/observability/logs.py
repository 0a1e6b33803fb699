"""Configures logging (JSON, or console on a terminal) and masks phones and credentials."""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Literal, TextIO

import orjson
import structlog

from gateway.memo import memoize
from gateway.observability.accesslog import AccessLog

SHOWN = 2
"""Digits of a phone that a log may show: enough to tell two messages of one id apart."""

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request at hand; empty outside of one. All that is logged meanwhile tells it."""

QUIET = {
    "httpx": logging.WARNING,  # tells each URL
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,  # tells each path, with its phone
    "uvicorn.error": logging.INFO,  # at DEBUG it tells what WebSockets carry
    "uvicorn.asgi": logging.INFO,  # as above
    "websockets": logging.INFO,  # as above
    "strawberry": logging.WARNING,  # tells what callers send
    "graphql": logging.WARNING,
    "opentelemetry": logging.WARNING,
    "alembic": logging.WARNING,
    "psycopg": logging.ERROR,  # what it warns of is told by whoever asked
    "sqlalchemy": logging.WARNING,  # tells each statement with its values
    "urllib3": logging.WARNING,
    "asyncio": logging.INFO,
}
"""Loggers of libraries, each with the least level that tells nothing it should not."""

_OF_SOCKETS = (
    '%s - "WebSocket %s"',
    "ASGI callable returned without completing handshake",
    "connection open",
    "connection closed",
)
"""How uvicorn's lines begin that tell a WebSocket's path with its query, which may name a phone,
that take a handshake refused with a body for a fault, and that tell no more than that there is a
WebSocket. The request's own line tells all of it."""


def _is_wanted(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_OF_SOCKETS)


_JWT = "jwt:"
_NUMBER = re.compile(r"\d(?:[ ().-]{0,2}\d){4,}")
"""Five digits and more, as phones are written."""
_ADDRESS = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}")


def masked(phone: str) -> str:
    """A phone or address for the log: its last digits alone."""
    return f"…{phone[-SHOWN:]}" if "@" not in phone else "…"


def without_numbers(text: str) -> str:
    """A text of others for the log: what may be a phone or an address in it is left out."""
    return _ADDRESS.sub("…", _NUMBER.sub("…", text))


@memoize(1024)
def masked_caller(name: str) -> str:
    """A caller's name for the log. A token's subject may be an e-mail address or hold a number."""
    subject = name.removeprefix(_JWT)
    if subject == name:
        return name
    return _JWT + ("…" if "@" in subject else _NUMBER.sub(lambda found: masked(found[0]), subject))


def configure_logging(
    level: str, form: Literal["auto", "json", "console"], stream: TextIO = sys.stderr
) -> AccessLog | None:
    """Send everything that is logged, by us and by libraries, to `stream` in one form.

    Gives where requests are logged; None: the level is above that.
    """
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(serializer=_as_json)
    )
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals hold secrets
    )
    access = _console_log(stream) if console else AccessLog(stream)
    handler = _Handler(stream, access)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared if console else [*shared, tracebacks],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.getLogger("uvicorn.error").addFilter(_is_wanted)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(own).handlers = []
        logging.getLogger(own).propagate = True
    return access if root.isEnabledFor(logging.INFO) else None


def _as_json(event: object, default: Callable[[object], object]) -> str:
    """Spelled as the lines of requests are, for those who search the text."""
    return orjson.dumps(event, default=default, option=orjson.OPT_UTC_Z).decode()


class _Handler(logging.StreamHandler[TextIO]):
    """Keeps the lines in the order of what happened."""

    def __init__(self, stream: TextIO, access: AccessLog) -> None:
        super().__init__(stream)
        self._access = access

    def emit(self, record: logging.LogRecord) -> None:
        self._access.flush()
        super().emit(record)


def _console_log(stream: TextIO) -> AccessLog:
    renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())

    def encode(line: Mapping[str, object]) -> bytes:
        shown = {**line, "timestamp": str(line["timestamp"])}
        return f"{renderer(None, 'info', shown)}\n".encode()

    return AccessLog(stream, encode, delay=0)


def _add_request_id(
    _: object, __: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    if current := REQUEST_ID.get():
        event["request_id"] = current
    return event
