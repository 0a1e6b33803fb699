"""What the lifespan gives every request."""

from typing import TypedDict

from starlette.requests import Request

from gateway.service import StatusService
from gateway.watch import Watches


class State(TypedDict):
    """Typed state of the application: `request.state["service"]`."""

    service: StatusService
    watches: Watches


def caller_of(request: Request[State]) -> str:
    """Who asks, so that callers take turns: until they have keys, the address they ask from."""
    return request.client.host if request.client else ""
