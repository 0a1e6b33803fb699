"""An address that is told of changes: what of, and how a body for it is signed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from standardwebhooks import Webhook

from gateway.archive.changes import FeedChange
from gateway.archive.filters import RecordFilter, read_filter
from gateway.callers.model import Caller, WebhookEntry

Body = Callable[[FeedChange, Caller], bytes]
"""The body that tells of a change, as far as a client may see it."""

CHANGED: Final = "status.changed"
TEST: Final = "webhook.test"
"""The types of what is sent."""


@dataclass(frozen=True, slots=True)
class Address:
    """An entry of the clients file, read."""

    entry: WebhookEntry
    wanted: RecordFilter
    _signers: tuple[Webhook, ...] = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def shown_url(self) -> str:
        """The address without its query, which may hold a secret."""
        scheme, host, path, *_ = urlsplit(self.entry.url)
        return urlunsplit((scheme, host, path, "", ""))

    def headers(self, id_: str, body: bytes, now: datetime) -> dict[str, str]:
        """What a body is sent with; `now` has to be in UTC.

        While one secret takes another's place it is signed with both.
        """
        text = body.decode()
        signatures = [one.sign(id_, now, text) for one in self._signers]
        return {
            "content-type": "application/json",
            "webhook-id": id_,
            "webhook-timestamp": f"{int(now.timestamp())}",
            "webhook-signature": " ".join(signatures),
        }


def read_address(entry: WebhookEntry) -> Address:
    """An entry's address; raises `InvalidArgument` for a filter that is none."""
    wanted = read_filter(entry.filters)
    return Address(entry, wanted, tuple(Webhook(secret) for secret in entry.secrets))
