"""Receives the provider's pushes: a signed form in, `OK` out.

Whoever is not the provider gets a 403 for the price of a hash: nothing is logged for each of them,
and nothing is looked up.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.cache import Pushed
from gateway.clock import Clock
from gateway.errors import Forbidden, GatewayError
from gateway.smsc.push import MAX_BYTES, Push, read_form, verify
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
    """The address that the provider is told; `pushes` counts what came to it, by result.

    `secrets` are those of the accounts, by name: whose secret a push is signed with, it is for.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock, pushes: Counter[str]) -> None:
        self._secrets = secrets
        self._clock = clock
        self._pushes = pushes
        self._told_at = -math.inf
        self._untold = 0

    async def receive(self, request: Request[State]) -> Response:
        try:
            body = await read_body(request.receive, MAX_BYTES)
            account, push = self._verified(read_form(_query(request), body))
        except GatewayError as error:
            self._refused(error)
            # Raised, it would be answered from a thread, at twice the price of all the rest.
            return response_to(request, error)
        except HTTPException as error:
            self._refused(error)
            raise
        result = Pushed.IGNORED
        if push is not None:
            result = await request.state["accounts"][account]["service"].receive(push)
        self._pushes[result] += 1
        if push is not None and result is Pushed.ACCEPTED:
            status = push.row.fields["status"]
            log.info("the provider pushed status %s of message %d", status, push.key.id)
        return PlainTextResponse("OK", headers={"cache-control": "no-store"})

    def _verified(self, form: Mapping[str, str]) -> tuple[str, Push | None]:
        """The push and its account; raises what it is refused for."""
        refusal: GatewayError | None = None
        for account, secret in self._secrets.items():
            try:
                return account, verify(form, secret)
            except Forbidden as error:
                refusal = error
        assert refusal is not None  # noqa: S101 - there is a secret
        raise refusal

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
