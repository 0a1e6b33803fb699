"""The readers of `docs/receiving.md`, as they stand there, at a real gateway."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.simulator.push import signed
from tests.support.callers import client
from tests.support.node import executable, packages
from tests.support.process import command, drained
from tests.support.receiver import SECRET as WEBHOOK_SECRET
from tests.support.server import closed_port, until_there
from tests.support.size import PATIENCE

DOCS = Path(__file__).parents[2] / "docs" / "receiving.md"
PHONE = "79990000001"
SECRET = "a-good-and-long-secret"
BLOCKS = dict(
    re.findall(r"```(python|js|python receiver|js receiver)\n(.*?)```", DOCS.read_text(), re.DOTALL)
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path, client("orders")) as address:
        yield address


@contextmanager
def serving(tmp_path: Path, clients_file: str) -> Iterator[str]:
    """A gateway with these clients."""
    clients = tmp_path / "clients.toml"
    clients.write_text(clients_file)
    with (
        command(
            "serve",
            PORT="0",
            SMSC_URL="http://127.0.0.1:1/sys",
            SMSC_API_KEY="demo",
            CALLBACK_SECRET=SECRET,
            CLIENTS_FILE=str(clients),
            STATE_DIR=str(tmp_path / "state"),
        ) as (process, address),
        drained(process),
    ):
        yield address


def push(address: str, id: int, status: int) -> None:
    fields = {"id": str(id), "phone": PHONE, "status": str(status)}
    answer = httpx.post(f"{address}/v1/callbacks/smsc", data=signed(fields, SECRET))
    assert answer.status_code == httpx.codes.OK


@contextmanager
def reader(program: list[str], folder: Path, address: str) -> Iterator["subprocess.Popen[str]"]:
    environ = {"GATEWAY": address, "GATEWAY_KEY": "key of orders"}
    with started(program, folder, environ) as process:
        yield process


@contextmanager
def started(
    program: list[str], folder: Path, environ: dict[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    environ = os.environ | environ
    with subprocess.Popen(
        program, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def told(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("language", ["python", "js"])
def test_a_reader_goes_on_where_it_was_killed(language: str, gateway: str, tmp_path: Path) -> None:
    script = tmp_path / ("reader.mjs" if language == "js" else "reader.py")
    script.write_text(BLOCKS[language])
    program = [sys.executable if language == "python" else executable(), str(script)]
    push(gateway, 1, 0)
    with reader(program, tmp_path, gateway) as process:
        assert told(process, 1) == [f"1 {PHONE} SENT"]
        push(gateway, 1, 1)
        assert told(process, 1) == [f"1 {PHONE} DELIVERED"]
    push(gateway, 2, 0)
    push(gateway, 1, 2)
    with reader(program, tmp_path, gateway) as process:
        lines = told(process, 2)
        if lines[0] == f"1 {PHONE} DELIVERED":  # it was killed before it could keep the cursor
            lines = [*lines[1:], *told(process, 1)]
        assert sorted(lines) == [f"1 {PHONE} READ", f"2 {PHONE} SENT"]


def test_a_reader_that_may_not_says_why(gateway: str, tmp_path: Path) -> None:
    script = tmp_path / "reader.py"
    script.write_text(BLOCKS["python"])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | {"GATEWAY": gateway, "GATEWAY_KEY": "wrong"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "UNAUTHENTICATED" in done.stderr


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("language", ["python", "js"])
def test_a_receiver_is_told_and_takes_nothing_unsigned(language: str, tmp_path: Path) -> None:
    port = closed_port()
    url = f"http://127.0.0.1:{port}/"
    webhook = f'[[client.webhook]]\nname = "one"\nurl = "{url}"\nsecret = "{WEBHOOK_SECRET}"\n'
    program = [sys.executable, str(tmp_path / "receiver.py")]
    if language == "js":
        program = [executable(), str(tmp_path / "receiver.mjs")]
        (tmp_path / "node_modules").symlink_to(packages() / "node_modules")
    Path(program[1]).write_text(BLOCKS[f"{language} receiver"])
    environ = {"WEBHOOK_SECRET": WEBHOOK_SECRET, "PORT": str(port)}
    with (
        started(program, tmp_path, environ) as process,
        serving(tmp_path, client("orders", more=webhook)) as gateway,
    ):
        until_there(port)
        push(gateway, 1, 0)
        assert told(process, 1) == [f"1 {PHONE} SENT"]
        push(gateway, 1, 1)
        assert told(process, 1) == [f"1 {PHONE} DELIVERED"]
        assert httpx.post(url, json={"type": "status.changed", "data": {}}).status_code == 401
