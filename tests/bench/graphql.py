"""A hit over HTTP, for the gateway as shipped and its peers: GraphQL, REST, and their latency.

The gateway checks its caller's key; the peers, who get it as well, do not look at it.

Each server is one process on one core, the load is on another. Servers take turns in each round;
the figures are medians of the rounds. What is judged is the server's CPU time a request, as a
ratio in one run: rates swing with whatever else the machine does. The answers are checked to be
the same before they are timed.
"""

import contextlib
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from gateway.simulator.samples import MESSAGE
from tests.support import node
from tests.support.process import PLAIN

ROUNDS = 5
SECONDS = 3.0
WARM_UP = 3.0
CONNECTIONS = 32
RECORDS = 100
SHARE = 0.8
"""Of the highest rate, where latency is measured."""

SCHEMA = Path(__file__).parent.parent.parent / "schema" / "schema.graphql"
PHONE = "79990001000"
KEYS = [{"id": str(1001 + number), "phone": PHONE} for number in range(RECORDS)]

FIELDS = """id phone isFinal lastStatusTime sentAt sender text
  cost { amount currency } freshness { stale }"""
ONE = f"""query One($id: ID!, $phone: String!) {{
  message(id: $id, phone: $phone) {{ {FIELDS} state stateGroup }}
}}"""
MANY = f"""query Many($items: [StatusKey!]!) {{
  statuses(items: $items) {{ record {{ {FIELDS} ... on Message {{ state stateGroup }} }} }}
}}"""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves."""

    pid: int
    address: str

    def cpu(self) -> float:
        """Seconds of CPU time that it and all its threads have had."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Calls:
    """What is sent, each in turn."""

    method: str
    paths: Sequence[str]
    bodies: Sequence[str] = ()

    def first(self, server: Server, headers: Mapping[str, str]) -> httpx.Response:
        """One answer, to look at."""
        content = self.bodies[0] if self.bodies else None
        url = f"{server.address}{self.paths[0]}"
        answer = httpx.request(self.method, url, headers=headers, content=content, timeout=30)
        return answer.raise_for_status()


@dataclass(slots=True)
class Figures:
    """What the rounds gave: requests a second, CPU seconds a request."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def to(self, other: "Figures") -> float:
        """How many times as dear a request is as the other's."""
        return statistics.median(a / b for a, b in zip(self.costs, other.costs, strict=True))


def _calls(query: str, variables: Sequence[Mapping[str, object]]) -> Calls:
    bodies = [json.dumps({"query": query, "variables": one}) for one in variables]
    return Calls("POST", ["/graphql"], bodies)


ONE_RECORD = _calls(ONE, KEYS)
MANY_RECORDS = _calls(MANY, [{"items": KEYS[n:] + KEYS[:n]} for n in range(0, RECORDS, 10)])
REST = Calls("GET", [f"/v1/messages/{key['id']}?phone={PHONE}" for key in KEYS])


def cores() -> tuple[int, int]:
    """One for the server, one for the load; the same where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


@contextmanager
def on(core: int) -> Iterator[None]:
    """What is started meanwhile stays on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def started(
    *command: str, core: int, errors: int | None = None, **environ: str
) -> Iterator[Server]:
    """A command that runs and tells its address first; ended with the block.

    `errors`: where its standard error goes, as `subprocess` has it.
    """
    with on(core):
        process = subprocess.Popen(
            command,
            env=PLAIN | {f"GATEWAY_{name}": value for name, value in environ.items()},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, f"{command}: {line}"
            # What it prints later is read, or it would stop when the pipe is full.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield Server(process.pid, found[0].rstrip("/"))
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()


class Bench:
    """The servers that all tables share, and what loads them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._core, self._load_core = cores()
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "authorization": f"Bearer {self._key()}",
        }
        self.gateway = self._with_provider(
            *(sys.executable, "-m", "gateway", "serve"), CLIENTS_FILE=str(self._clients_file)
        )
        batch = httpx.post(
            f"{self.gateway.address}/v1/statuses/batch",
            json={"items": KEYS},
            headers=self.headers,
        )
        self.records = [result["record"] for result in batch.raise_for_status().json()["results"]]
        self._records_file = self._folder / "records.json"
        self._records_file.write_text(json.dumps(self.records))

    @property
    def _clients_file(self) -> Path:
        return self._folder / "clients.toml"

    def _key(self) -> str:
        """A key for the load, and the gateway's file of those who have one."""
        scopes = ("status:read", "content:read", "identity:read")
        made = subprocess.run(
            [
                *(sys.executable, "-m", "gateway", "client", "add", "bench"),
                *(f"--scope={scope}" for scope in scopes),
                f"--file={self._clients_file}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.strip()

    def start(self, *command: str, **environ: str) -> Server:
        running = started(*command, core=self._core, errors=None, **environ)
        return self._stack.enter_context(running)

    def peer(self, name: str) -> Server:
        return self.start(sys.executable, "-m", "tests.bench.peers", name, str(self._records_file))

    def bare(self, name: str, body: bytes) -> Server:
        file = self._folder / name
        file.write_bytes(body)
        return self.start(sys.executable, "-m", "tests.bench.peers", "bare", str(file))

    def strawberry(self) -> Server:
        return self._with_provider(sys.executable, "-m", "tests.bench.peers", "strawberry")

    def mercurius(self) -> Server:
        script = str(node.packages() / "mercurius.mjs")
        return self.start("node", script, str(SCHEMA), str(self._records_file))

    def _with_provider(self, *command: str, **environ: str) -> Server:
        """A server with a provider of its own behind it, that knows the records."""
        provider = self.start(sys.executable, "-m", "gateway", "simulator", "--port", "0")
        for key in KEYS:
            told = asdict(replace(MESSAGE, id=int(key["id"]), phone=PHONE))
            httpx.post(f"{provider.address}/control/messages", json=told).raise_for_status()
        return self.start(
            *command,
            PORT="0",
            SMSC_URL=f"{provider.address}/sys/",
            SMSC_LOGIN="demo",
            SMSC_PASSWORD="demo",
            SMSC_CURRENCY="RUB",
            LOG_LEVEL="warning",
            STATE_DIR=str(self._folder / f"state-{provider.pid}"),
            **environ,
        )

    def load(
        self, server: Server, calls: Calls, seconds: float, rate: float | None = None
    ) -> dict[str, float]:
        """What the load saw; its `cost` is the server's CPU seconds a request."""
        told = {
            "url": server.address,
            "headers": self.headers,
            "connections": CONNECTIONS,
            "seconds": seconds,
            "rate": rate,
            **asdict(calls),
        }
        before = server.cpu()
        with on(self._load_core):
            done = subprocess.run(
                ["node", str(node.FOLDER / "load.mjs")],  # noqa: S607 - whichever the user has
                input=json.dumps(told),
                capture_output=True,
                text=True,
                timeout=seconds + 30,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        seen: dict[str, float] = json.loads(done.stdout)
        assert not seen["failed"], f"{server.address} failed {seen['failed']} requests"
        return {**seen, "cost": (server.cpu() - before) / seen["answered"]}

    def compare(self, title: str, calls: Calls, servers: Mapping[str, Server]) -> float:
        """Print a table of all servers, `bare` first; give the gateway's rate."""
        for server in servers.values():
            calls.first(server, self.headers)
            self.load(server, calls, WARM_UP)
        figures = {name: Figures() for name in servers}
        for _ in range(ROUNDS):
            for name, server in servers.items():
                seen = self.load(server, calls, SECONDS)
                figures[name].rates.append(seen["answered"] / seen["seconds"])
                figures[name].costs.append(seen["cost"])
        bare, gateway = figures["bare"], figures["gateway"]
        print(f"{title}: {ROUNDS} rounds of {SECONDS:g} s in turn, {CONNECTIONS} connections")
        print(f"  {'':<24}{'req/s':>9}{'CPU us/req':>12}{'of bare':>9}{'gateway is':>16}")
        for name, one in figures.items():
            print(
                f"  {name:<24}{statistics.median(one.rates):>9,.0f}"
                f"{statistics.median(one.costs) * 1e6:>12,.1f}{1 / one.to(bare):>9.3f}"
                f"{one.to(gateway):>9.2f} x as fast"
            )
        return statistics.median(gateway.rates)

    def latency(self, calls: Calls, rate: float, servers: Mapping[str, Server]) -> None:
        """Print the quantiles at a part of the highest rate, of the gateway; `bare` beside it.

        Where fewer were answered than were due, others had the core: that measures no server.
        """
        print(f"  at {SHARE:.0%} of the gateway's rate, {rate * SHARE:,.0f} req/s, in ms")
        print(f"  {'':<24}{'p50':>9}{'p99':>9}{'p99/p50':>9}{'answered':>10}")
        for name in ("bare", "gateway"):
            seen = [self.load(servers[name], calls, SECONDS, rate * SHARE) for _ in range(ROUNDS)]
            p50, p99 = (statistics.median(one[q] for one in seen) for q in ("p50", "p99"))
            ratio = statistics.median(one["p99"] / one["p50"] for one in seen)
            share = sum(one["answered"] for one in seen) / (rate * SHARE * SECONDS * ROUNDS)
            print(f"  {name:<24}{p50:>9.3f}{p99:>9.3f}{ratio:>9.2f}{share:>10.1%}")


def _answers_agree(bench: Bench, calls: Calls, servers: Mapping[str, Server]) -> bytes:
    """The answer, once it is known to be everybody's."""
    answers = {name: calls.first(server, bench.headers) for name, server in servers.items()}
    expected: Any = answers["gateway"].json()
    assert "errors" not in expected, expected
    for name, answer in answers.items():
        assert answer.json() == expected, f"{name} answers otherwise: {answer.text[:500]}"
    return answers["gateway"].content


def _graphql(bench: Bench) -> None:
    peers = {"gateway": bench.gateway, "Strawberry as it comes": bench.strawberry()}
    peers["Mercurius with JIT"] = bench.mercurius()
    MANY_RECORDS.first(peers["Strawberry as it comes"], bench.headers)  # so that it knows them
    for title, calls in (
        ("GraphQL, 12 fields of one record", ONE_RECORD),
        ("GraphQL, 12 fields of 100 records", MANY_RECORDS),
    ):
        body = _answers_agree(bench, calls, peers)
        servers = {"bare": bench.bare(f"{len(body)}", body), **peers}
        rate = bench.compare(f"{title} ({len(body):,} bytes)", calls, servers)
        if calls is ONE_RECORD:
            bench.latency(calls, rate, servers)


def _rest(bench: Bench) -> None:
    body = REST.first(bench.gateway, bench.headers).content
    servers = {"bare": bench.bare("rest", body), "gateway": bench.gateway}
    if importlib.util.find_spec("fastapi"):
        servers["FastAPI"] = bench.peer("fastapi")
    rate = bench.compare(f"REST, one record ({len(body):,} bytes)", REST, servers)
    bench.latency(REST, rate, servers)


def main() -> None:
    try:
        node.packages()
    except node.Unavailable as reason:
        print(f"graphql: {reason}")
        return
    with ExitStack() as stack:
        bench = Bench(stack)
        _graphql(bench)
        _rest(bench)
