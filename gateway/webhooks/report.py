"""`WebhookReport`: how an address is doing, as `GET /v1/webhooks` tells it."""

from datetime import datetime
from enum import StrEnum

from gateway.model.described import Model


class WebhookState(StrEnum):
    """Whether an address is told of changes."""

    ACTIVE = "ACTIVE"
    """It is."""
    FAILING = "FAILING"
    """It took nothing since its last success; it is tried again."""
    OFF = "OFF"
    """It answered 410, or took nothing for five days: it was switched off."""


class WebhookError(Model):
    """A try that failed."""

    at: datetime
    """When that was."""
    reason: str
    """The status of the answer, or why there was none."""


class GivenUpChange(Model):
    """A change that was tried as often as one is, and is tried no more."""

    cursor: str
    """Its cursor in the feed, and the `webhook-id` it was sent with."""
    id: str
    """The id of the message, in decimal."""
    at: datetime
    """When the change was learned."""
    given_up_at: datetime
    """When its last try failed."""
    tries: int
    """How often it was tried."""
    reason: str | None = None
    """Why the last try failed."""


class WebhookReport(Model):
    """An address that is told of changes, and how far it is."""

    name: str
    """As the clients file has it."""
    client: str
    """The name of the client it belongs to."""
    url: str
    """The address, without its query."""
    state: WebhookState
    """Whether it is told of changes."""
    lag: int
    """Changes that it was not told yet; no more than 10,000 are counted."""
    oldest_undelivered: datetime | None = None
    """When the oldest of these was learned; null: it was told all."""
    last_success: datetime | None = None
    """When it last took a change."""
    last_error: WebhookError | None = None
    """The last try that failed."""
    failing_since: datetime | None = None
    """When it began to take nothing; null: it does not."""
    off_since: datetime | None = None
    """When it was switched off; null: it is on."""
    given_up: int
    """Changes that it was not told, and will not be told but by a replay."""
    latest_given_up: list[GivenUpChange]
    """The newest hundred of these."""
