"""The commands `smsc-gateway webhook …`: a signed test, and sending again."""

import asyncio
import secrets
import time
from contextlib import aclosing
from datetime import UTC, datetime

import click
import orjson

from gateway.accounts import read_accounts
from gateway.app import create_callers
from gateway.archive import outbox
from gateway.archive.database import Database, Schema
from gateway.callers.file import ClientsFileError
from gateway.callers.model import may_ask_for
from gateway.cli.archive import archive_settings, with_database
from gateway.cli.envfile import env_file
from gateway.cli.help import example
from gateway.errors import shortened
from gateway.settings import Settings, SettingsError
from gateway.webhooks.address import TEST, Address, read_address
from gateway.webhooks.post import Outcome, Poster


@click.group(epilog=example("smsc-gateway webhook test orders"))
def webhook() -> None:
    """Test the addresses that are told of changes; send again."""


@webhook.command(
    epilog=example(
        "smsc-gateway webhook test orders",
        "",
        "orders took it: HTTP 200, after 0.12 s.",
    )
)
@env_file
@click.argument("name")
def test(name: str) -> None:
    """Send a signed test to a webhook, and tell what it answers.

    The status is 1 if it takes it not. One that was switched off is switched on again if it takes
    the test.
    """
    settings = archive_settings()
    address = _address(settings, name)
    before = time.perf_counter()
    outcome = asyncio.run(_send_test(address))
    seconds = time.perf_counter() - before
    if not outcome.is_delivered:
        raise click.ClickException(f"{name} did not take it: {outcome}.")
    click.echo(f"{name} took it: {outcome}, after {seconds:.2f} s.")
    switched = [
        with_database(settings, lambda database: _switch_on(database, name), account)
        for account in _accounts(settings, address)
    ]
    if any(switched):
        click.echo("It was switched off; now it goes on where it stands.")


@webhook.command(epilog=example("smsc-gateway webhook replay orders --after 2026-01-15T10:00:00Z"))
@env_file
@click.argument("name")
@click.option("--after", required=True, metavar="TIME", help="Such as 2026-01-15T10:00:00Z.")
def replay(name: str, after: str) -> None:
    """Send all changes again that were learned since a time.

    They have the `webhook-id` that they had before, so that a receiver which keeps these takes
    none of them twice. A gateway that runs begins within seconds.
    """
    settings = archive_settings()
    address = _address(settings, name)
    moment = _moment(after)
    counts = [
        with_database(settings, lambda database: _replay(database, name, moment), account)
        for account in _accounts(settings, address)
    ]
    if all(count is None for count in counts):
        raise click.ClickException(f"{name} was told nothing yet: no gateway has begun with it.")
    told = sum(filter(None, counts))
    click.echo(f"{told} changes are looked through again; those that {name} wants are sent.")


def _address(settings: Settings, name: str) -> Address:
    """The webhook of this name in the clients file."""
    try:
        known = create_callers(settings).webhooks
    except (ClientsFileError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise click.ClickException(f"{shortened(name)!r} is not a webhook; {there}.")
    return read_address(known[name])


def _accounts(settings: Settings, address: Address) -> list[str]:
    """The accounts whose changes it is told."""
    names = [one.name for one in read_accounts(settings)]
    return [name for name in names if may_ask_for(address.entry.accounts, name)]


async def _send_test(address: Address) -> Outcome:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    body = orjson.dumps({"type": TEST, "timestamp": now, "data": {"webhook": address.name}})
    async with aclosing(Poster(address)) as poster:
        return await poster.post(f"test_{secrets.token_urlsafe(12)}", body)


async def _switch_on(database: Database, name: str) -> bool:
    if await database.schema() is not Schema.CURRENT:
        return False
    return await database.write(outbox.switch_on, name)


async def _replay(database: Database, name: str, after: int) -> int | None:
    if await database.schema() is not Schema.CURRENT:
        return None
    return await database.write(outbox.replay, name, after)


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter(
            "must be a time with its zone, such as 2026-01-15T10:00:00Z (RFC 3339).",
            param_hint="--after",
        )
    return int(moment.timestamp())
