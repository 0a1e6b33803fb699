"""The id of the request at hand, for whoever tells of it."""

from contextvars import ContextVar

current_request: ContextVar[str] = ContextVar("request_id", default="")
"""Set for each request by the middleware."""


def request_id() -> str:
    """The id of the request at hand; empty outside of one."""
    return current_request.get()
