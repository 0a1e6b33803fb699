"""Every setting, once: its name, default, unit and reason.

Settings come from the environment, with the prefix `GATEWAY_`. A bad value or an unknown name
stops the start with one sentence that names it; values are never repeated (they may be secrets).
"""

import difflib
import ipaddress
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from gateway.callers.model import ALL_SCOPES, Scope
from gateway.loopback import is_loopback
from gateway.redis_url import parse

PREFIX = "GATEWAY_"

NO_ARCHIVE = "none"
"""What `ARCHIVE_URL` says where nothing is to be kept."""

MAY_BE_EMPTY = frozenset({f"{PREFIX}ANONYMOUS_SCOPES"})
"""Settings whose empty value is one of its own: who names no scope means none, not all."""

MIN_SECRET_LENGTH = 16
"""Characters of `CALLBACK_SECRET`: a fast hash is all that keeps one from being tried out."""


class SettingsError(Exception):
    """One sentence for the operator: which setting is wrong, and what it should be."""


def _number_text(value: object) -> object:
    """The environment has only text; a choice of numbers wants a number."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


class Settings(BaseModel):
    """The settings of one gateway process."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    smsc_url: str = "https://smsc.ru/sys/"
    """Comma list of the provider's addresses: the first is used, the rest when it is down."""
    smsc_login: str | None = None
    """The login at the provider, together with `SMSC_PASSWORD`."""
    smsc_password: SecretStr | None = None
    """Its password."""
    smsc_api_key: SecretStr | None = None
    """Instead of login and password."""
    smsc_format: Annotated[Literal[0, 1, 2, 3], BeforeValidator(_number_text)] = 3
    """The format asked for: 0 text, 1 comma-separated, 2 XML, 3 JSON (the richest)."""
    smsc_charset: Literal["utf-8", "windows-1251", "koi8-r"] = "utf-8"
    """The charset asked for."""
    smsc_timezone: str = "Europe/Moscow"
    """The account's time zone, of dates without one (only format 0 needs it)."""
    smsc_currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    """The account's currency, such as `RUB` (ISO 4217)."""
    smsc_timeout: float = Field(default=10, gt=0, le=300)
    """Seconds to wait for the provider's answer."""

    limit_per_message: int = Field(default=5, ge=1)
    """Status requests a window for one message (provider's page, error 9)."""
    limit_mass: int = Field(default=1, ge=0)
    """Mass requests a window; 0: never send one."""
    limit_concurrency: int = Field(default=4, ge=1)
    """Requests at the same time; the provider refuses "five or more"."""
    limit_window: float = Field(default=60, gt=0)
    """Seconds of the two windows above."""
    mass_max_ids: int = Field(default=100, ge=1, le=1000)
    """Ids in one mass request; the provider publishes no bound."""
    cache_records: int = Field(default=100_000, ge=1, le=10_000_000)
    """Records kept in memory; the least recently used go first."""
    max_wait: float = Field(default=5, ge=0, le=300)
    """Seconds a caller may wait for room in the limits."""

    state_dir: Path | None = None
    """Where one process keeps what it spent of the limits, so that a restart does not spend it
    again; by default the user's folder for state. None: nowhere."""
    redis_url: SecretStr | None = None
    """A Redis or Valkey server, by which replicas share cache, budgets and live updates:
    `redis://` or `unix://`, `redis+sentinel://` or `redis+cluster://`; over TLS with `rediss` for
    `redis`. `STATE_DIR` is not used then."""
    redis_ca: Path | None = None
    """A PEM file of authorities that may have signed its certificate, besides the system's."""
    archive_url: SecretStr | None = None
    """Where what the gateway learned is kept: `sqlite:///path`, `postgresql://…` or `none`. By
    default a file in `STATE_DIR`; replicas (`REDIS_URL`) need PostgreSQL."""
    archive_content: bool = False
    """Keep texts and comments in the archive, too."""
    archive_days: int = Field(default=90, ge=0, le=36_500)
    """Days after the last change of a record after which it leaves the archive; 0: never."""
    accounts_file: Path | None = None
    """Several accounts at the provider, in TOML, in place of `SMSC_LOGIN`: their logins, and what
    else is another for each."""
    clients_file: Path | None = None
    """The callers: their keys' hashes, scopes and quotas, in TOML; SIGHUP has it read anew."""
    callback_secret: SecretStr | None = None
    """The secret that the provider signs its pushes with, of 16 characters at least; it enables
    their address, `/v1/callbacks/smsc`."""

    graphql_introspection: bool = True
    """Answer questions about the GraphQL schema; the playground and other tools ask them."""
    graphql_federation: bool = False
    """Be a subgraph of Apollo Federation 2."""
    trusted_documents: Path | None = None
    """GraphQL documents that callers may name by the SHA-256 of their text, in a JSON file: an
    object of hashes and texts, or Apollo's manifest."""
    trusted_documents_only: bool = False
    """Refuse all other documents."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs `CLIENTS_FILE`, or
    `ALLOW_ANONYMOUS=true`."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0: any free one."""
    trusted_proxies: str | None = None
    """Comma list of addresses or networks of the proxies whose `X-Forwarded-For` and
    `X-Forwarded-Proto` are believed, such as `10.0.0.5, fd00::/8`."""
    shutdown_delay: float = Field(default=0, ge=0, le=300)
    """Seconds after SIGTERM for which everything is served as ever while `/readyz` says STOPPING:
    as long as load balancers take to notice."""
    cors_origins: str | None = None
    """Comma list of the sites whose pages may ask, such as `https://app.example.com`; `*`: any."""
    allowed_hosts: str | None = None
    """Comma list of the host names that requests may be for; `*`: any. By default loopback names
    where it listens on loopback and nobody needs a key (a page of another site can reach it there
    under a name of its own: DNS rebinding), else any."""
    allow_anonymous: bool = False
    """Serve callers without a key on any address, and beside those of `CLIENTS_FILE`."""
    anonymous_scopes: str | None = None
    """Comma list of what callers without a key may do, where they may ask at all; empty: nothing.
    By default all where only this machine can ask (it listens on loopback, without `CLIENTS_FILE`
    and `TRUSTED_PROXIES`, and `ALLOWED_HOSTS` names loopback alone), else `status:read`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """How; auto: console on a terminal, else JSON."""

    @field_validator("log_level", "log_format", "smsc_charset", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("smsc_url")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for url in value.split(","):
            parts = urlsplit(url.strip())
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("must be a comma list of http(s) addresses")
            if parts.username or parts.query or parts.fragment:
                raise ValueError("must hold no credentials, query or fragment")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        """As browsers send them, or they would never match."""
        for origin in (value or "*").split(","):
            parts = urlsplit(origin.strip())
            own = f"{parts.scheme}://{parts.netloc}"
            if origin.strip() != "*" and (not parts.netloc or own.lower() != origin.strip()):
                raise ValueError(
                    "must be * or a comma list of origins such as https://app.example.com, "
                    "in lower case and without a path"
                )
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: str | None) -> str | None:
        """As `Host` has them, without the port."""
        for name in (value or "*").split(","):
            if not _HOST_NAME.fullmatch(name.strip()):
                raise ValueError(
                    "must be * or a comma list of host names such as gateway.example.com, "
                    "without scheme and port"
                )
        return value

    @field_validator("anonymous_scopes")
    @classmethod
    def _known_scopes(cls, value: str | None) -> str | None:
        value = value and value.strip()
        for name in value.split(",") if value else ():
            if name.strip() not in list(Scope):
                raise ValueError(f"must be a comma list of scopes; there are {', '.join(Scope)}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        for one in (value or "::1").split(","):
            try:
                ipaddress.ip_network(one.strip())
            except ValueError:
                raise ValueError(
                    "must be a comma list of addresses or networks such as 10.0.0.5 or 10.0.0.0/8"
                ) from None
        return value

    @field_validator("smsc_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be a time zone such as Europe/Moscow") from None
        return value

    @field_validator("callback_secret")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        """A signature lets whoever has seen one try out secrets."""
        if value is not None and len(value.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"must have at least {MIN_SECRET_LENGTH} characters")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse(value.get_secret_value())
        return value

    @field_validator("redis_ca")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except ssl.SSLError:
                raise ValueError("must be a file of certificates in PEM") from None
            except OSError as error:
                raise ValueError(f"must be a file that can be read: {error.strerror}") from None
        return value

    @field_validator("archive_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_database(value.get_secret_value()):
            raise ValueError("must be sqlite:///path, postgresql://host/name, or none")
        return value

    @field_validator("clients_file", "accounts_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                value.open("rb").close()
            except OSError as error:
                raise ValueError(f"must be a file that can be read: {error.strerror}") from None
        return value

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.accounts_file is not None:
            own = ("smsc_login", "smsc_password", "smsc_api_key", "callback_secret")
            given = next((name for name in own if getattr(self, name) is not None), None)
            if given is not None:
                raise ValueError(
                    f"{PREFIX}{given.upper()} must not be set beside {PREFIX}ACCOUNTS_FILE: each "
                    "account there has its own"
                )
            return self
        by_login = self.smsc_login is not None and self.smsc_password is not None
        halves = (self.smsc_login is None) != (self.smsc_password is None)
        if halves or by_login == (self.smsc_api_key is not None):
            raise ValueError(
                f"{PREFIX}SMSC_LOGIN with {PREFIX}SMSC_PASSWORD, or {PREFIX}SMSC_API_KEY alone, "
                "must be set"
            )
        return self

    @model_validator(mode="after")
    def _exposure(self) -> Self:
        if not (self.allow_anonymous or self.clients_file or is_loopback(self.host)):
            raise ValueError(
                f"{PREFIX}HOST is not a loopback address, so anyone could ask: set "
                f"{PREFIX}CLIENTS_FILE to know the callers, or {PREFIX}ALLOW_ANONYMOUS=true to "
                "accept that"
            )
        return self

    @model_validator(mode="after")
    def _strangers(self) -> Self:
        for scope in (Scope.MESSAGE_DELETE, Scope.PROVIDER_OPERATE):
            if scope in self.scopes_of_anonymous and not self.is_for_local_callers:
                raise ValueError(
                    f"{PREFIX}ANONYMOUS_SCOPES must not hold {scope} where others than this "
                    f"machine can ask: give who needs it a key in {PREFIX}CLIENTS_FILE"
                )
        return self

    @model_validator(mode="after")
    def _authorities_of_tls(self) -> Self:
        url = None if self.redis_url is None else parse(self.redis_url.get_secret_value())
        if self.redis_ca is not None and (url is None or not url.is_tls):
            raise ValueError(f"{PREFIX}REDIS_CA needs a {PREFIX}REDIS_URL with TLS: rediss://…")
        return self

    @model_validator(mode="after")
    def _trust(self) -> Self:
        if self.trusted_documents_only and self.trusted_documents is None:
            raise ValueError(
                f"{PREFIX}TRUSTED_DOCUMENTS_ONLY needs {PREFIX}TRUSTED_DOCUMENTS: without them "
                "nothing could be asked"
            )
        return self

    @property
    def smsc_urls(self) -> tuple[str, ...]:
        """The addresses, each with a slash at its end."""
        return tuple(url.strip().rstrip("/") + "/" for url in self.smsc_url.split(","))

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of `cors_origins`."""
        return tuple(origin.strip() for origin in (self.cors_origins or "").split(",") if origin)

    @property
    def hosts(self) -> frozenset[str] | None:
        """The host names of `allowed_hosts`; None: loopback names."""
        if self.allowed_hosts is not None:
            return frozenset(name.strip().lower() for name in self.allowed_hosts.split(","))
        needs_no_key = self.clients_file is None or self.allow_anonymous
        return None if is_loopback(self.host) and needs_no_key else frozenset({"*"})

    @property
    def is_for_local_callers(self) -> bool:
        """Can nobody ask without a key but from this machine, and not through something on it?"""
        return (
            is_loopback(self.host)
            and self.clients_file is None
            and all(map(is_loopback, self.hosts or ()))
            and self.trusted_proxies is None
        )

    @property
    def scopes_of_anonymous(self) -> frozenset[Scope]:
        """What callers without a key may do."""
        if self.anonymous_scopes is not None:
            return frozenset(Scope(one.strip()) for one in self.anonymous_scopes.split(",") if one)
        return ALL_SCOPES if self.is_for_local_callers else frozenset({Scope.STATUS_READ})

    @property
    def archive(self) -> str | None:
        """The address of the archive's database; None: the archive is off."""
        given = None if self.archive_url is None else self.archive_url.get_secret_value()
        if given == NO_ARCHIVE:
            return None
        if given is None and self.state_dir is not None:
            given = f"sqlite:///{self.state_dir / 'archive.db'}"
        is_shared = given is not None and given.startswith("postgres")
        return given if is_shared or self.redis_url is None else None

    @property
    def declines_archive(self) -> bool:
        """Was it said that nothing is to be kept?"""
        return self.archive_url is not None and self.archive_url.get_secret_value() == NO_ARCHIVE

    @property
    def why_no_archive(self) -> str | None:
        """Why the archive is off, in one sentence; None: it is on."""
        if self.archive is not None:
            return None
        if self.declines_archive:
            return f"The archive is off: {PREFIX}ARCHIVE_URL is {NO_ARCHIVE}."
        if self.redis_url is not None:
            return f"The archive is off: several replicas need {PREFIX}ARCHIVE_URL=postgresql://…"
        return f"The archive is off: there is no {PREFIX}STATE_DIR, and no {PREFIX}ARCHIVE_URL."

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies of `trusted_proxies`."""
        return tuple(one.strip() for one in (self.trusted_proxies or "").split(",") if one)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.smsc_timezone)


def load(environ: Mapping[str, str], **defaults: object) -> Settings:
    """Read the settings from an environment; empty values count as unset, but for `MAY_BE_EMPTY`.

    `defaults` stand in for what the environment leaves out (`demo` brings its own provider).
    Raises `SettingsError`.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and (value or name in MAY_BE_EMPTY)
    }
    if unknown := sorted(set(given) - set(Settings.model_fields)):
        raise SettingsError(_unknown(unknown[0]))
    try:
        return Settings.model_validate({"state_dir": _state_folder(environ), **defaults, **given})
    except ValidationError as errors:
        raise SettingsError(_sentence(errors)) from None


def _state_folder(environ: Mapping[str, str]) -> Path:
    """The user's folder for state (XDG base directory specification)."""
    base = environ.get("XDG_STATE_HOME", "")
    folder = Path(base) if base.startswith("/") else Path(environ.get("HOME", "/"), ".local/state")
    return folder / "smsc-gateway"


def _unknown(name: str) -> str:
    similar = difflib.get_close_matches(name, Settings.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{similar[0].upper()}?" if similar else "."
    return f"{PREFIX}{name.upper()} is not a setting{hint}"


def why_unknown(name: str) -> str | None:
    """Why this variable can't be right, in one sentence: it has our prefix, and is no setting."""
    own = name.removeprefix(PREFIX).lower()
    is_known = not name.startswith(PREFIX) or own in Settings.model_fields
    return None if is_known else _unknown(own)


def _sentence(errors: ValidationError) -> str:
    first = errors.errors(include_url=False, include_input=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason.removeprefix("Input ").rstrip(".")
    name = f"{PREFIX}{str(first['loc'][0]).upper()}: " if first["loc"] else ""
    return f"{name}{reason}."


def _is_database(url: str) -> bool:
    is_file = url.startswith("sqlite:///") and len(url) > len("sqlite:///")
    if is_file or url == NO_ARCHIVE:
        return True
    try:
        parts = urlsplit(url)
        is_wrong = parts.port == 0
    except ValueError:
        return False
    return parts.scheme in {"postgresql", "postgres"} and len(parts.path) > 1 and not is_wrong


_HOST_NAME = re.compile(r"\*|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
