"""The command `smsc-gateway`; its groups `client`, `archive`, `webhook` are beside it."""

import asyncio
import codecs
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import orjson
from starlette.types import ASGIApp

from gateway import __version__
from gateway.app import create_app, create_callers, prepare_archive
from gateway.callers.file import ClientsFileError
from gateway.callers.registry import Callers
from gateway.cli.archive import archive
from gateway.cli.check import cautions, check, strangers
from gateway.cli.client import client
from gateway.cli.sample import add_to, keep, sample_day
from gateway.cli.webhook import webhook
from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidArgument, NotFound
from gateway.loopback import is_loopback
from gateway.model.records import HlrLookup, Message, Record, StatusKey, parse_phone
from gateway.observability.accesslog import AccessLog
from gateway.observability.logs import configure_logging
from gateway.observability.tracing import Tracing, create_tracing
from gateway.server import CantListen, Server, address, beside, listen, run, run_reloading
from gateway.settings import Settings, SettingsError, load
from gateway.simulator import Handler, World, create_simulator, sample_world
from gateway.simulator.samples import fill
from gateway.smsc import codes, reply
from gateway.smsc.normalise import normalise
from gateway.smsc.row import Refusal, Row, whole
from gateway.web.graphql.schema import sdl
from gateway.web.http.lifetime import Lifetime
from gateway.web.http.problems import problem_of
from gateway.web.ops.export import create_export
from gateway.web.rest.document import openapi_yaml
from gateway.web.rest.fields import without_freshness
from gateway.web.rest.push import PATH as CALLBACK_PATH

if TYPE_CHECKING:
    from gateway.web.ops.otlp import MetricExport

log = logging.getLogger(__name__)

_KINDS: dict[str, type[Record]] = {"message": Message, "hlr": HlrLookup}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="smsc-gateway")
def main() -> None:
    """One clean REST and GraphQL schema for the statuses of SMSC."""


main.add_command(client)
main.add_command(archive)
main.add_command(webhook)


@main.command()
@click.option("--reload", is_flag=True, help="Start anew when its code changes: for development.")
def serve(*, reload: bool) -> None:
    """Run the gateway, with the settings of the environment (GATEWAY_…).

    SIGHUP has the clients file read anew; open requests and streams go on. SIGTERM stops it when
    all that was asked has been answered.
    """
    if reload:
        settings = _settings()
        configure_logging(settings.log_level, settings.log_format)
        run_reloading(_serve_on, _listen(settings.host, settings.port, "GATEWAY_PORT"))
    else:
        _serve_on(None)


@main.command(name="check")
@click.pass_context
def check_(context: click.Context) -> None:
    """Look whether the gateway would work with the settings of the environment.

    One line for each thing looked at: ok, caution or FAILED; status 1 if one of them fails. The
    provider is asked once, for a message that does not exist.
    """
    configure_logging("error", "auto")
    all_is_well = True
    for finding in check(os.environ):
        click.echo(str(finding))
        all_is_well = all_is_well and finding.ok
    if not all_is_well:
        context.exit(1)


def _serve_on(sockets: list[socket.socket] | None) -> None:
    """Serve, on a socket that is there already or on a new one."""
    settings = _settings()
    access_log = configure_logging(settings.log_level, settings.log_format)
    callers = _callers(settings)
    for caution in cautions(settings, os.environ):
        log.warning(caution)
    log.info(strangers(settings))
    [listening] = sockets or [_listen(settings.host, settings.port, "GATEWAY_PORT")]
    run(_serve(settings, callers, access_log, listening))


@main.command()
@click.option("--simulator-port", default=8081, show_default=True, help="0: any free one.")
def demo(simulator_port: int) -> None:
    """Run the gateway with a simulated provider and sample messages beside it.

    Its archive has a day of them, and is gone afterwards.
    """
    simulator = _listen("127.0.0.1", simulator_port, "--simulator-port")
    with _temporary_folder() as folder:
        own_archive = f"sqlite:///{folder}/archive.db"
        settings = _settings(
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
        run(_demo(settings, _callers(settings), access_log, simulator, fills_archive=is_own))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8081, show_default=True, help="0: any free one.")
@click.option(
    "--callback",
    metavar="URL",
    help="Push each change of a status to this address. With sha1=SECRET or md5=SECRET in its query"
    " the pushes are signed, as the provider does it.",
)
def simulator(host: str, port: int, callback: str | None) -> None:
    """Run the provider simulator alone; it prints what it is asked, and what it pushes."""
    configure_logging("warning", "auto")
    handler = _handler(callback)
    if not is_loopback(host):
        click.echo("Whoever reaches it can steer it: it listens beyond this machine.", err=True)
    run(_simulate(_listen(host, port, "--port"), handler, is_local=is_loopback(host)))


@main.command()
@click.option("--charset", default="utf-8", show_default=True, help="Charset of the input.")
@click.option(
    "--kind",
    type=click.Choice(sorted(_KINDS)),
    default="message",
    show_default=True,
    help="What was asked for; decides only where the answer does not show it.",
)
@click.option(
    "--timezone", default="Europe/Moscow", show_default=True, help="Of dates without one."
)
def decode(charset: str, kind: str, timezone: str) -> None:
    """Read a raw answer of the provider from stdin; write normalised JSON, one line a record.

    An id or phone that the answer does not tell is null. A refusal and "not found" are written as
    a problem. What can't be read ends with status 1 and one sentence on stderr.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.ClickException(f"--timezone: {timezone!r} is not a time zone.") from None
    try:
        codecs.lookup(charset)
        answer = reply.decode(sys.stdin.buffer.read(), charset=charset)
    except (LookupError, UnicodeError):
        raise click.ClickException(f"--charset: {charset!r} is not a charset.") from None
    except GatewayError as error:
        raise click.ClickException(error.detail or error.title) from None
    if isinstance(answer, Refusal):
        problem = problem_of(codes.refusal_error(answer.number))
        _print_json({"problem": problem.model_dump(by_alias=True)})
        return
    for row in answer:
        _print_json(_decoded(row, kind, zone))


@main.command()
def schema() -> None:
    """Print the GraphQL schema."""
    click.echo(sdl(), nl=False)


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    click.echo(openapi_yaml(), nl=False)


def _decoded(row: Row, kind: str, zone: tzinfo) -> dict[str, object]:
    """A row as REST shows it, without freshness: nobody knows when it was observed."""
    id_, phone = row.fields.get("id"), row.fields.get("phone")
    named: dict[str, object] = {"id": id_ and whole(id_), "phone": phone and _phone(phone)}
    found = normalise(
        row,
        StatusKey("", 0),
        asked=_KINDS[kind],
        zone=zone,
    )
    if found is None:
        return named | {"problem": problem_of(NotFound()).model_dump(by_alias=True)}
    return without_freshness(found.record) | named


def _phone(told: str) -> str:
    """As callers get it, whichever way the provider wrote it."""
    try:
        return parse_phone(whole(told))
    except InvalidArgument:
        return told


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


def _handler(callback: str | None) -> Handler | None:
    if callback is None:
        return None
    parts = urlsplit(callback)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.UsageError("--callback must be an http(s) address.")
    return Handler(callback)


def _print_json(value: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()


def _settings(**defaults: object) -> Settings:
    try:
        return load(os.environ, **defaults)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _callers(settings: Settings) -> Callers:
    try:
        return create_callers(settings)
    except ClientsFileError as error:
        raise click.ClickException(str(error)) from None


def _app(
    settings: Settings,
    callers: Callers,
    lifetime: Lifetime,
    access_log: AccessLog | None,
    *,
    tracing: Tracing | None = None,
    export: "MetricExport | None" = None,
) -> ASGIApp:
    try:
        return create_app(
            settings,
            callers=callers,
            lifetime=lifetime,
            access_log=access_log,
            tracing=tracing,
            export=export,
        )
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


async def _archive(settings: Settings) -> str:
    try:
        return await prepare_archive(settings)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _reload_at_hangup(callers: Callers) -> None:
    """Without a clients file SIGHUP ends the process, as it does when its terminal is closed."""
    if callers.are_known and hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, callers.reload)


def _listen(host: str, port: int, setting: str) -> socket.socket:
    try:
        return listen(host, port, setting)
    except CantListen as error:
        raise click.ClickException(str(error)) from None


async def _serve(
    settings: Settings, callers: Callers, access_log: AccessLog | None, listening: socket.socket
) -> None:
    _reload_at_hangup(callers)
    is_missed = settings.archive is None and not settings.declines_archive
    log.log(logging.WARNING if is_missed else logging.INFO, await _archive(settings))
    lifetime = Lifetime()
    tracing, export = create_tracing(os.environ), create_export(os.environ)
    app = _app(settings, callers, lifetime, access_log, tracing=tracing, export=export)
    server = Server(
        app,
        banner=f"smsc-gateway {__version__} listens on http://{address(listening)}",
        lifetime=lifetime,
        shutdown_delay=settings.shutdown_delay,
        trusted_proxies=settings.proxies,
    )
    await server.serve(sockets=[listening])


async def _simulate(listening: socket.socket, handler: Handler | None, *, is_local: bool) -> None:
    world = sample_world(Clock().time)
    app = create_simulator(world, handler=handler, echo=click.echo, is_local=is_local)
    banner = f"The provider simulator listens on http://{address(listening)}/ (look there first)"
    await Server(app, banner=banner).serve(sockets=[listening])


async def _demo(
    settings: Settings,
    callers: Callers,
    access_log: AccessLog | None,
    provider: socket.socket,
    *,
    fills_archive: bool,
) -> None:
    _reload_at_hangup(callers)
    listening = _listen(settings.host, settings.port, "GATEWAY_PORT")
    clock = Clock()
    world = World(clock.time)
    await _archive(settings)
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
    app = _app(settings, callers, lifetime, access_log)
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
