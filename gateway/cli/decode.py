"""The command `smsc-gateway decode`: what another system logged, normalised."""

import codecs
import sys
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import orjson

from gateway.cli.help import example
from gateway.errors import GatewayError, InvalidArgument, NotFound
from gateway.model.records import HlrLookup, Message, Record, StatusKey, parse_phone
from gateway.smsc import codes, reply
from gateway.smsc.normalise import normalise
from gateway.smsc.row import Refusal, Row, whole
from gateway.web.http.problems import problem_of
from gateway.web.rest.fields import without_freshness

_KINDS: dict[str, type[Record]] = {"message": Message, "hlr": HlrLookup}


@click.command(
    epilog=example('echo \'{"status": 1, "id": 7, "phone": "79990000001"}\' | smsc-gateway decode')
)
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
    """Normalise a raw answer of the provider: stdin to JSON lines.

    Each record is a line. An id or phone that the answer does not tell is null. A refusal and
    "not found" are written as a problem. What can't be read ends with status 1 and one sentence
    on stderr.
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


def _print_json(value: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()
