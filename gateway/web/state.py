"""What the lifespan gives every request."""

from typing import TypedDict

from starlette.requests import Request

from gateway.service import StatusService
from gateway.watch import Watches
from gateway.web import auth
from gateway.web.counts import Counts
from gateway.web.lifetime import Lifetime


class State(TypedDict):
    """Typed state of the application: `request.state["service"]`."""

    service: StatusService
    watches: Watches
    counts: Counts
    lifetime: Lifetime


def caller_of(request: Request[State]) -> str:
    """Who asks, so that callers take turns: by name, or by address where they have none."""
    return auth.caller_of(request.scope).name or auth.address_of(request.scope)
