"""Reads the clients file (TOML): callers with their key hashes, scopes, quotas; JWT issuer.

```toml
[[client]]
name = "billing"                   # letters, digits and ._@- ; tells callers apart, in logs too
key_sha256 = "9f86d081…"           # 64 hex digits; a list of them while a key is rotated
scopes = ["status:read"]
account = "ru"                     # with ACCOUNTS_FILE: the account, or a list of them
expires = 2027-01-01T00:00:00Z     # optional
quota_per_minute = 600             # optional: requests in any sixty seconds
max_streams = 20                   # optional: subscriptions and event streams open at a time

[[client.webhook]]                 # optional: an address of the client's that is told of changes
name = "billing-receiver"
url = "https://billing.internal/sms"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" # or a list of two
isFinal = true                     # optional: the filters of the feed, a value or a list each

[jwt]                              # optional: tokens of an issuer, beside the keys
jwks_url = "https://id.example/jwks.json"  # or jwks_file, beside this file
issuer = "https://id.example/"
audience = "smsc-gateway"          # or a list of them
scope_claim = "scope"              # the default: a list, or one text with spaces
account_claim = "account"          # with ACCOUNTS_FILE, likewise; or account for all tokens
name_claim = "sub"                 # the default
quota_per_minute = 600             # optional, of each name; max_streams as above
```

It is read strictly: what is wrong is one sentence that names the file, the entry and the fix. What
was written in place of a hash is never repeated, for it may be a key.
"""

import binascii
import difflib
import re
import stat
import tomllib
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from gateway.callers.model import Allowance, Caller, Scope, WebhookEntry
from gateway.errors import InvalidArgument
from gateway.loopback import is_loopback

KEY_PREFIX = "sgw_"
"""What a key begins with, so that people and scanners for leaked secrets know it."""

MAX_QUOTA = 100_000
"""Of `quota_per_minute`: each of so many requests is remembered for a minute. Who may ask more
often needs no quota."""

MAX_STREAMS = 10_000

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
NAME_RULE = "must be 1 to 64 letters, digits and ._@- and begin with a letter or digit"

_HASH = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class ClientsFileError(Exception):
    """One sentence for the operator: which file and entry is wrong, and what it should be."""


@dataclass(frozen=True, slots=True)
class Clients:
    """What a clients file says."""

    keys: Mapping[bytes, tuple[bytes, Caller]]
    """By the SHA-256 of the key; with that hash, to be compared."""
    callers: Mapping[str, Caller]
    """By name."""
    jwt: "JwtRules | None"
    webhooks: Mapping[str, WebhookEntry]
    """By name."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _scope(value: object) -> Scope:
    known = list(Scope)
    if value in known:
        return Scope(str(value))
    similar = difflib.get_close_matches(str(value), known, n=1)
    hint = f"did you mean {similar[0]}?" if similar else f"there are {', '.join(known)}"
    raise ValueError(f"must be scopes; {hint}")


def _digest(value: object) -> bytes:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("must be 64 hex digits, as `smsc-gateway client add` prints them")
    return bytes.fromhex(value)


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be a date and time with its offset, such as 2027-01-01T00:00:00Z")
    return value


SECRET_PREFIX = "whsec_"  # noqa: S105 - of a webhook's secret, by Standard Webhooks

SECRET_BYTES = range(24, 65)
"""How long a secret may be, by Standard Webhooks."""


def _secret(value: object) -> str:
    """What is wrong with it is told without it."""
    text = value if isinstance(value, str) else ""
    try:
        coded = text.removeprefix(SECRET_PREFIX)
        length = len(b64decode(coded + "=" * (-len(coded) % 4), validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if not text.startswith(SECRET_PREFIX) or length not in SECRET_BYTES:
        raise ValueError(
            f"must be {SECRET_PREFIX} and {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes in base64; "
            "`openssl rand -base64 32` makes some"
        )
    return text


def _filter(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _Limited(_Table):
    quota_per_minute: int | None = Field(default=None, ge=1, le=MAX_QUOTA)
    max_streams: int | None = Field(default=None, ge=0, le=MAX_STREAMS)

    @property
    def allowance(self) -> Allowance:
        return Allowance(self.quota_per_minute, self.max_streams)


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(NAME_RULE)
    return value


_Name = Annotated[str, AfterValidator(_name)]
_Accounts = Annotated[list[_Name], BeforeValidator(_listed), Field(min_length=1)]
_Filter = Annotated[
    list[Annotated[str, BeforeValidator(_filter)]],
    BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
    Field(min_length=1),
]


class _Webhook(_Table):
    name: _Name
    url: str
    secret: Annotated[
        list[Annotated[str, BeforeValidator(_secret)]],
        BeforeValidator(_listed),
        Field(min_length=1, max_length=2),
    ]
    account: _Accounts | None = None
    phone: _Filter | None = None
    kind: _Filter | None = None
    state: _Filter | None = None
    stateGroup: _Filter | None = None  # noqa: N815 - as callers name it
    isFinal: _Filter | None = None  # noqa: N815 - as above
    errorCode: _Filter | None = None  # noqa: N815 - as above
    operator: _Filter | None = None
    sender: _Filter | None = None

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            is_good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            is_good = False
        if not is_good or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("must be an http(s) address, such as https://billing.internal/sms")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must hold no user name and no password: the signature tells who asks")
        return value

    def entry(self, client: Caller) -> WebhookEntry:
        own = {"name", "url", "secret", "account"}
        given = self.model_dump(exclude=own, exclude_none=True)
        filters = {name: tuple(values) for name, values in given.items()}
        accounts = client.accounts if self.account is None else frozenset(self.account)
        return WebhookEntry(self.name, self.url, tuple(self.secret), filters, client, accounts)


class _Client(_Limited):
    name: _Name
    key_sha256: Annotated[
        list[Annotated[bytes, BeforeValidator(_digest)]], BeforeValidator(_listed)
    ] = Field(min_length=1)
    scopes: list[Annotated[Scope, BeforeValidator(_scope)]] = Field(min_length=1)
    account: _Accounts | None = None
    expires: Annotated[datetime, BeforeValidator(_moment)] | None = None
    webhook: list[_Webhook] = Field(default=[])

    @property
    def caller(self) -> Caller:
        return Caller(
            self.name,
            frozenset(self.scopes),
            self.expires.timestamp() if self.expires else None,
            self.allowance,
            None if self.account is None else frozenset(self.account),
        )


class JwtRules(_Limited):
    """Whose tokens are taken, and how they name a caller."""

    jwks_url: str | None = None
    jwks_file: str | None = None
    issuer: str = Field(min_length=1)
    audience: Annotated[list[str], BeforeValidator(_listed)] = Field(min_length=1)
    scope_claim: str = Field(default="scope", min_length=1)
    name_claim: str = Field(default="sub", min_length=1)
    account: _Accounts | None = None
    account_claim: str | None = Field(default=None, min_length=1)

    @field_validator("jwks_url")
    @classmethod
    def _safe(cls, value: str | None) -> str | None:
        """Over plain HTTP anybody on the way could bring keys of their own."""
        parts = urlsplit(value or "https://x")
        if parts.scheme != "https" and not (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        ):
            raise ValueError("must be an https address; plain http is for loopback alone")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("jwks_url or jwks_file must be given, one of them")
        if self.account is not None and self.account_claim is not None:
            raise ValueError("account or account_claim must be given, one of them")
        return self


class _File(_Table):
    client: list[_Client] = Field(default=[])
    jwt: JwtRules | None = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.client and not self.jwt:
            raise ValueError("names nobody; write a client with `smsc-gateway client add`")
        return self


CheckWebhook = Callable[[WebhookEntry], object]
"""Raises `InvalidArgument` for filters that are none."""


def read(
    path: Path, check_webhook: CheckWebhook | None = None, accounts: Sequence[str] = ()
) -> Clients:
    """What the file says; `accounts` are those there are. Raises `ClientsFileError`."""
    return parse(text_of(path), path, check_webhook, accounts)


_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def text_of(path: Path) -> str:
    """The file as text. Raises `ClientsFileError`."""
    try:
        if path.stat().st_mode & _WRITABLE_BY_OTHERS:
            raise ClientsFileError(
                f"{path} may be written by other users of this machine, who could let themselves "
                f"in: chmod go-w {path}."
            )
        return path.read_text("utf-8")
    except OSError as error:
        raise ClientsFileError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ClientsFileError(f"{path} is not UTF-8 text.") from None


def parse(
    text: str,
    path: Path,
    check_webhook: CheckWebhook | None = None,
    accounts: Sequence[str] = (),
) -> Clients:
    """What a file of this text says; `path` is how it is called in `ClientsFileError`."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClientsFileError(f"{path} is not TOML: {error}.") from None
    try:
        found = _File.model_validate(tables)
    except ValidationError as errors:
        first = errors.errors(include_url=False, include_input=False)[0]
        raise ClientsFileError(f"{path}: {_sentence(first, tables)}") from None
    keys: dict[bytes, tuple[bytes, Caller]] = {}
    callers: dict[str, Caller] = {}
    webhooks: dict[str, WebhookEntry] = {}
    for number, client in enumerate(found.client, 1):
        where, caller = f"{path}: client {number} ({client.name})", client.caller
        if caller.name in callers:
            raise ClientsFileError(f"{where}: another client has that name; change one.")
        _check_accounts(client.account, accounts, where)
        callers[caller.name] = caller
        for digest in client.key_sha256:
            if digest in keys:
                raise ClientsFileError(
                    f"{where}: key_sha256: {keys[digest][1].name} has the same key; give it to one."
                )
            keys[digest] = (digest, replace(caller, credential=digest))
        for webhook in client.webhook:
            place = f"{where}: webhook {webhook.name}"
            if webhook.name in webhooks:
                raise ClientsFileError(f"{place}: another webhook has that name; change one.")
            webhooks[webhook.name] = _entry(
                webhook, caller, check_webhook, client.account or accounts, place
            )
    if found.jwt is not None and found.jwt.account_claim is None:
        _check_accounts(found.jwt.account, accounts, f"{path}: [jwt]")
    return Clients(keys, callers, found.jwt, webhooks)


def _check_accounts(given: Sequence[str] | None, known: Sequence[str], where: str) -> None:
    """With several accounts each client names its own: what it may ask for is not guessed."""
    if given is None and len(known) <= 1:
        return
    if not known:
        raise ClientsFileError(f"{where}: account is for a gateway with GATEWAY_ACCOUNTS_FILE.")
    there = ", ".join(known)
    if given is None:
        raise ClientsFileError(f"{where}: account must name one or more of {there}.")
    if unknown := sorted(set(given) - set(known)):
        raise ClientsFileError(f"{where}: account: there is no {unknown[0]}; there are {there}.")


def _entry(
    webhook: _Webhook,
    client: Caller,
    check: CheckWebhook | None,
    accounts: Sequence[str],
    place: str,
) -> WebhookEntry:
    if webhook.account is not None:
        _check_accounts(webhook.account, accounts, place)
    entry = webhook.entry(client)
    try:
        if check is not None:
            check(entry)
    except InvalidArgument as error:
        raise ClientsFileError(f"{place}: {error.detail}") from None
    return entry


def _sentence(error: ErrorDetails, tables: Mapping[str, Any]) -> str:
    """The first thing that is wrong: where, and what it should be."""
    places = list(error["loc"])
    table = ""
    where: type[BaseModel] = _File
    if places[:1] == ["client"] and len(places) > 1:
        clients = tables["client"]
        table, where = _called("client", int(places[1]), clients), _Client
        if places[2:3] == ["webhook"] and len(places) > 3:  # noqa: PLR2004 - behind its number
            of_client = clients[int(places[1])]["webhook"]
            table += ": " + _called("webhook", int(places[3]), of_client)
            where = _Webhook
            places = places[2:]
        places = places[2:]
    elif places[:1] == ["jwt"]:
        table, where = "[jwt]", JwtRules
        places = places[1:]
    field = str(places[0]) if places else ""
    return ": ".join(part for part in (table, _reason(error, field, where)) if part)


_SENTENCES = {
    "missing": "{field} is missing.",
    "too_short": "{field} is empty.",
    "string_too_short": "{field} is empty.",
    "too_long": "{field} may have at most {max_length} values.",
    "list_type": "a {field} is written as [[{table}]], with two brackets.",
}
_TABLES = {"client": "client", "webhook": "client.webhook"}


def _reason(error: ErrorDetails, field: str, table: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        if field.startswith(KEY_PREFIX):
            return "a key stands where a field should be."
        similar = difflib.get_close_matches(field, table.model_fields, n=1, cutoff=0.4)
        hint = f"did you mean {similar[0]}?" if similar else "leave it out."
        return f"{field!r} is not known here; {hint}"
    sentence = _SENTENCES.get(error["type"])
    if sentence and (error["type"] != "list_type" or field in _TABLES):
        return sentence.format(field=field, table=_TABLES.get(field), **error.get("ctx", {}))
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    end = "" if reason.endswith("?") else "."
    return f"{field}: {reason}{end}" if field else f"{reason}{end}"


def _called(what: str, index: int, tables: Sequence[Any]) -> str:
    table = tables[index]
    name = table.get("name") if isinstance(table, dict) else None
    shown = isinstance(name, str) and NAME.fullmatch(name) and not name.startswith(KEY_PREFIX)
    return f"{what} {index + 1} ({name})" if shown else f"{what} {index + 1}"
