"""Builds the form sent to `status.php`: status queries and deletions, with credentials."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model.records import DetailLevel, StatusKey


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Login and password, or an API key alone; never printed."""

    login: str = ""
    password: str = ""
    api_key: str = ""

    def form(self) -> dict[str, str]:
        if self.api_key:
            return {"apikey": self.api_key}
        return {"login": self.login, "psw": self.password}

    def masked_in(self, text: str) -> str:
        """The text without them, however their letters are written, for the log."""
        for secret in filter(None, (self.password, self.api_key, self.login)):
            text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)
        return text


def status_form(
    keys: Sequence[StatusKey],
    *,
    credentials: Credentials,
    detail: DetailLevel,
    fmt: int,
    charset: str,
) -> dict[str, str]:
    """Ask for one pair as a single request, for more as a list; phone i belongs to id i.

    A single pair goes without the trailing comma that would make it a list: a list of one may
    count as a mass request, which the provider allows once a minute.
    """
    return credentials.form() | {
        "phone": ",".join(key.phone for key in keys),
        "id": ",".join(str(key.id) for key in keys),
        "fmt": str(fmt),
        "all": str(detail.all),
        "charset": charset,
    }


def delete_form(
    key: StatusKey, *, credentials: Credentials, fmt: int, charset: str
) -> dict[str, str]:
    """Delete one message: `del=1` with its phone and id (provider's page of the parameters)."""
    return credentials.form() | {
        "phone": key.phone,
        "id": str(key.id),
        "del": "1",
        "fmt": str(fmt),
        "charset": charset,
    }
