"""What the lifespan gives every request."""

from collections import Counter
from typing import TypedDict

from starlette.requests import Request

from gateway.service import StatusService
from gateway.watch import Watches
from gateway.web import auth


class State(TypedDict):
    """Typed state of the application: `request.state["service"]`."""

    service: StatusService
    watches: Watches
    pushes: Counter[str]
    """The provider's pushes since the start, by what became of them (see `push`)."""


def caller_of(request: Request[State]) -> str:
    """Who asks, so that callers take turns: by name, or by address where they have none."""
    return auth.caller_of(request.scope).name or auth.address_of(request.scope)
