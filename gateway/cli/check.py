"""`smsc-gateway check`: tests settings, clients file, archive, provider, Redis without serving.

Each check is one line: what was looked at, `ok`, `caution` or `FAILED`, and one sentence where
there is more to say. The provider is asked once, for a message that does not exist.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import httpx

from gateway.app import (
    account_of,
    create_callers,
    create_engine,
    create_upstream,
    require_archive,
    require_postgres,
    require_redis,
)
from gateway.archive.archive import open_database
from gateway.archive.database import TROUBLE, NewerSchemaError, Schema
from gateway.archive.tallies import count_all
from gateway.archive.writer import short
from gateway.callers.file import ClientsFileError
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.errors import GatewayError, RateLimited, UpstreamAuthFailed, UpstreamBadAnswer
from gateway.loopback import is_loopback
from gateway.model.records import MAX_ID, DetailLevel, StatusKey
from gateway.settings import Settings, SettingsError, load
from gateway.upstream.client import create_client
from gateway.web.http.traffic import Counts

NOBODY: Final = StatusKey("70000000000", MAX_ID)
"""A message that no account has: asking for it tells nothing and costs none of ours a request."""

MAX_SKEW: Final = 2.0
"""Seconds that the clocks may differ. The provider tells its time in whole seconds; what is more
would show in how fresh a record seems, and in when tokens expire."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `about` says why it failed, or more about what is well.

    With `caution` it works, but whoever runs the gateway should know how.
    """

    name: str
    ok: bool
    about: str = ""
    caution: bool = False

    def __str__(self) -> str:
        state = "FAILED" if not self.ok else "caution" if self.caution else "ok"
        about = f": {self.about}" if self.about else ""
        return f"{self.name:<10}{state}{about}"


def check(
    environ: Mapping[str, str],
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Iterator[Finding]:
    """All findings, as they come. Without good settings there is nothing more to look at."""
    try:
        settings = load(environ)
    except SettingsError as error:
        yield Finding("settings", ok=False, about=str(error))
        return
    told = [
        Finding("settings", ok=True, about=caution, caution=True)
        for caution in cautions(settings, environ)
    ]
    yield from told or [Finding("settings", ok=True)]
    yield _clients(settings)
    yield _state(settings)
    yield _archive(settings)
    yield from _webhooks(settings)
    yield _documents(settings)
    yield _redis(settings)
    yield from asyncio.run(_provider(settings, clock or Clock(), transport))


def cautions(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """What works, but whoever runs the gateway should know: one sentence each."""
    for url in map(httpx.URL, settings.smsc_urls):
        is_plain = url.scheme == "http" and not is_loopback(url.host)
        if is_plain:
            yield f"GATEWAY_SMSC_URL: to {url.host} login and password travel unencrypted (http)."
        proxies = (f"{url.scheme}_proxy", "all_proxy")
        found = (name for name in proxies if environ.get(name) or environ.get(name.upper()))
        proxy = next(found, "")
        if proxy and not is_loopback(url.host) and not proxy_bypass(url.host):
            sees = ", which sees login and password" if is_plain else ""
            yield f"Requests to {url.host} go through the proxy of {proxy.upper()}{sees}."


def strangers(settings: Settings) -> str:
    """What callers without a key may do, in one sentence."""
    if settings.clients_file is not None and not settings.allow_anonymous:
        return "Nobody may ask without a key."
    scopes = ", ".join(sorted(settings.scopes_of_anonymous))
    if not scopes:
        return "Callers without a key may do nothing: GATEWAY_ANONYMOUS_SCOPES is empty."
    return f"Callers without a key may: {scopes}."


def _clients(settings: Settings) -> Finding:
    try:
        create_callers(settings)
    except ClientsFileError as error:
        return Finding("clients", ok=False, about=str(error))
    return Finding("clients", ok=True, about=strangers(settings))


def _state(settings: Settings) -> Finding:
    folder = settings.state_dir
    if settings.redis_url is not None:
        return Finding("state", ok=True, about="kept by Redis")
    if folder is None:
        return Finding("state", ok=True, about="kept nowhere")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        about = f"{folder} can't be written: {error.strerror}; what is spent is lost at a restart."
        return Finding("state", ok=False, about=about)
    return Finding("state", ok=True, about=str(folder))


def _archive(settings: Settings) -> Finding:
    why = settings.why_no_archive
    if why is not None:
        return Finding("archive", ok=True, about=why, caution=not settings.declines_archive)
    try:
        require_postgres(settings)
    except SettingsError as error:
        return Finding("archive", ok=False, about=str(error))
    return asyncio.run(_database(settings.archive or ""))


async def _database(url: str) -> Finding:
    """What is there, found out without changing anything: another release may still use it."""
    database = open_database(url)
    try:
        schema = await database.schema()
        await database.try_writing()
        about = f"{database.name} has {schema.value}"
        if schema is Schema.CURRENT:
            rows = await database.read(count_all)
            about = f"{database.name}, {rows:,} record{'' if rows == 1 else 's'}"
    except NewerSchemaError as error:
        return Finding("archive", ok=False, about=str(error))
    except TROUBLE as error:
        return Finding("archive", ok=False, about=f"{database.name} fails: {short(error)}.")
    finally:
        await database.aclose()
    return Finding("archive", ok=True, about=about)


def _webhooks(settings: Settings) -> Iterator[Finding]:
    """Nothing is sent: `smsc-gateway webhook test` does that."""
    try:
        callers = create_callers(settings)
        require_archive(settings, callers)
    except ClientsFileError:
        return
    except SettingsError as error:
        yield Finding("webhooks", ok=False, about=str(error))
        return
    hosts = {name: urlsplit(one.url) for name, one in callers.webhooks.items()}
    plain = [
        name
        for name, url in hosts.items()
        if url.scheme == "http" and not is_loopback(url.hostname or "")
    ]
    if plain:
        about = f"phone numbers travel unencrypted (http) to {', '.join(plain)}."
        yield Finding("webhooks", ok=True, about=about, caution=True)
    elif hosts:
        yield Finding("webhooks", ok=True, about=", ".join(hosts))


def _documents(settings: Settings) -> Finding:
    callers = Callers(None, allow_anonymous=True, fetch=_nothing)
    try:
        create_engine(settings, Counts(callers))
    except SettingsError as error:
        return Finding("documents", ok=False, about=str(error))
    if settings.trusted_documents is None:
        return Finding("documents", ok=True, about="callers may send any")
    return Finding("documents", ok=True)


def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return Finding("redis", ok=True, about="not used, this process keeps the limits alone")
    try:
        require_redis(settings)
    except SettingsError as error:
        return Finding("redis", ok=False, about=str(error))

    from gateway.replicas import look  # noqa: PLC0415 - needs an extra

    url = settings.redis_url.get_secret_value()
    ok, about = asyncio.run(look(url, account_of(settings), settings.redis_ca))
    return Finding("redis", ok=ok, about=about)


async def _nothing(url: str) -> bytes:
    raise OSError(url)


async def _provider(
    settings: Settings, clock: Clock, transport: httpx.AsyncBaseTransport | None
) -> list[Finding]:
    dates: list[str] = []
    client = create_client(
        timeout=settings.smsc_timeout,
        concurrency=1,
        transport=transport,
        on_response=lambda headers: dates.append(headers.get("date", "")),
    )
    before = clock.time()
    async with client:
        upstream = create_upstream(settings, client, clock)
        login = Finding("login", ok=True)
        try:
            await upstream.ask([NOBODY], DetailLevel.BASIC)
        except RateLimited:
            login = Finding("login", ok=True, about="right, though the limits are used up now")
        except UpstreamAuthFailed:
            about = "the provider refuses the login, its password, or this machine's address."
            login = Finding("login", ok=False, about=about)
        except UpstreamBadAnswer as error:
            about = f"{error.detail or error.title} Is GATEWAY_SMSC_URL the provider's?"
            login = Finding("login", ok=False, about=about)
        except GatewayError as error:
            login = Finding("login", ok=False, about=error.detail or f"{error.title}.")
    return [login, _clock(dates, before, clock.time())]


def _clock(dates: list[str], before: float, after: float) -> Finding:
    try:
        told = parsedate_to_datetime(dates[-1]).timestamp()
    except (IndexError, ValueError):
        return Finding("clock", ok=False, about="the provider did not tell its time.")
    ahead, behind = before - (told + 1), told - after
    if max(ahead, behind) <= MAX_SKEW:
        return Finding("clock", ok=True)
    side = "ahead of" if ahead > 0 else "behind"
    about = f"it is {max(ahead, behind):.0f} s {side} the provider's; have it set by NTP."
    return Finding("clock", ok=False, about=about)
