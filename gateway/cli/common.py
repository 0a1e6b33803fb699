"""What several commands begin with; what stands in the way is told in one sentence."""

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import click
from starlette.types import ASGIApp

from gateway.app import create_app, create_callers, prepare_archive
from gateway.callers.file import ClientsFileError
from gateway.callers.registry import Callers
from gateway.observability.accesslog import AccessLog
from gateway.observability.tracing import Tracing
from gateway.server import CantListen, listen
from gateway.settings import Settings, SettingsError, load
from gateway.web.http.lifetime import Lifetime

if TYPE_CHECKING:
    from gateway.web.ops.otlp import MetricExport


def read_settings(**defaults: object) -> Settings:
    try:
        return load(os.environ, **defaults)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def read_callers(settings: Settings) -> Callers:
    try:
        return create_callers(settings)
    except (ClientsFileError, SettingsError) as error:
        raise click.ClickException(str(error)) from None


def build_app(
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


async def ready_archive(settings: Settings) -> str:
    """Bring its schema up to date; where it is, in one sentence."""
    try:
        return await prepare_archive(settings)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def reload_at_hangup(callers: Callers) -> None:
    """Without a clients file SIGHUP ends the process, as it does when its terminal is closed."""
    if callers.are_known and hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, callers.reload)


def open_socket(host: str, port: int, setting: str) -> socket.socket:
    try:
        return listen(host, port, setting)
    except CantListen as error:
        raise click.ClickException(str(error)) from None
