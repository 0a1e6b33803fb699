"""The command `smsc-gateway serve`: the gateway itself."""

import logging
import os
import socket

import click

from gateway import __version__
from gateway.callers.registry import Callers
from gateway.cli.check import cautions, strangers
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
from gateway.observability.accesslog import AccessLog
from gateway.observability.logs import configure_logging
from gateway.observability.tracing import create_tracing
from gateway.server import Server, address, run, run_reloading
from gateway.settings import Settings
from gateway.web.http.lifetime import Lifetime
from gateway.web.ops.export import create_export

log = logging.getLogger(__name__)


@click.command(epilog=example("smsc-gateway serve --env-file gateway.env"))
@env_file
@click.option("--reload", is_flag=True, help="Start anew when its code changes: for development.")
def serve(*, reload: bool) -> None:
    """Run the gateway.

    Its settings are GATEWAY_… in the environment or in a file. It prints the address it listens
    on, and logs to stderr, a line for each request.

    SIGHUP has the clients file read anew; open requests and streams go on. SIGTERM stops it when
    all that was asked has been answered.
    """
    if reload:
        settings = read_settings()
        configure_logging(settings.log_level, settings.log_format)
        run_reloading(_serve_on, open_socket(settings.host, settings.port, "GATEWAY_PORT"))
    else:
        _serve_on(None)


def _serve_on(sockets: list[socket.socket] | None) -> None:
    """Serve, on a socket that is there already or on a new one."""
    settings = read_settings()
    access_log = configure_logging(settings.log_level, settings.log_format)
    callers = read_callers(settings)
    for caution in cautions(settings, os.environ):
        log.warning(caution)
    log.info(strangers(settings))
    [listening] = sockets or [open_socket(settings.host, settings.port, "GATEWAY_PORT")]
    run(_serve(settings, callers, access_log, listening))


async def _serve(
    settings: Settings, callers: Callers, access_log: AccessLog | None, listening: socket.socket
) -> None:
    reload_at_hangup(callers)
    is_missed = settings.archive is None and not settings.declines_archive
    log.log(logging.WARNING if is_missed else logging.INFO, await ready_archive(settings))
    lifetime = Lifetime()
    tracing, export = create_tracing(os.environ), create_export(os.environ)
    app = build_app(settings, callers, lifetime, access_log, tracing=tracing, export=export)
    server = Server(
        app,
        banner=f"smsc-gateway {__version__} listens on http://{address(listening)}",
        lifetime=lifetime,
        shutdown_delay=settings.shutdown_delay,
        trusted_proxies=settings.proxies,
    )
    await server.serve(sockets=[listening])
