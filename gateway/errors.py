"""The exception hierarchy: every error of the gateway's own, with its code; knows no HTTP.

```
GatewayError
├── CallerError                 the request has to change
│   ├── InvalidArgument         bad id, phone, field name, body, length; provider error 1
│   ├── Unauthenticated         no credentials, or wrong ones
│   ├── Forbidden               not in the caller's scopes; a push without a right signature
│   ├── QuotaExceeded           the caller is over its own quota
│   ├── QueryTooComplex         a GraphQL operation past its limits
│   ├── NotFound                the provider knows nothing of this pair (-3); no such follow
│   ├── RouteNotFound           no such address
│   ├── HostNotAllowed          asked under a host name that is not the gateway's
│   ├── ArchiveOff              lists and history, where nothing is kept
│   ├── CursorExpired           a cursor of the feed is older than what is kept
│   ├── KindMismatch            a lookup asked as a message, or the other way
│   └── NotCached               `only-if-cached`, and nothing usable is cached
├── LimitReached                a request the provider's limits do not allow now
│   └── RateLimited             provider error 9, or our own budget spent
├── ProviderRefused             the provider answered with an error number
│   ├── DeleteRefused           5
│   ├── UpstreamAuthFailed      2
│   ├── UpstreamBlocked         4
│   └── UpstreamError           any other number
├── TransportFailed             no answer that could be read
│   ├── UpstreamBadAnswer       bytes in no known format
│   ├── UpstreamUnreachable     no connection, HTTP 5xx
│   └── UpstreamTimeout         no answer in time
└── Overloaded                  queue full, shutting down
```

A leaf names itself by `code`, the same in REST and GraphQL; `web/problems.py` gives each leaf
its HTTP status. `detail` is written for the caller: it never holds credentials, message texts
or the provider's own words (they may name the login or our address).
"""

from enum import StrEnum
from typing import ClassVar, Final, Self

MAX_ECHOED: Final = 64
"""Characters of a caller's value that a message repeats."""


def shortened(text: str, most: int = MAX_ECHOED) -> str:
    """A caller's value as a message may repeat it."""
    return text if len(text) <= most else f"{text[:most]}…"


class Limit(StrEnum):
    """Which of the provider's limits stands in the way (provider's page, error 9)."""

    PER_MESSAGE = "PER_MESSAGE"
    MASS = "MASS"
    CONCURRENCY = "CONCURRENCY"
    UNKNOWN = "UNKNOWN"


class GatewayError(Exception):
    """The root. Only leaves are raised; each has a `code`, a `title`, and says if a retry helps.

    `retry_after` is in seconds from the moment of the error; `provider_code` is the provider's
    error number where it gave one.
    """

    code: ClassVar[str]
    title: str
    retryable: bool = False

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: float | None = None,
        provider_code: int | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.retry_after = retry_after
        self.provider_code = provider_code


class CallerError(GatewayError):
    """The caller's request has to change before it can succeed."""


class InvalidArgument(CallerError):
    code = "INVALID_ARGUMENT"
    title = "The request is not valid"


class Unauthenticated(CallerError):
    code = "UNAUTHENTICATED"
    title = "Valid credentials are required"


class Forbidden(CallerError):
    """`scope` is the one that is missing, where one is."""

    code = "FORBIDDEN"
    title = "The caller is not allowed to do this"

    def __init__(self, detail: str | None = None, *, scope: str | None = None) -> None:
        super().__init__(detail)
        self.scope = scope


class QuotaExceeded(CallerError):
    code = "QUOTA_EXCEEDED"
    title = "The caller is over its quota"
    retryable = True

    @classmethod
    def always(cls, detail: str) -> Self:
        """The quota is too small for such a request at any time."""
        error = cls(detail)
        error.retryable = False
        return error


class QueryTooComplex(CallerError):
    code = "QUERY_TOO_COMPLEX"
    title = "The GraphQL operation is too large"


class NotFound(CallerError):
    code = "NOT_FOUND"
    title = "The provider knows no such message"

    def __init__(
        self,
        detail: str = "The provider knows no message with this id and phone.",
        *,
        title: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.title = title or self.title


class RouteNotFound(CallerError):
    code = "ROUTE_NOT_FOUND"
    title = "There is no such address"


class HostNotAllowed(CallerError):
    code = "HOST_NOT_ALLOWED"
    title = "The request is for another host"


class ArchiveOff(CallerError):
    code = "ARCHIVE_OFF"
    title = "The archive is off"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or "Nothing is kept here; GATEWAY_ARCHIVE_URL changes that.")


class CursorExpired(CallerError):
    code = "CURSOR_EXPIRED"
    title = "The cursor is older than what is kept"

    def __init__(self) -> None:
        super().__init__(
            "Changes behind this cursor are not kept any more, so some may have been missed: begin "
            "anew without `after`, and read the records themselves."
        )


class KindMismatch(CallerError):
    code = "KIND_MISMATCH"
    title = "The id belongs to the other kind of record"


class NotCached(CallerError):
    code = "NOT_CACHED"
    title = "Nothing usable is cached"


class LimitReached(GatewayError):
    """A limit of the provider stands in the way; waiting helps."""

    retryable = True


class RateLimited(LimitReached):
    code = "RATE_LIMITED"
    title = "The provider's limit is reached"

    def __init__(
        self,
        detail: str | None = None,
        *,
        limit: Limit,
        retry_after: float | None = None,
        provider_code: int | None = None,
    ) -> None:
        super().__init__(detail, retry_after=retry_after, provider_code=provider_code)
        self.limit = limit


class ProviderRefused(GatewayError):
    """The provider answered with an error number."""


class DeleteRefused(ProviderRefused):
    code = "DELETE_REFUSED"
    title = "The provider did not delete the message"


class UpstreamAuthFailed(ProviderRefused):
    code = "UPSTREAM_AUTH_FAILED"
    title = "The provider refuses the gateway's credentials or address"


class UpstreamBlocked(ProviderRefused):
    code = "UPSTREAM_BLOCKED"
    title = "The provider has blocked the gateway's address for a while"
    retryable = True


class UpstreamError(ProviderRefused):
    code = "UPSTREAM_ERROR"
    title = "The provider answered with an unknown error"


class TransportFailed(GatewayError):
    """The provider gave no answer that could be read.

    `sent` is False when no connection was made: such a request spent nothing of the limits.
    """

    retryable = True

    def __init__(
        self, detail: str | None = None, *, retry_after: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.sent = sent


class UpstreamBadAnswer(TransportFailed):
    code = "UPSTREAM_BAD_ANSWER"
    title = "The provider's answer could not be read"


class UpstreamUnreachable(TransportFailed):
    code = "UPSTREAM_UNREACHABLE"
    title = "The provider could not be reached"


class UpstreamTimeout(TransportFailed):
    code = "UPSTREAM_TIMEOUT"
    title = "The provider did not answer in time"


class Overloaded(GatewayError):
    code = "OVERLOADED"
    title = "The gateway cannot take the request now"
    retryable = True
