"""The systemd unit: what systemd says of it, and that its command runs with its settings."""

import signal
import sys
import time
from pathlib import Path

import httpx

from gateway.server import GRACE
from tests.support.callers import client
from tests.support.deployed import DEPLOY
from tests.support.process import PLAIN, drained, running
from tests.support.size import PATIENCE
from tests.support.tools import run

UNIT = DEPLOY / "systemd" / "smsc-gateway.service"
LINES = [line.partition("=") for line in UNIT.read_text().splitlines() if "=" in line]
PROGRAM = Path(sys.executable).parent / "smsc-gateway"


def values(name: str) -> list[str]:
    return [value for key, _, value in LINES if key == name]


def analyze(*arguments: str | Path) -> str:
    return run("systemd-analyze", *arguments, package="systemd")


def test_systemd_understands_all_of_it(tmp_path: Path) -> None:
    [command] = values("ExecStart")
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace(command.split()[0], str(PROGRAM)))
    assert analyze("verify", here) == ""


def test_its_exposure_is_low() -> None:
    assert "OK" in analyze("security", "--offline=true", "--threshold=20", UNIT)


def test_its_command_runs_with_its_settings(tmp_path: Path) -> None:
    [start] = values("ExecStart")
    assert start.split()[0].endswith("/bin/smsc-gateway")
    (tmp_path / "clients.toml").write_text(client("billing"))
    etc, state = "/etc/smsc-gateway", "%S"
    own = dict(
        value.replace(etc, str(tmp_path)).replace(state, str(tmp_path)).split("=", 1)
        for value in values("Environment")
    )
    login = {"GATEWAY_SMSC_API_KEY": "demo", "GATEWAY_PORT": "0"}
    with (
        running(*start.split()[1:], told=r"http://[^/\s]+", environ=PLAIN | own | login) as (
            process,
            found,
        ),
        drained(process),
    ):
        url = f"{found[0]}/v1/provider"
        assert httpx.get(url).status_code == 401
        told = httpx.get(url, headers={"authorization": "Bearer key of billing"}).json()
        assert told["archive"] == "ON"
        [folder] = values("StateDirectory")
        assert (tmp_path / folder / "archive.db").exists()
        (tmp_path / "clients.toml").write_text(client("another"))
        assert values("ExecReload") == ["/bin/kill -HUP $MAINPID"]
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + PATIENCE
        while httpx.get(url, headers={"authorization": "Bearer key of another"}).is_error:
            assert time.monotonic() < end


def test_it_is_given_the_time_to_stop() -> None:
    [seconds] = values("TimeoutStopSec")
    assert int(seconds) >= GRACE + 20
