"""Receives the provider's pushes: a signed form in, `OK` out.

Whoever is not the provider gets a 403 for the price of a hash: nothing is logged for each of them,
and nothing is looked up.
"""

import logging
import math
from collections import Counter
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.cache import Pushed
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.smsc.push import MAX_BYTES, read_form, verify
from gateway.web.http.body import read_body
from gateway.web.http.problems import response_to
from gateway.web.http.state import State

log = logging.getLogger(__name__)

PATH = "/v1/callbacks/smsc"
REFUSED: Final = "refused"
RESULTS = (*Pushed, REFUSED)
"""What becomes of a push, as it is counted."""

TOLD_EVERY = 60.0
"""Seconds: refused pushes are told in the log once in this time, with their number."""


class Callback:
    """The address that the provider is told; `pushes` counts what came to it, by result."""

    def __init__(self, secret: str, clock: Clock, pushes: Counter[str]) -> None:
        self._secret = secret
        self._clock = clock
        self._pushes = pushes
        self._told_at = -math.inf
        self._untold = 0

    async def receive(self, request: Request[State]) -> Response:
        try:
            body = await read_body(request.receive, MAX_BYTES)
            push = verify(read_form(_query(request), body), self._secret)
        except GatewayError as error:
            self._refused(error)
            # Raised, it would be answered from a thread, at twice the price of all the rest.
            return response_to(request, error)
        except HTTPException as error:
            self._refused(error)
            raise
        result = Pushed.IGNORED if push is None else await request.state["service"].receive(push)
        self._pushes[result] += 1
        if push is not None and result is Pushed.ACCEPTED:
            status = push.row.fields["status"]
            log.info("the provider pushed status %s of message %d", status, push.key.id)
        return PlainTextResponse("OK", headers={"cache-control": "no-store"})

    def _refused(self, error: Exception) -> None:
        self._pushes[REFUSED] += 1
        self._untold += 1
        now = self._clock.monotonic()
        if now - self._told_at >= TOLD_EVERY:
            log.warning("pushes refused: %d; the last: %s", self._untold, error)
            self._told_at, self._untold = now, 0


def _query(request: Request[State]) -> bytes:
    query: bytes = request.scope["query_string"]
    if len(query) > MAX_BYTES:
        raise HTTPException(414)
    return query
