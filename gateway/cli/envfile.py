"""The option `--env-file`: settings from a file.

Every name of the file goes into the environment, unless it is there already: `OTEL_…` or
`HTTPS_PROXY` count as well. A value is taken as it is written, without `${…}` being replaced: a
password may hold anything.
"""

import os
import stat
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import get_args

import click
from dotenv.parser import parse_stream
from pydantic import SecretStr

from gateway.settings import MAY_BE_EMPTY, PREFIX, Settings, why_unknown


def _read(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None or context.resilient_parsing:  # a shell that completes runs nothing
        return
    try:
        text = path.read_text("utf-8")
        may_be_read_by_all = path.stat().st_mode & stat.S_IROTH
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{path} is not UTF-8 text.") from None
    given = dict(_lines(path, text))
    secret = next((name for name, value in given.items() if _is_secret(name, value)), None)
    if secret and may_be_read_by_all and os.name == "posix":
        told = f"Warning: {path} holds {secret}, and all users of this machine can read it:"
        click.echo(f"{told} chmod o-r {path}.", err=True)
    os.environ.update({name: value for name, value in given.items() if not _is_set(name)})


def _lines(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """The names and values of the file; what is wrong is told with its line."""
    for found in parse_stream(StringIO(text)):
        written = found.original.string
        line = found.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if found.key is None and not found.error:
            continue  # a comment, or nothing
        if found.key is None or found.value is None or "=" in found.key or "\0" in written:
            raise click.ClickException(f"{path}, line {line}: this is not NAME=value.")
        if why := why_unknown(found.key):
            raise click.ClickException(f"{path}, line {line}: {why}")
        yield found.key, found.value


def _is_set(name: str) -> bool:
    """Has the environment a value? An empty one counts as none where `load` has it so."""
    may_be_empty = not name.startswith(PREFIX) or name in MAY_BE_EMPTY
    return name in os.environ and bool(os.environ[name] or may_be_empty)


def _is_secret(name: str, value: str) -> bool:
    """Does it hold a password? An address may have none."""
    field = Settings.model_fields.get(name.removeprefix(PREFIX).lower())
    if field is None or SecretStr not in get_args(field.annotation):
        return False
    return "@" in value or "password=" in value if name.endswith("_URL") else bool(value)


env_file = click.option(
    "--env-file",
    metavar="PATH",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_read,
    help="Settings, a line NAME=value each; what the environment has wins.",
)
"""The option, for each command that reads settings."""
