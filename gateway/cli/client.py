"""The command `smsc-gateway client add`: issues an API key and its clients-file entry."""

from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.callers import write
from gateway.callers.file import MAX_QUOTA, MAX_STREAMS, NAME, NAME_RULE, ClientsFileError
from gateway.callers.model import Scope
from gateway.cli.help import example
from gateway.clock import Clock


@click.group(
    epilog=example("smsc-gateway client add billing --scope status:read --file clients.toml")
)
def client() -> None:
    """Make keys for callers.

    They are for the file of GATEWAY_CLIENTS_FILE.
    """


def _name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not NAME.fullmatch(value):
        raise click.BadParameter(f"{NAME_RULE}.")
    return value


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """A date, or a date and time, of ISO 8601; UTC where it names no offset."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("write it as 2027-01-01, or 2027-01-01T12:00:00Z.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment.timestamp() <= Clock().time():
        raise click.BadParameter("must be in the future.")
    return moment


@client.command(
    epilog=example("smsc-gateway client add billing --scope status:read --file clients.toml")
)
@click.argument("name", callback=_name)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    metavar="SCOPE",
    help=f"What it may do; once for each: {', '.join(Scope)}.",
)
@click.option(
    "--expires", metavar="DATE", callback=_moment, help="When its key ends, such as 2027-01-01."
)
@click.option("--quota", type=click.IntRange(1, MAX_QUOTA), help="Requests in any sixty seconds.")
@click.option(
    "--streams",
    type=click.IntRange(0, MAX_STREAMS),
    help="Subscriptions and event streams open at a time.",
)
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append the entry to this file, which is begun where there is none.",
)
def add(
    name: str,
    *,
    scopes: tuple[str, ...],
    expires: datetime | None,
    quota: int | None,
    streams: int | None,
    path: Path | None,
) -> None:
    """Make a key for a new caller, and its entry for the file.

    The key is printed once and kept nowhere: the file has its hash. Key and entry go to stdout,
    what is said about them to stderr.
    """
    key, key_sha256 = write.create_key()
    entry = write.entry(
        name,
        key_sha256,
        map(Scope, scopes),
        expires=expires,
        quota_per_minute=quota,
        max_streams=streams,
    )
    if path is not None:
        try:
            write.append(path, entry)
        except ClientsFileError as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"The key of {name}, which is told this once (Authorization: Bearer …):", err=True)
    click.echo(key)
    if path is None:
        click.echo("Its entry, to append to the clients file (--file does that):", err=True)
        click.echo(entry, nl=False)
    else:
        click.echo(f"Its entry is in {path}; a gateway that runs reads it at SIGHUP.", err=True)
