"""The command `smsc-gateway demo`: the gateway with a simulated provider beside it."""

import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import click

from gateway.callers.registry import Callers
from gateway.cli.common import (
    build_app,
    open_socket,
    read_callers,
    read_settings,
    ready_archive,
    reload_at_hangup,
)
from gateway.cli.envfile import env_file
from gateway.cli.help import example
from gateway.cli.sample import add_to, keep, sample_day
from gateway.clock import Clock
from gateway.observability.accesslog import AccessLog
from gateway.observability.logs import configure_logging
from gateway.server import Server, address, beside, run
from gateway.settings import Settings
from gateway.simulator import Handler, World, create_simulator
from gateway.simulator.samples import fill
from gateway.web.http.lifetime import Lifetime
from gateway.web.rest.push import PATH as CALLBACK_PATH


@click.command(
    epilog=example(
        "smsc-gateway demo",
        "curl 'http://127.0.0.1:8080/v1/messages/1?phone=79990000001'",
    )
)
@env_file
@click.option("--simulator-port", default=8081, show_default=True, help="0: any free one.")
def demo(simulator_port: int) -> None:
    """Run the gateway with a simulated provider; it needs no account.

    It prints the addresses to open, calls to paste, and then what the provider is asked. Its
    archive has a day of sample messages, and is gone afterwards.
    """
    simulator = open_socket("127.0.0.1", simulator_port, "--simulator-port")
    with _temporary_folder() as folder:
        own_archive = f"sqlite:///{folder}/archive.db"
        settings = read_settings(
            smsc_url=f"http://{address(simulator)}/sys/",
            smsc_login="demo",
            smsc_password="demo",  # noqa: S106 - of the simulated account
            smsc_currency="RUB",
            callback_secret=secrets.token_urlsafe(),
            log_level="warning",
            state_dir=None,  # the simulated provider forgets as well
            archive_url=own_archive,
        )
        access_log = configure_logging(settings.log_level, settings.log_format)
        is_own = settings.archive == own_archive
        run(_demo(settings, read_callers(settings), access_log, simulator, fills_archive=is_own))


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder that is gone at the end, also where a signal ends the process.

    The server gives back a signal that stopped it, which would end the process there and then. A
    terminal that is closed ends it as SIGTERM does.
    """
    ended_by: list[int] = []

    def end(number: int, _: object) -> None:
        ended_by.append(number)
        raise KeyboardInterrupt

    def hang_up(_: int, __: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end)}
    if hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        with tempfile.TemporaryDirectory(prefix="smsc-gateway-demo-") as folder:
            yield folder
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for number in ended_by:
            signal.raise_signal(number)


async def _demo(
    settings: Settings,
    callers: Callers,
    access_log: AccessLog | None,
    provider: socket.socket,
    *,
    fills_archive: bool,
) -> None:
    reload_at_hangup(callers)
    listening = open_socket(settings.host, settings.port, "GATEWAY_PORT")
    clock = Clock()
    world = World(clock.time)
    await ready_archive(settings)
    if fills_archive and settings.archive is not None:  # not one that somebody uses
        lives = sample_day(clock.time())
        add_to(world, lives)
        await keep(lives, settings.archive, clock.time(), settings.zone)
    fill(world)
    secret = settings.callback_secret
    url = f"http://{address(listening)}{CALLBACK_PATH}"
    # As the README has it entered in the provider's settings.
    handler = Handler(f"{url}?sha1={quote(secret.get_secret_value(), safe='')}") if secret else None
    simulator = create_simulator(
        world,
        handler=handler,
        echo=lambda line: click.echo(f"  provider  {line}"),
        is_local=True,
    )
    banner = _DEMO.format(gateway=address(listening), provider=address(provider))
    lifetime = Lifetime()
    app = build_app(settings, callers, lifetime, access_log)
    async with beside(simulator, provider):
        proxies = settings.proxies
        server = Server(app, banner=banner, lifetime=lifetime, trusted_proxies=proxies)
        await server.serve(sockets=[listening])


_DEMO = """\
The gateway, with a simulated provider beside it.

  Gateway    http://{gateway}/console  the console: what becomes of messages, for people
             http://{gateway}/graphql  GraphQL; in a browser, with a playground
             http://{gateway}/docs     the REST API, to read and to try
  Provider   http://{provider}/         the simulator: its samples, and how to steer it

Three calls to paste:

  curl 'http://{gateway}/v1/messages/1?phone=79990000001&fields=state,text,cost'

  curl 'http://{gateway}/v1/hlr-lookups/2?phone=79990000001&fields=reachability,homeNetwork'

  curl http://{gateway}/graphql -H 'content-type: application/json' -d \\
    '{{"query":"{{ message(id: 100, phone: \\"79990000100\\") {{ state isFinal }} }}"}}'

The last 24 hours, as the archive has them: http://{gateway}/v1/records?state=UNDELIVERABLE, or
http://{gateway}/v1/records/summary, counted. What changes, as it does:

  curl -N -H 'accept: text/event-stream' 'http://{gateway}/v1/changes?after=now&fields=state'

Message 100 is on its way: ask again and again for a minute. Below, what the provider is asked,
and what it pushes to the gateway by itself.
"""
