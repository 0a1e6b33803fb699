"""The accounts at the provider: one by the environment, or several by `ACCOUNTS_FILE` (TOML).

```toml
[[account]]
name = "ru"                        # letters, digits and ._@- ; callers choose by it
login = "acme"                     # with its password; or api_key alone
password = "…"
callback_secret = "…"              # optional: takes the account's pushes; each has its own

[[account]]
name = "kz"
api_key = "…"
url = "https://smsc.kz/sys/"       # optional, as all that follows: what stands in no account is
format = 3                         # for all of them as the settings have it
charset = "utf-8"
timezone = "Asia/Almaty"
currency = "KZT"
timeout = 10
limit_per_message = 5
limit_mass = 1
limit_concurrency = 4
limit_window = 60
mass_max_ids = 100
```

It is read strictly, as the clients file is: what is wrong is one sentence that names the file, the
account and the fix, and repeats no value.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from gateway.callers.file import NAME, NAME_RULE, ClientsFileError, text_of
from gateway.settings import Settings, SettingsError

OF_ACCOUNT: Final = {
    "url": "smsc_url",
    "login": "smsc_login",
    "password": "smsc_password",
    "api_key": "smsc_api_key",
    "format": "smsc_format",
    "charset": "smsc_charset",
    "timezone": "smsc_timezone",
    "currency": "smsc_currency",
    "timeout": "smsc_timeout",
    "limit_per_message": "limit_per_message",
    "limit_mass": "limit_mass",
    "limit_concurrency": "limit_concurrency",
    "limit_window": "limit_window",
    "mass_max_ids": "mass_max_ids",
    "callback_secret": "callback_secret",
}
"""What an account may say, and the setting that it says it for."""


class Account(NamedTuple):
    """An account at the provider, and the settings by which the gateway asks for it."""

    name: str
    """Empty where there is but one, by the environment."""
    settings: Settings

    @property
    def identity(self) -> str:
        """What tells logins at providers apart."""
        return f"{self.settings.smsc_urls[0]} {self.settings.smsc_login or self.secret}"

    @property
    def secret(self) -> str:
        """Its password or API key."""
        secret = self.settings.smsc_password or self.settings.smsc_api_key
        return secret.get_secret_value() if secret else ""


def read_accounts(settings: Settings) -> Sequence[Account]:
    """The accounts of the file, or the one of the environment. Raises `SettingsError`."""
    path = settings.accounts_file
    if path is None:
        return [Account("", settings)]
    try:
        tables = tomllib.loads(text_of(path))
    except ClientsFileError as error:
        raise SettingsError(str(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from None
    if unknown := sorted(set(tables) - {"account"}):
        raise SettingsError(f"{path}: {unknown[0]!r} is not known here; there is [[account]].")
    listed = tables.get("account")
    if not isinstance(listed, list) or not listed:
        raise SettingsError(f"{path}: an account is written as [[account]], with two brackets.")
    accounts: list[Account] = []
    for number, table in enumerate(listed, 1):
        account = _account(settings, table, f"{path}: account {number}")
        _check_alone(account, accounts, f"{path}: account {number} ({account.name})")
        accounts.append(account)
    return accounts


def _account(settings: Settings, table: Mapping[str, Any], where: str) -> Account:
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise SettingsError(f"{where}: name {NAME_RULE}.")
    where = f"{where} ({name})"
    if unknown := sorted(set(table) - set(OF_ACCOUNT) - {"name"}):
        similar = difflib.get_close_matches(unknown[0], OF_ACCOUNT, n=1)
        hint = f"did you mean {similar[0]}?" if similar else "leave it out."
        raise SettingsError(f"{where}: {unknown[0]!r} is not known here; {hint}")
    by_login = "login" in table and "password" in table
    if ("login" in table) != ("password" in table) or by_login == ("api_key" in table):
        raise SettingsError(f"{where}: login with password, or api_key alone, must be given.")
    of_all = settings.model_dump(exclude_unset=True, exclude={"accounts_file"})
    own = {OF_ACCOUNT[given]: value for given, value in table.items() if given != "name"}
    try:
        return Account(name, Settings.model_validate({**of_all, **own}))
    except ValidationError as errors:
        first = errors.errors(include_url=False, include_input=False)[0]
        wrong = next((one for one, of in OF_ACCOUNT.items() if of in first["loc"]), "")
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
        raise SettingsError(f"{where}: {wrong}: {reason}.") from None


def _check_alone(account: Account, others: Sequence[Account], where: str) -> None:
    """Two accounts of one login would break its limits, each keeping them alone."""
    for other in others:
        if other.name == account.name:
            raise SettingsError(f"{where}: another account has that name; change one.")
        if other.identity == account.identity:
            raise SettingsError(f"{where}: {other.name} has the same login; leave one of them out.")
        secret = account.settings.callback_secret
        if secret is not None and secret == other.settings.callback_secret:
            raise SettingsError(
                f"{where}: callback_secret: {other.name} has the same, and by it a push tells "
                "whose it is; give each account its own."
            )


def named(accounts: Sequence[Account]) -> tuple[str, ...]:
    """The names that callers may choose by; none where there is but the environment's."""
    return tuple(one.name for one in accounts if one.name)
