"""A simulated SMSC server that behaves as the provider documents it, limits included.

For `smsc-gateway demo`, for the tests, and for teams that test their own systems. It knows nothing
of the rest of the gateway.

- `model` what is told of a message, `render` the answers byte by byte, `defaults` what is told of a
  message that nobody said more of, `samples` some worth looking at, `world` messages that live in
  time, `limits` what is refused;
- `form` reads what is sent, `asked` what it asks, `sending` takes in messages, `calls` answers;
- `control` steers, with `messages`, `faults` and `checks`; `push` tells by itself, `page` is what
  it shows at its address, `app` the server.
"""

from gateway.simulator.app import create_simulator
from gateway.simulator.limits import Limits
from gateway.simulator.model import Report, not_found
from gateway.simulator.push import Handler
from gateway.simulator.render import render, render_error, render_sent
from gateway.simulator.samples import sample_world
from gateway.simulator.world import World

__all__ = [
    "Handler",
    "Limits",
    "Report",
    "World",
    "create_simulator",
    "not_found",
    "render",
    "render_error",
    "render_sent",
    "sample_world",
]
