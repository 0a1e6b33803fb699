"""TLS to the shared server, with an authority of one's own."""

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.replicas import Replicas
from gateway.settings import SettingsError, load
from tests.support.gateway import ENVIRON, running
from tests.support.tls import Authority, tls_before
from tests.support.valkey import Valkey, valkey
from tests.support.valkeys import SERVICE, SLOTS, Node, is_whole, wait_until

pytestmark = pytest.mark.anyio

PASSWORD = "pAssw0rd-of-the-server"


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory() as folder:
        yield Authority(Path(folder), "ours")


@pytest.fixture(scope="module")
def other() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory() as folder:
        yield Authority(Path(folder), "theirs")


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        server.url_for("gateway", PASSWORD)
        yield server


async def is_there(url: str, ca: Path | None) -> bool:
    """Can it be written to and read?"""
    async with Replicas(url, "account", ca) as line:
        if not line.is_there:
            return False
        key = f"{line.prefix}key"
        await line.run("return redis.call('SET', KEYS[1], 'value')", [key], [])
        return await line.read([key]) == [b"value"]


async def test_an_authority_of_ones_own_is_trusted(server: Valkey, authority: Authority) -> None:
    for host in ("localhost", "127.0.0.1"):
        with tls_before(server.socket, authority.context(host)) as port:
            assert await is_there(f"rediss://gateway:{PASSWORD}@{host}:{port}", authority.file)


async def test_another_authority_is_not(
    server: Valkey, authority: Authority, other: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    with tls_before(server.socket, authority.context("localhost")) as port:
        url = f"rediss://gateway:{PASSWORD}@localhost:{port}"
        for ca in (other.file, None):
            caplog.clear()
            assert not await is_there(url, ca)
            (told,) = [record.message for record in caplog.records]
            assert told.startswith("Redis is lost, so the provider is not asked: ")
            assert "certificate verify failed" in told
            assert PASSWORD not in told


async def test_a_certificate_for_another_host_is_refused(
    server: Valkey, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with tls_before(server.socket, authority.context("elsewhere.test")) as port:
        assert not await is_there(f"rediss://localhost:{port}", authority.file)
    assert "certificate is not valid for 'localhost'" in caplog.text


async def test_a_gateway_asks_nothing_while_it_trusts_no_server(
    server: Valkey, authority: Authority, other: Authority
) -> None:
    with tls_before(server.socket, authority.context("localhost")) as port:
        address = {"REDIS_URL": f"rediss://localhost:{port}"}
        async with running(**address, REDIS_CA=str(other.file)) as setup:
            assert (await setup.client.get("/readyz")).json()["reason"] == "REDIS_LOST"
            assert (await setup.message(1, "79990000001")).status_code == 503
            assert setup.limits.admitted == 0
        async with running(**address, REDIS_CA=str(authority.file)) as setup:
            assert (await setup.message(1, "79990000001")).status_code == 200


async def test_sentinels_and_their_master_are_asked_over_tls(
    authority: Authority, other: Authority, tmp_path: Path
) -> None:
    context = authority.context("127.0.0.1")
    with ExitStack() as stack:
        master = stack.enter_context(Node(tmp_path))
        at = stack.enter_context(tls_before(master.port, context))
        # It can't speak TLS itself, so let it not mind that its master is silent.
        told = f"sentinel monitor {SERVICE} 127.0.0.1 {at} 1\n"
        told += f"sentinel down-after-milliseconds {SERVICE} 3600000\n"
        sentinel = stack.enter_context(Node(tmp_path, sentinel=told))
        port = stack.enter_context(tls_before(sentinel.port, context))
        url = f"rediss+sentinel://127.0.0.1:{port}/{SERVICE}"
        assert await is_there(url, authority.file)
        assert not await is_there(url, other.file)


async def test_nodes_of_a_cluster_are_asked_over_tls(
    authority: Authority, other: Authority, tmp_path: Path
) -> None:
    with Node.of_cluster(tmp_path) as node:
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        await asyncio.to_thread(wait_until, lambda: is_whole(node))
        with tls_before(node.port, authority.context("127.0.0.1")) as port:
            node.ask("CONFIG", "SET", "cluster-announce-port", port)
            url = f"rediss+cluster://127.0.0.1:{port}"
            assert await is_there(url, authority.file)
            assert not await is_there(url, other.file)


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "unix"])
def test_authorities_are_for_tls(authority: Authority, scheme: str) -> None:
    given = {"GATEWAY_REDIS_URL": f"{scheme}:///h" if scheme == "unix" else f"{scheme}://h"}
    given["GATEWAY_REDIS_CA"] = str(authority.file)
    with pytest.raises(SettingsError, match="GATEWAY_REDIS_CA needs a GATEWAY_REDIS_URL with TLS"):
        load(ENVIRON | given)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    for name, sentence in ((str(path), "certificates in PEM"), ("/none", "No such file")):
        given = {"GATEWAY_REDIS_URL": "rediss://h", "GATEWAY_REDIS_CA": name}
        with pytest.raises(SettingsError, match=f"^GATEWAY_REDIS_CA: must be .*{sentence}"):
            load(ENVIRON | given)
