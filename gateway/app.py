"""The composition root: the only module that knows which parts the gateway is made of."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute, request_response
from starlette.types import ASGIApp

from gateway.accounts import Account, named, read_accounts
from gateway.archive.archive import START, Archive, open_database
from gateway.archive.database import TROUBLE, NewerSchemaError
from gateway.archive.leader import Leader
from gateway.archive.writer import short
from gateway.cache import Reading, RecordCache
from gateway.callers.fetch import fetch
from gateway.callers.model import WebhookEntry, may_ask_for
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.follows import Follows
from gateway.observability.accesslog import AccessLog
from gateway.observability.tracing import TracedProvider, Tracing
from gateway.service import StatusService
from gateway.settings import Settings, SettingsError
from gateway.smsc.query import Credentials
from gateway.store.memory import MemoryStore
from gateway.upstream.budget.journal import FileJournal, Journal
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Limits
from gateway.upstream.client import Upstream, create_client
from gateway.upstream.history import LinkRecorder
from gateway.watch import Watches
from gateway.web.graphql.documents import Documents
from gateway.web.graphql.engine import Engine
from gateway.web.graphql.federation import federated_schema
from gateway.web.graphql.schema import create_schema
from gateway.web.graphql.trusted import read_trusted
from gateway.web.graphql.view import GraphQLView
from gateway.web.graphql.websocket import WebSocketView
from gateway.web.http.auth import Authentication, wants_page
from gateway.web.http.cors import Origins
from gateway.web.http.front import Front
from gateway.web.http.hosts import Hosts
from gateway.web.http.lifetime import Lifetime
from gateway.web.http.problems import handle
from gateway.web.http.state import AccountState, State
from gateway.web.http.traffic import Counts
from gateway.web.ops.health import collect as collect_metrics
from gateway.web.pages import files as pages
from gateway.web.pages import root
from gateway.web.rest import document as docs
from gateway.web.rest import operations as api
from gateway.web.rest.feed import webhook_body
from gateway.web.rest.push import Callback
from gateway.webhooks.address import read_address
from gateway.webhooks.webhooks import Webhooks

if TYPE_CHECKING:
    from gateway.web.ops.otlp import MetricExport

log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    callers: Callers | None = None,
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    lifetime: Lifetime | None = None,
    access_log: AccessLog | None = None,
    tracing: Tracing | None = None,
    export: "MetricExport | None" = None,
) -> ASGIApp:
    """Build the gateway. `clock` and `transport` stand in for time and network in tests.

    `callers` are for who wants to have them read anew. By `lifetime` the server tells that it is
    about to stop: streams end then, for it waits until all answers have ended. `access_log` gets a
    line for each request, `tracing` a span, `export` all metrics now and then; at the end they are
    told to write what waits.
    """
    clock = clock or Clock()
    lifetime = lifetime or Lifetime()
    accounts = read_accounts(settings)
    callers = callers or create_callers(settings)
    require_archive(settings, callers)
    counts = Counts(callers)
    secret = settings.callback_secret
    secrets = {
        one.name: secret.get_secret_value()
        for one in accounts
        if (secret := one.settings.callback_secret) is not None
    }
    callback = Callback(secrets, clock, counts.pushes) if secrets else None
    engine = create_engine(settings, counts)
    require_redis(settings)
    require_postgres(settings)
    origins = Origins(settings.origins)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        try:
            async with AsyncExitStack() as open_:
                enter = open_.enter_async_context
                archives = await enter(archiving(accounts, clock))
                serve = partial(asking, transport=transport, tracing=tracing)
                rooms = {
                    one.name: await enter(serve(one, archives[one.name], callers, clock))
                    for one in accounts
                }
                await enter(leading(rooms, callers, clock))
                watches = [one["watches"] for one in rooms.values()]
                ending = asyncio.create_task(
                    _end_streams(watches, list(archives.values()), lifetime)
                )
                open_.callback(ending.cancel)
                shared = {
                    "accounts": rooms,
                    "callers": callers,
                    "clock": clock,
                    "counts": counts,
                    "lifetime": lifetime,
                }
                state = cast("State", shared | dict(rooms.get("", {})))
                await enter(exporting(export, state))
                yield state
        finally:  # here, for a server that was told to stop by a signal ends by it
            if access_log is not None:
                access_log.flush()
            senders = [one.close for one in (tracing, export) if one is not None]
            await asyncio.gather(*map(asyncio.to_thread, senders))

    resources = api.resources(api.of_push(callback) | {"getRoot": request_response(root.get_root)})
    app = Starlette(
        routes=[
            *api.routes(resources),
            *docs.routes,
            *pages.routes,
            WebSocketRoute("/{path:path}", root.no_socket),
        ],
        exception_handlers={
            404: root.no_route,
            GatewayError: handle,
            HTTPException: handle,
            Exception: handle,
        },
        lifespan=lifespan,
    )
    often = {path: one for path, one in resources.items() if "/{id}" in path}
    return Front(
        app,
        authentication=Authentication(
            callers,
            clock,
            hosts=Hosts(settings.hosts),
            origins=origins,
            also_open={"/graphql": wants_page},
        ),
        endpoints={"/graphql": GraphQLView(engine, callers, clock), **often},
        sockets={"/graphql": WebSocketView(engine, callers, clock, origins=origins)},
        origins=origins,
        clock=clock,
        traffic=counts.traffic,
        lifetime=lifetime,
        log=access_log,
        tracing=tracing,
        has_accounts=bool(named(accounts)),
    )


def create_engine(settings: Settings, counts: Counts) -> Engine:
    """Build what executes GraphQL. Raises `SettingsError` for trusted documents it can't use."""
    schema = federated_schema() if settings.graphql_federation else create_schema()
    documents = Documents(
        schema,
        introspection=settings.graphql_introspection,
        trusted=read_trusted(settings.trusted_documents),
        trusted_only=settings.trusted_documents_only,
    )
    return Engine(schema, documents, operations=counts.operations)


async def _end_streams(
    watches: Sequence[Watches], archives: Sequence[Archive | None], lifetime: Lifetime
) -> None:
    await lifetime.until_closing()
    for one in watches:
        one.end()
    for archive in archives:
        if archive is not None:
            archive.feed.end()


def create_callers(settings: Settings) -> Callers:
    """Who may ask. Raises `ClientsFileError`, and `SettingsError` for a bad file of accounts."""
    return Callers(
        settings.clients_file,
        allow_anonymous=settings.allow_anonymous,
        fetch=fetch,
        anonymous_scopes=settings.scopes_of_anonymous,
        check_webhook=read_address,
        accounts=named(read_accounts(settings)),
    )


def require_archive(settings: Settings, callers: Callers) -> None:
    """Raise `SettingsError` where webhooks are to be told of changes, and none are kept."""
    if callers.webhooks and settings.archive is None:
        raise SettingsError(f"Webhooks need the archive. {settings.why_no_archive}")


def create_journal(account: Account, clock: Clock) -> Journal:
    """Where what is spent outlives the process: one file for each login at each provider."""
    settings = account.settings
    if settings.state_dir is None:
        return Journal()
    return FileJournal(
        settings.state_dir,
        clock,
        account=account.identity,
        secret=account.secret,
        linger=settings.smsc_timeout,
    )


def create_upstream(settings: Settings, client: httpx.AsyncClient, clock: Clock) -> Upstream:
    """Build what asks the provider; it keeps to no limit by itself."""
    password, api_key = settings.smsc_password, settings.smsc_api_key
    return Upstream(
        client,
        urls=settings.smsc_urls,
        credentials=Credentials(
            login=settings.smsc_login or "",
            password=password.get_secret_value() if password else "",
            api_key=api_key.get_secret_value() if api_key else "",
        ),
        monotonic=clock.monotonic,
        fmt=settings.smsc_format,
        charset=settings.smsc_charset,
        timeout=settings.smsc_timeout,
    )


def require_redis(settings: Settings) -> None:
    """Raise `SettingsError` where a server is to be shared and the library for it is missing."""
    if settings.redis_url is not None and find_spec("redis") is None:
        raise SettingsError(
            "GATEWAY_REDIS_URL needs a package that is not installed: pip install "
            "'smsc-gateway[redis]'."
        )


def require_postgres(settings: Settings) -> None:
    """Raise `SettingsError` where PostgreSQL is to be used and the driver for it is missing."""
    is_used = settings.archive is not None and not settings.archive.startswith("sqlite")
    if is_used and find_spec("psycopg") is None:
        raise SettingsError(
            "GATEWAY_ARCHIVE_URL needs a package that is not installed: pip install "
            "'smsc-gateway[postgres]'."
        )


def create_archive(settings: Settings, clock: Clock, account: str = "") -> Archive | None:
    """The archive of an account, not opened yet; None: it is off. Raises `SettingsError`."""
    if settings.archive is None:
        return None
    require_postgres(settings)
    return Archive(
        open_database(settings.archive, account),
        clock,
        content=settings.archive_content,
        days=settings.archive_days,
    )


async def prepare_archive(settings: Settings) -> str:
    """Look at the archive before anything is served; where it is, or why it is off.

    Raises `SettingsError` where a newer release wrote it. One that is away does not stop the start.
    """
    if settings.archive is None:
        return settings.why_no_archive or ""
    require_postgres(settings)
    database = open_database(settings.archive)
    try:
        async with asyncio.timeout(START):
            await database.schema()
    except NewerSchemaError as error:
        raise SettingsError(str(error)) from None
    except TROUBLE as error:
        log.debug("the archive could not be opened: %s", short(error))  # the writer tells it
    finally:
        await database.aclose()
    return f"The archive is {database.name}."


@asynccontextmanager
async def archiving(
    accounts: Sequence[Account], clock: Clock
) -> AsyncIterator[Mapping[str, Archive | None]]:
    """The accounts' archives, open; at the end all that waits is written.

    All at a time: a database that is away takes long to be given up, once, not for each of them.
    """
    archives = {one.name: create_archive(one.settings, clock, one.name) for one in accounts}
    there = [archive for archive in archives.values() if archive is not None]
    try:
        await asyncio.gather(*[archive.open() for archive in there])
        yield archives
    finally:
        await asyncio.gather(*[archive.aclose() for archive in there])


@asynccontextmanager
async def asking(
    account: Account,
    archive: Archive | None,
    callers: Callers,
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[AccountState]:
    """All that serves an account, running."""
    settings = account.settings
    client = create_client(
        timeout=settings.smsc_timeout,
        concurrency=settings.limit_concurrency,
        transport=transport,
    )
    async with (
        client,
        serving(account, client, clock, tracing, archive=archive) as service,
    ):
        webhooks: Webhooks | None = None
        follows: Follows | None = None
        if archive is not None:
            entries = partial(_webhooks_of, account.name, callers)
            body = partial(webhook_body, service, account.name)
            webhooks = Webhooks(entries, archive, clock, body)
            follows = Follows(archive, service, clock)
        watches = Watches(service, clock)
        recorder = LinkRecorder(service.link, clock)
        recording = asyncio.create_task(recorder.run())
        try:
            yield {
                "account": account.name,
                "service": service,
                "archive": archive,
                "watches": watches,
                "webhooks": webhooks,
                "follows": follows,
                "recorder": recorder,
            }
        finally:
            recording.cancel()
            await watches.aclose()


def _webhooks_of(account: str, callers: Callers) -> dict[str, WebhookEntry]:
    """The addresses that are told of an account's changes."""
    return {
        name: one for name, one in callers.webhooks.items() if may_ask_for(one.accounts, account)
    }


@asynccontextmanager
async def leading(
    accounts: Mapping[str, AccountState], callers: Callers, clock: Clock
) -> AsyncIterator[None]:
    """What one of the processes that share the archive does for all: webhooks, and follows."""
    archive = next((one["archive"] for one in accounts.values()), None)
    if archive is None:
        yield
        return
    webhooks = [one["webhooks"] for one in accounts.values() if one["webhooks"] is not None]
    follows = [one["follows"] for one in accounts.values() if one["follows"] is not None]
    for some in webhooks:
        await some.open()

    def reload() -> None:
        for some in webhooks:
            some.reload()

    callers.on_reload = reload
    duties = [*[one.deliver for one in webhooks], *[one.keep_asking for one in follows]]
    leader = Leader(archive.database, clock, duties)
    leader.start()
    try:
        yield
    finally:
        await leader.aclose()


@asynccontextmanager
async def exporting(export: "MetricExport | None", state: State) -> AsyncIterator[None]:
    """Metrics are sent meanwhile; the last are sent when `export` is closed."""
    if export is None:
        yield
        return
    collect, traffic = partial(collect_metrics, state), state["counts"].traffic
    sending = asyncio.create_task(export.run(collect, traffic, state["clock"]))
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.wait({sending})


@asynccontextmanager
async def serving(
    account: Account,
    client: httpx.AsyncClient,
    clock: Clock,
    tracing: Tracing | None = None,
    *,
    archive: Archive | None = None,
    shared_time: Callable[[], float] | None = None,
) -> AsyncIterator[StatusService]:
    """What answers, without the web around it: alone, or together with other processes.

    `shared_time` stands in for that of the server they share.
    """
    settings = account.settings
    limits = Limits(
        per_message=settings.limit_per_message,
        mass=settings.limit_mass,
        concurrency=settings.limit_concurrency,
        window=settings.limit_window,
    )
    parts = partial(create_service, settings, client, clock, tracing=tracing, archive=archive)
    if settings.redis_url is None:
        with closing(create_journal(account, clock)) as journal:
            budget = MemoryBudget(limits, clock.monotonic, journal)
            store = MemoryStore(settings.cache_records)
            async with aclosing(parts(budget=budget, store=store)) as service:
                yield service
        return

    from gateway.replicas import Replicas  # noqa: PLC0415 - as above
    from gateway.store.redis import SharedStore  # noqa: PLC0415 - as above
    from gateway.upstream.budget.redis import SharedBudget  # noqa: PLC0415 - needs an extra

    url = settings.redis_url.get_secret_value()
    replicas = Replicas(url, account.identity, settings.redis_ca)
    timeout = settings.smsc_timeout
    shared = SharedBudget(limits, clock.monotonic, replicas, timeout=timeout, time=shared_time)
    shared_store = SharedStore(replicas, clock.time, settings.cache_records)
    service = parts(budget=shared, store=shared_store)
    shared.on_change = service.look_again
    shared_store.on_news = service.apply_update
    async with replicas, aclosing(service):
        yield service


def create_service(
    settings: Settings,
    client: httpx.AsyncClient,
    clock: Clock,
    *,
    budget: MemoryBudget,
    store: MemoryStore,
    tracing: Tracing | None,
    archive: Archive | None,
) -> StatusService:
    upstream = create_upstream(settings, client, clock)
    host = httpx.URL(settings.smsc_urls[0]).host
    return StatusService(
        upstream if tracing is None else TracedProvider(upstream, tracing, host),
        budget,
        RecordCache(store, clock, Reading(settings.zone, settings.smsc_currency), archive),
        clock,
        mass_max_ids=settings.mass_max_ids,
        max_wait=settings.max_wait,
        linger=settings.smsc_timeout,
    )
