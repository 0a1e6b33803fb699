"""The commands `smsc-gateway archive …`: what is kept, erasing a number, importing old records."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final, TypeVar

import click
import orjson

from gateway.accounts import named, read_accounts
from gateway.app import require_postgres
from gateway.archive import adopting
from gateway.archive.adopting import OccupiedError
from gateway.archive.archive import (
    DAY,
    Rows,
    accounts_in,
    count_phones,
    erase_phones,
    open_database,
    spellings_of,
)
from gateway.archive.database import TROUBLE, Database, NewerSchemaError, Schema
from gateway.archive.importing import Learned, bring_in, read_line
from gateway.archive.names import Names
from gateway.archive.stats import ArchiveStats, stats_of
from gateway.archive.writer import BATCH, short
from gateway.cli.envfile import env_file
from gateway.cli.help import example
from gateway.clock import Clock
from gateway.errors import InvalidArgument
from gateway.model.records import parse_phone
from gateway.observability.logs import configure_logging
from gateway.settings import Settings, SettingsError, load

T = TypeVar("T")

_CLEAR_LINE: Final = "\r\x1b[K"


@click.group(epilog=example("smsc-gateway archive stats"))
def archive() -> None:
    """Count, erase and import what the gateway keeps."""


@archive.command(
    epilog=example(
        "smsc-gateway archive stats",
        "",
        "archive   sqlite:////var/lib/smsc-gateway/archive.db",
        "records   1,024",
        "changes   2,310",
        "…",
        "message   DELIVERED    980",
    )
)
@env_file
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def stats(*, as_json: bool) -> None:
    """Tell what is kept: where, how much, since when, which states."""
    found = with_database(archive_settings(), _stats)
    if as_json:
        click.echo(orjson.dumps(found.model_dump(mode="json", by_alias=True)))
        return
    click.echo("\n".join(_lines(found)))


@archive.command(
    epilog=example(
        "smsc-gateway archive erase --phone 79990000001 --yes",
        "",
        "Erased: 1 record and 3 changes of state.",
    )
)
@env_file
@click.option("--phone", required=True, help="The number, or the e-mail address.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
def erase(phone: str, *, yes: bool) -> None:
    """Remove all records of a number, and their changes.

    The files hold nothing of it afterwards. A gateway that runs keeps what it has in memory until
    it stops, and archives what it learns of the number from now on.
    """
    try:
        wanted = parse_phone(phone)
    except InvalidArgument as error:
        raise click.BadParameter(error.detail or "", param_hint="--phone") from None
    with_database(archive_settings(), lambda database: _erase(database, wanted, is_asked=not yes))


@archive.command(
    name="import",
    epilog=example(
        "smsc-gateway decode < answer.json | smsc-gateway archive import -",
        "",
        "Imported: 600 lines.",
    ),
)
@env_file
@click.argument("file", type=click.File("rb"))
@click.option("--account", metavar="NAME", help="Whose they are, of several (ACCOUNTS_FILE).")
@click.pass_context
def import_(context: click.Context, file: IO[bytes], account: str | None) -> None:
    """Bring in records of elsewhere: JSON lines of `decode`.

    `-` is stdin. What is kept and newer stays as it is, so it does no harm to import a file again.
    A line that can't be read is told and left out; the status is 1 then.
    """
    settings = archive_settings()
    name = _account(settings, account)
    importer = _Importer(settings, file)
    with_database(settings, importer.run, name)
    click.echo(importer.told())
    if importer.wrong:
        context.exit(1)


@archive.command(
    epilog=example(
        "smsc-gateway archive adopt ru",
        "",
        "1,204 records belong to ru now.",
    )
)
@env_file
@click.argument("account")
def adopt(account: str) -> None:
    """Give one of several accounts what was kept before.

    While there was but one account it had no name; those of ACCOUNTS_FILE have.

    Stop the gateways first: what they keep meanwhile would still have no name.
    """
    settings = archive_settings()
    name = _account(settings, account)
    try:
        count = with_database(settings, _adopt, name)
    except OccupiedError:
        raise click.ClickException(
            f"{name} has records of its own already; only an account without any can adopt."
        ) from None
    click.echo(f"{_many(count, 'record')} belong to {name} now.")


async def _adopt(database: Database) -> int:
    await database.migrate()
    return await database.write(adopting.adopt)


def archive_settings() -> Settings:
    """Those of the environment, with which there is an archive."""
    configure_logging("error", "auto")
    try:
        settings = load(os.environ)
        require_postgres(settings)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if settings.why_no_archive is not None:
        raise click.ClickException(settings.why_no_archive)
    return settings


def _account(settings: Settings, given: str | None) -> str:
    """The account whose records are brought in: one of several has to be named."""
    try:
        names = named(read_accounts(settings))
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if given is None and len(names) <= 1:
        return names[0] if names else ""
    if given not in names:
        there = f"one of {', '.join(names)}" if names else "left out: there is but one account"
        raise click.BadParameter(f"must be {there}.", param_hint="--account")
    return given


def with_database(
    settings: Settings, work: Callable[[Database], Awaitable[T]], account: str = ""
) -> T:
    """Do it with the account's database; what stands in the way is told in one sentence."""

    async def main() -> T:
        assert settings.archive is not None  # noqa: S101 - see `archive_settings`
        database = open_database(settings.archive, account)
        try:
            return await work(database)
        except NewerSchemaError as error:
            raise click.ClickException(str(error)) from None
        except TROUBLE as error:
            told = f"The archive ({database.name}) can't be used: {short(error)}."
            raise click.ClickException(told) from None
        finally:
            await database.aclose()

    return asyncio.run(main())


async def _stats(database: Database) -> ArchiveStats:
    schema = await database.schema()
    if schema is Schema.MISSING:
        return ArchiveStats(database=database.name, records=0, changes=0, bytes=0, states=[])
    if schema is Schema.OLDER:
        raise click.ClickException(f"The archive ({database.name}) has {schema.value}.")
    return await stats_of(database)


def _lines(found: ArchiveStats) -> Iterator[str]:
    """The counts in a few aligned lines."""
    told = {
        "archive": found.database,
        "records": f"{found.records:,}",
        "changes": f"{found.changes:,}",
        "size": f"{found.bytes / 1e6:,.1f} MB",
        "oldest": "–" if found.oldest is None else f"{found.oldest:%Y-%m-%d %H:%M:%SZ}",
        "newest": "–" if found.newest is None else f"{found.newest:%Y-%m-%d %H:%M:%SZ}",
    }
    for name, value in told.items():
        yield f"{name:<10}{value}"
    digits = max((len(f"{one.count:,}") for one in found.states), default=0)
    for one in found.states:
        yield f"{one.kind:<10}{one.state:<14}{one.count:>{digits},}"


async def _erase(database: Database, phone: str, *, is_asked: bool) -> None:
    """In all accounts: who wants to be forgotten knows of none of them."""
    await database.migrate()
    spellings: dict[str, list[str]] = {}
    found = []
    for name in await database.read(accounts_in):
        database.account = name
        spellings[name] = await database.read(spellings_of, phone)
        found.append(await database.read(count_phones, spellings[name]))
    if is_asked and any(one.records for one in found):
        click.confirm(f"{_counted(found)} of {phone} will be gone. Erase them?", abort=True)
    erased = []
    for name, spelled in spellings.items():
        database.account = name
        erased.append(await erase_phones(database, spelled))
    click.echo(f"Erased: {_counted(erased)}.")
    for path in database.put_aside():
        click.echo(f"{path} was damaged and put aside: it may hold the number, too.", err=True)


def _counted(rows: Iterable[Rows]) -> str:
    records, changes = map(sum, zip(Rows(0, 0), *rows, strict=True))
    return f"{_many(records, 'record')} and {_many(changes, 'change')} of state"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


class _Importer:
    """Reads lines, and brings their records in."""

    def __init__(self, settings: Settings, file: IO[bytes]) -> None:
        self._content = settings.archive_content
        self._days = settings.archive_days
        self._file = file
        self._names = Names()
        self._now = Clock().time()
        self._oldest = self._now - self._days * DAY
        self._is_terminal = sys.stderr.isatty()
        self.taken = self.empty = self.wrong = self.old = 0

    async def run(self, database: Database) -> None:
        await database.migrate()
        batch: list[Learned] = []
        for number, line in enumerate(self._lines(), 1):
            if not line.strip():
                continue
            learned = self._read(number, line)
            if learned is not None:
                batch.append(learned)
            if len(batch) >= BATCH:
                await self._bring_in(database, batch)
                batch = []
        await self._bring_in(database, batch)

    def told(self) -> str:
        """How it went, in one line."""
        told = f"Imported: {_many(self.taken, 'line')}."
        if self.empty:
            told += f" Left out: {_many(self.empty, 'problem')}, which is no record."
        if self.wrong:
            told += f" Wrong: {_many(self.wrong, 'line')}."
        if self.old:
            told += (
                f" Older than {self._days:,} days: {_many(self.old, 'line')}; a gateway deletes "
                "what is so old, unless GATEWAY_ARCHIVE_DAYS is more, or 0."
            )
        return told

    def _read(self, number: int, line: bytes) -> Learned | None:
        try:
            learned = read_line(line, self._now)
        except ValueError as error:
            self.wrong += 1
            clear = _CLEAR_LINE if self._is_terminal else ""
            click.echo(f"{clear}Line {number:,}: {error}.", err=True)
            return None
        if learned is None:
            self.empty += 1
        elif self._days and learned.at < self._oldest:
            self.old += 1
        return learned

    async def _bring_in(self, database: Database, batch: list[Learned]) -> None:
        if batch:
            await bring_in(database, self._names, batch, content=self._content)
            self.taken += len(batch)

    def _lines(self) -> Iterator[bytes]:
        """The lines; on a terminal it is shown how far they are read."""
        with self._progress() as advance:
            for line in self._file:
                yield line
                advance(len(line))

    @contextmanager
    def _progress(self) -> Iterator[Callable[[int], None]]:
        try:
            size = os.fstat(self._file.fileno()).st_size
        except OSError:  # what is given by a test is no file
            size = 0
        with click.progressbar(
            length=size, label="Importing", file=sys.stderr, hidden=not (self._is_terminal and size)
        ) as bar:
            yield bar.update
