"""What the lifespan gives every request."""

from typing import TypedDict

from gateway.service import StatusService


class State(TypedDict):
    """Typed state of the application: `request.state["service"]`."""

    service: StatusService
