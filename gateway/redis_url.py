"""The address of the server that replicas share, as `REDIS_URL` has it.

- `redis://[user:password@]host[:6379][/DB]` or `unix:///path`: one server.
- `redis+sentinel://[user:password@]host[:26379],…/SERVICE[/DB]`: the master that Sentinels name.
  `?sentinel_username=…&sentinel_password=…` is for the Sentinels.
- `redis+cluster://[user:password@]host[:6379],…`: the node of a cluster that has our keys.

With `rediss` for `redis`, all connections are TLS. Python's tools write it so (redisvl, Prefect,
limits, Redis-Sentinel-Url); redis-py itself has no address for Sentinel.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

SENTINEL_PORT: Final = 26379
SERVER_PORT: Final = 6379

Place = tuple[str, int]
"""Host and port."""


class Topology(Enum):
    SERVER = ""
    SENTINEL = "+sentinel"
    CLUSTER = "+cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """An address. `text` is all of it, `nodes` whom to ask where the server is."""

    text: str = field(repr=False)
    topology: Topology
    is_tls: bool
    nodes: tuple[Place, ...] = ()
    service: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


def parse(text: str) -> RedisUrl:
    """Read an address; `ValueError` says what it must be, and repeats nothing of it."""
    scheme, _, rest = text.partition("://")
    secure = scheme.startswith("rediss")
    topology = _TOPOLOGIES.get(scheme)
    if topology is None or (topology is Topology.SERVER and not _is_server(text)):
        raise ValueError(
            "must be an address such as redis://host:6379/0, "
            "redis+sentinel://host:26379,host2:26379/SERVICE or redis+cluster://host:7000,host2:7000"
        )
    if topology is Topology.SERVER:
        return RedisUrl(text=text, topology=topology, is_tls=secure)
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    user, _, hosts = authority.rpartition("@")
    username, _, password = map(unquote, user.partition(":"))
    is_sentinel = topology is Topology.SENTINEL
    service, database = _service(path) if is_sentinel else ("", 0)
    if path and not is_sentinel:
        raise ValueError("must end behind the hosts of a cluster, which has no databases")
    options = parse_qs(query)
    if set(options) - (_OPTIONS if is_sentinel else set()):
        allowed = "sentinel_username and sentinel_password alone" if is_sentinel else "nothing"
        raise ValueError(f"must have {allowed} behind a question mark")
    return RedisUrl(
        text=text,
        topology=topology,
        is_tls=secure,
        nodes=_nodes(hosts, SENTINEL_PORT if is_sentinel else SERVER_PORT),
        service=service,
        database=database,
        username=username or None,
        password=password or None,
        sentinel_username=options.get("sentinel_username", [None])[0],
        sentinel_password=options.get("sentinel_password", [None])[0],
    )


_TOPOLOGIES = {"unix": Topology.SERVER} | {
    f"{scheme}{one.value}": one for one in Topology for scheme in ("redis", "rediss")
}
_OPTIONS = {"sentinel_username", "sentinel_password"}


def _is_server(text: str) -> bool:
    """Does it name a server, and nothing that the library would stumble over later?"""
    try:
        parts = urlsplit(text)
        if parts.scheme == "unix":
            return bool(parts.path)
        is_number = parts.path.strip("/").isdecimal() or not parts.path.strip("/")
        return bool(parts.hostname) and is_number and parts.port != 0
    except ValueError:
        return False


def _service(path: str) -> tuple[str, int]:
    service, _, database = path.partition("/")
    if not service or not (database or "0").isdecimal():
        raise ValueError(
            "must name what the Sentinels watch behind their hosts, "
            "such as redis+sentinel://host:26379,host2:26379/SERVICE, and may end with /DATABASE"
        )
    return unquote(service), int(database or "0")


def _nodes(hosts: str, port: int) -> tuple[Place, ...]:
    """One by one: a list of them is no host to `urlsplit`."""
    try:
        nodes = [urlsplit(f"//{host.strip()}") for host in hosts.split(",")]
        places = tuple((node.hostname or "", node.port or port) for node in nodes)
        is_whole = all(node.hostname and node.port != 0 and not node.path for node in nodes)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(
            "must have a comma list of hosts, each with its port, such as a:7000,b:7000"
        )
    return places
