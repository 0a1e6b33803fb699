"""Where the Redis or Valkey server is at the moment, and connections to it.

One server stays at its address. Under Sentinels it is the master they name. In a cluster it is the
node with the slot of our keys: they have one hash tag, so one slot, and each script finds all its
keys there. An ordinary connection to that node does then, for commands and for pub/sub.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.cluster import parse_cluster_slots
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from gateway.redis_url import Place, Topology, parse

TIMEOUT: Final = 2.0
"""Seconds to wait for a connection or an answer; mostly it takes a thousandth of that."""


class Line(NamedTuple):
    """A client of the server, and where that was found; None: where its address says."""

    place: Place | None
    client: Redis


class RedisServer:
    """The server of an address, for keys that begin with `prefix` and its hash tag.

    `ca` is a PEM file of authorities to trust besides the system's.
    """

    def __init__(self, url: str, prefix: str, ca: Path | None = None) -> None:
        self._url = parse(url)
        self._slot = key_slot(prefix.encode())
        self._options: dict[str, Any] = {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "retry": Retry(NoBackoff(), retries=1),
            "client_name": "smsc-gateway",
        }
        if self._url.is_tls and ca is not None:
            self._options["ssl_ca_certs"] = str(ca)
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            self._url.nodes if self._url.topology is Topology.SENTINEL else (),
            sentinel_kwargs={
                **self._options,
                "ssl": self._url.is_tls,
                "username": self._url.sentinel_username,
                "password": self._url.sentinel_password,
            },
        )

    async def aclose(self) -> None:
        await self._sentinel.aclose()

    @property
    def moves(self) -> bool:
        """May it be elsewhere later?"""
        return self._url.topology is not Topology.SERVER

    async def find(self, before: Line | None = None) -> Place | None:
        """Where it is now, to `connect` to. `before`: the line to it so far.

        Raises `RedisError`, `OSError`.
        """
        if self._url.topology is Topology.SENTINEL:
            return await self._master()
        if self._url.topology is Topology.CLUSTER:
            return await self._owner(before)
        return None

    def connect(self, place: Place | None) -> Redis:
        """A client of the server at a place that was found; it connects when it is used."""
        if place is None:
            return Redis.from_url(self._url.text, **self._options)
        host, port = place
        return Redis(
            host=host,
            port=port,
            db=self._url.database,
            username=self._url.username,
            password=self._url.password,
            ssl=self._url.is_tls,
            **self._options,
        )

    async def _master(self) -> Place:
        try:
            host, port = await self._sentinel.discover_master(self._url.service)
        except MasterNotFoundError as error:
            if "AuthenticationError" in str(error):
                raise RedisConnectionError(
                    "a Sentinel wants another password (sentinel_password of the address)"
                ) from None
            raise RedisConnectionError(
                f"no Sentinel can be reached that knows a master {self._url.service} that is up"
            ) from None
        return host, port

    async def _owner(self, before: Line | None) -> Place:
        """Who has our slot, as the first node says that can be asked; who had it knows best."""
        why: Exception = RedisConnectionError("no node of the cluster has our keys")
        if before is not None and before.place is not None:
            with suppress(RedisError, OSError):
                return await self._owner_by(before.place, before.client)
        for place in self._url.nodes:
            try:
                async with self.connect(place) as client:
                    return await self._owner_by(place, client)
            except (RedisError, OSError) as error:
                why = error
        raise why

    async def _owner_by(self, place: Place, client: Redis) -> Place:
        try:
            answer = await client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        except NoPermissionError:
            raise
        except ResponseError:
            raise RedisConnectionError(f"{place[0]}:{place[1]} is no node of a cluster") from None
        for (first, last), nodes in parse_cluster_slots(answer, current_host=place[0]).items():
            if first <= self._slot <= last:
                host, port = nodes["primary"]
                return host, int(port)
        raise RedisConnectionError("no node of the cluster has our keys")
