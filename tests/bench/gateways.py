"""The gateway as shipped, and what asks it: callers with keys and quotas, records they know."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import cycle, islice

import httpx

from gateway.callers.file import MAX_QUOTA
from gateway.simulator.samples import MESSAGE
from tests.bench.harness import Bench, Server
from tests.bench.load import request
from tests.support.callers import client

CALLERS = 32
"""So many, for a quota allows one of them 100,000 requests a minute."""

RECORDS = 100
PHONE = "79990001000"
KEYS = [{"id": str(1001 + number), "phone": PHONE} for number in range(RECORDS)]

LIVE = {"id": "1", "phone": PHONE}
"""One that stays on its way."""


def headers(caller: int) -> dict[str, str]:
    """What a caller sends with each request."""
    return {"authorization": f"Bearer {_key(caller)}", "accept": "application/json"}


def _key(caller: int) -> str:
    return f"sgw_{caller:040}"


def clients_file(bench: Bench, count: int = CALLERS, without_quota: int = 0) -> str:
    """A file of so many callers, who may ask for everything; the first of them without a quota."""
    path = bench.folder / f"clients-{count}-{without_quota}.toml"
    quota = f"quota_per_minute = {MAX_QUOTA}"
    path.write_text(
        "".join(
            client(f"c{n}", _key(n), more="" if n < without_quota else quota) for n in range(count)
        )
    )
    return str(path)


def with_provider(bench: Bench, *module: str, **environ: str) -> Server:
    """A server with a provider of its own behind it, that knows the records."""
    provider = bench.beside("gateway", "simulator", "--port", "0")
    told = [asdict(replace(MESSAGE, id=int(key["id"]), phone=PHONE)) for key in KEYS]
    told.append({"id": int(LIVE["id"]), "phone": PHONE, "status": 0})
    with httpx.Client(base_url=provider.address) as control:
        for one in told:
            control.post("/control/messages", json=one).raise_for_status()
    return bench.python(
        *module,
        PORT="0",
        SMSC_URL=f"{provider.address}/sys/",
        SMSC_LOGIN="demo",
        SMSC_PASSWORD="demo",
        SMSC_CURRENCY="RUB",
        STATE_DIR=str(bench.folder / f"state-{provider.pid}"),
        **environ,
    )


def gateway(bench: Bench) -> Server:
    """The gateway as shipped, that has just asked for the records."""
    server = with_provider(bench, "gateway", "serve", CLIENTS_FILE=clients_file(bench))
    url = f"{server.address}/v1/statuses/batch"
    httpx.post(url, json={"items": KEYS}, headers=headers(0)).raise_for_status()
    return server


class Calls:
    """What is asked, each in turn: `paths` by GET, or `bodies` by POST to the one path.

    `more`: headers that go with each path.
    """

    def __init__(
        self,
        paths: Sequence[str],
        bodies: Iterable[object] = (),
        more: Iterable[dict[str, str]] = (),
    ) -> None:
        self._paths = paths
        self._bodies = [json.dumps(body).encode() for body in bodies]
        self._more = list(more) or [{}]

    def requests(self) -> Iterator[bytes]:
        """All of it, of all callers in turn, without end."""
        kind = {"content-type": "application/json"} if self._bodies else {}
        parts = zip(
            cycle(range(CALLERS)),
            cycle(self._paths),
            cycle(self._more),
            cycle(self._bodies or [b""]),
            strict=False,
        )
        # So many that each caller asks for each record.
        made = [
            request("POST" if body else "GET", path, headers(caller) | kind | more, body)
            for caller, path, more, body in islice(parts, CALLERS * RECORDS)
        ]
        return cycle(made)

    def first(self, server: Server) -> httpx.Response:
        """One answer, to look at."""
        return next(self.answers(server))

    def answers(self, server: Server) -> Iterator[httpx.Response]:
        """An answer to each of them."""
        bodies = cycle(self._bodies or [None])
        for path, body in zip(self._paths, bodies, strict=False):
            told = headers(0) | ({"content-type": "application/json"} if body else {})
            method = "POST" if body else "GET"
            url = f"{server.address}{path}"
            answer = httpx.request(method, url, headers=told, content=body, timeout=30)
            yield answer.raise_for_status()
