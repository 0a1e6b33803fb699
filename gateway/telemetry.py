"""Logs: one line an event, JSON unless on a terminal. Phones, texts and credentials stay out."""

import logging
import sys
from typing import Literal, TextIO

import structlog

SHOWN = 2
"""Digits of a phone that a log may show: enough to tell two messages of one id apart."""


def masked(phone: str) -> str:
    """A phone or address for the log: its last digits alone."""
    return f"…{phone[-SHOWN:]}" if phone.isdigit() else "…"


def configure_logging(
    level: str, form: Literal["auto", "json", "console"], stream: TextIO = sys.stderr
) -> None:
    """Send everything that is logged, by us and by libraries, to `stream` in one form."""
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals hold secrets
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared if console else [*shared, tracebacks],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own).handlers = []
        logging.getLogger(own).propagate = True
