"""A real Prometheus scrapes a gateway by our configuration, and has a value for every panel."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.callers import client
from tests.support.deployed import configured, in_dashboard
from tests.support.process import PHONE, command, drained
from tests.support.receiver import SECRET, receiving
from tests.support.server import closed_port, until_there
from tests.support.size import PATIENCE
from tests.support.tools import found

KEY = "key of billing"


@contextmanager
def prometheus(configuration: Path) -> Iterator[str]:
    """A server with this configuration; the address of its API."""
    port = closed_port()
    arguments = [
        found("prometheus", package="prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={configuration.parent / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(arguments) as process:
        try:
            until_there(port)
            yield f"http://127.0.0.1:{port}/api/v1"
        finally:
            process.terminate()


def ask(api: str, what: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
    answer = httpx.get(f"{api}/{what}", params=parameters, timeout=PATIENCE).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def test_every_panel_has_a_value(tmp_path: Path) -> None:
    with (
        receiving() as receiver,
        command("simulator", "--port", "0") as (simulator, provider),
        drained(simulator),
    ):
        receiver.answer = lambda *_: 500  # so that something is late
        webhook = f'[[client.webhook]]\nname = "crm"\nurl = "{receiver.url}"\nsecret = "{SECRET}"\n'
        (tmp_path / "clients.toml").write_text(client("billing", more=webhook))
        settings = {
            "SMSC_URL": f"{provider}/sys",
            "SMSC_LOGIN": "demo",
            "SMSC_PASSWORD": "demo",
            "CLIENTS_FILE": str(tmp_path / "clients.toml"),
            "STATE_DIR": str(tmp_path / "state"),
            "PORT": "0",
        }
        with command("serve", **settings) as (process, address), drained(process):
            key = tmp_path / "key"
            key.write_text(KEY)
            with prometheus(configured(tmp_path, key, address, "1s")) as api:
                missing = set(in_dashboard())
                end = time.monotonic() + PATIENCE
                while missing := {one for one in missing if not values(api, one)}:
                    assert time.monotonic() < end, missing
                    use(address)
                [target] = ask(api, "targets")["activeTargets"]
                assert (target["health"], target["lastError"]) == ("up", "")


def values(api: str, expression: str) -> list[object]:
    return list(ask(api, "query", query=expression)["result"])


def use(address: str) -> None:
    """Ask for something final and something that is not, in both ways."""
    bearer = {"authorization": f"Bearer {KEY}"}
    for id_, phone in ((1, "79990000001"), (100, "79990000100"), (7, PHONE)):
        url = f"{address}/v1/messages/{id_}"
        httpx.get(url, params={"phone": phone}, headers=bearer, timeout=PATIENCE)
    query = {"query": "{ provider { records } }"}
    httpx.post(f"{address}/graphql", json=query, headers=bearer, timeout=PATIENCE)
