"""CORS (WHATWG Fetch, section 3.2): allows only the origins named in the settings."""

from typing import NamedTuple

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

ANY = "*"

_METHODS = ("GET", "HEAD", "POST", "DELETE")
_REQUEST_HEADERS = (
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "Traceparent",
    "X-Account",
    "X-Request-Id",
)
_ANSWER_HEADERS = (
    "Age",
    "Cache-Status",
    "ETag",
    "Link",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
)


class Origins(NamedTuple):
    """The sites whose pages may ask. Keys are sent by the pages; there are no cookies."""

    names: tuple[str, ...]

    def allow(self, origin: str) -> bool:
        return ANY in self.names or origin in self.names

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application in CORS middleware; unchanged if no origin is allowed."""
        if not self.names:
            return app
        return CORSMiddleware(
            app,
            allow_origins=self.names,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_ANSWER_HEADERS,
        )


NO_ORIGINS = Origins(())
