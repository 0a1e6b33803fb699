"""Our commands as a user runs them: processes, ports, signals."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.size import PATIENCE

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
"""The environment without settings of ours."""

PHONE = "79990001000"
"""Of the messages that tests send."""


@contextmanager
def running(
    *arguments: str, told: str, environ: Mapping[str, str], cwd: Path | None = None
) -> Iterator[tuple["subprocess.Popen[str]", re.Match[str]]]:
    """A running command, and what it `told` first, a pattern; it ends by SIGTERM."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        env=environ,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        try:
            while not (found := re.search(told, printed, re.DOTALL)):
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield process, found
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
    assert process.returncode in {0, -signal.SIGTERM, -signal.SIGKILL}


@contextmanager
def command(*arguments: str, **environ: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running command, and the address it tells first. `environ`: settings without prefix."""
    given = {f"GATEWAY_{name}": value for name, value in environ.items()}
    with running(*arguments, told=r"http://[^/\s]+", environ=PLAIN | given) as (process, found):
        yield process, found[0]


@contextmanager
def demo(state: Path, **settings: str) -> Iterator[tuple[str, str]]:
    """The demo: the addresses of gateway and provider, without a slash at the end.

    `state` is for what they keep, `settings` are the gateway's, without their prefix.
    """
    own = {f"GATEWAY_{name}": value for name, value in {"PORT": "0", **settings}.items()}
    with (
        running(
            "demo",
            "--simulator-port",
            "0",
            told=r"Gateway\s+(http://[^/\s]+).*Provider\s+(http://[^/\s]+)",
            environ=PLAIN | own | {"XDG_STATE_HOME": str(state)},
        ) as (process, found),
        drained(process),
    ):
        yield found[1], found[2]


@contextmanager
def drained(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Read what a process prints, or it would stop when the pipe is full; end it with the block."""
    assert process.stdout is not None
    reader = threading.Thread(target=process.stdout.read)
    reader.start()
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        reader.join()


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway and the simulated provider behind it, as processes: their addresses."""

    process: "subprocess.Popen[str]"
    gateway: str
    provider: str

    def tell(self, id: int, status: int) -> None:
        """From now on the provider tells this status of a message; one it did not know is sent."""
        told = {"id": id, "phone": PHONE, "status": status}
        httpx.post(f"{self.provider}/control/messages", json=told).raise_for_status()

    def look(self, id: int) -> None:
        """Have the gateway ask the provider for a message now, for a caller who can't wait."""
        url = f"{self.gateway}/v1/messages/{id}"
        no_cache = {"cache-control": "no-cache"}
        answer = httpx.get(url, params={"phone": PHONE}, headers=no_cache, timeout=PATIENCE)
        assert not answer.raise_for_status().json()["freshness"]["stale"]

    def asked(self) -> int:
        """How many requests the provider got."""
        stats: dict[str, int] = httpx.get(f"{self.provider}/control/stats").json()
        return stats["requests"]


@contextmanager
def gateway(provider: str, state: Path, port: int = 0) -> Iterator[Served]:
    """A gateway that asks this provider, and keeps what it spent in `state`."""
    login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "SMSC_CURRENCY": "RUB"}
    asks = {"SMSC_URL": f"{provider}/sys", "STATE_DIR": str(state), **login}
    with command("serve", PORT=str(port), **asks) as (process, address), drained(process):
        yield Served(process, address, provider)


@contextmanager
def served(state: Path) -> Iterator[Served]:
    """A gateway, and a provider of its own that knows the samples."""
    with (
        command("simulator", "--port", "0") as (process, provider),
        drained(process),
        gateway(provider, state) as running,
    ):
        yield running
