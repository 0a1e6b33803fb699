"""The command `smsc-gateway simulator`: the simulated provider alone."""

import socket
from urllib.parse import urlsplit

import click

from gateway.cli.common import open_socket
from gateway.cli.help import example
from gateway.clock import Clock
from gateway.loopback import is_loopback
from gateway.observability.logs import configure_logging
from gateway.server import Server, address, run
from gateway.simulator import Handler, create_simulator, sample_world


@click.command(
    epilog=example(
        "smsc-gateway simulator --port 8081",
        "export GATEWAY_SMSC_URL=http://127.0.0.1:8081/sys/",
        "export GATEWAY_SMSC_LOGIN=demo GATEWAY_SMSC_PASSWORD=demo",
        "smsc-gateway serve",
    )
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8081, show_default=True, help="0: any free one.")
@click.option(
    "--callback",
    metavar="URL",
    help="Push each change of a status to this address. With sha1=SECRET or md5=SECRET in its query"
    " the pushes are signed, as the provider does it.",
)
def simulator(host: str, port: int, callback: str | None) -> None:
    """Run the simulated provider alone.

    It prints its address, where a page tells what it knows and how to steer it, then what it is
    asked, and what it pushes.
    """
    configure_logging("warning", "auto")
    handler = _handler(callback)
    if not is_loopback(host):
        click.echo("Whoever reaches it can steer it: it listens beyond this machine.", err=True)
    run(_simulate(open_socket(host, port, "--port"), handler, is_local=is_loopback(host)))


def _handler(callback: str | None) -> Handler | None:
    if callback is None:
        return None
    parts = urlsplit(callback)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.UsageError("--callback must be an http(s) address.")
    return Handler(callback)


async def _simulate(listening: socket.socket, handler: Handler | None, *, is_local: bool) -> None:
    world = sample_world(Clock().time)
    app = create_simulator(world, handler=handler, echo=click.echo, is_local=is_local)
    banner = f"The provider simulator listens on http://{address(listening)}/ (look there first)"
    await Server(app, banner=banner).serve(sockets=[listening])
