"""The id of the current request."""

from gateway.observability.logs import REQUEST_ID


def request_id() -> str:
    """The id of the request at hand; empty outside of one."""
    return REQUEST_ID.get()
