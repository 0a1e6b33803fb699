"""What the lifespan gives every request."""

from collections import Counter
from typing import TypedDict

from starlette.types import Scope

from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.service import StatusService
from gateway.watch import Watches
from gateway.web.auth import address_of


class State(TypedDict):
    """Typed state of the application: `request.state["service"]`."""

    callers: Callers
    clock: Clock
    service: StatusService
    watches: Watches
    pushes: Counter[str]
    """The provider's pushes since the start, by what became of them (see `push`)."""


def who(scope: Scope, caller: Caller) -> str:
    """Who asks, so that callers take turns: by name, or by address where they have none."""
    return caller.name or address_of(scope)
