"""The same hit among many: records in the cache, callers, and event streams that stay open.

Records are asked for in random order. One caller has no quota, for none allows what the load sends;
each of many has one. There are fewer streams where the machine does not allow so many descriptors.
"""

import random
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

from gateway.protocol.bounds import room_within
from tests.bench import records
from tests.bench.gateways import LIVE, clients_file, headers, with_provider
from tests.bench.harness import Bench, Row, Server, Work, print_table, take_turns
from tests.bench.load import request

SIZES = (1_000, 100_000, 1_000_000)
CALLERS = 10_000
STREAMS = 10_000
SPARE = 200
"""Descriptors of this process that are no streams."""

HEAD = Row("a REST hit", "limit", "", "us", "ratio", "goal")


def _filled(bench: Bench, count: int) -> Server:
    """The gateway as shipped, that knows so many records."""
    clients = clients_file(bench, CALLERS, without_quota=1)
    module = ("tests.bench.peers", "filled", str(count))
    return with_provider(bench, *module, CLIENTS_FILE=clients)


def _asked(count: int, callers: int) -> Iterator[bytes]:
    """Any of so many records, by any of so many callers."""
    random_ = random.Random(callers)  # others than those just asked for by fewer
    asks = [request("GET", "PATH", headers(caller)).decode() for caller in range(callers)]
    rest = [ask.removeprefix("GET PATH") for ask in asks]
    while True:
        key = records.key(int(random_.random() * count))
        by = rest[int(random_.random() * callers)]
        yield f"GET /v1/messages/{key.id}?phone={key.phone}{by}".encode()


def _open_streams(stack: ExitStack, server: Server, count: int) -> None:
    """Follow a message that is on its way, so many times, each by a caller of its own."""
    url = urlsplit(server.address)
    path = f"/v1/messages/{LIVE['id']}/events?phone={LIVE['phone']}"
    events = {"accept": "text/event-stream"}
    for caller in range(count):
        stream = stack.enter_context(socket.create_connection((url.hostname, url.port), 60))
        stream.sendall(request("GET", path, headers(caller) | events))
        read = b""
        while b"data:" not in read:
            read += (more := stream.recv(1 << 16))
            assert more, read.decode()
            assert read.startswith(b"HTTP/1.1 200"), read.decode()


def _possible_streams() -> int:
    """As many as are to be open, or as descriptors allow: both ends of them, here and there."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(STREAMS, room_within(hard).most - SPARE, hard - SPARE)


def rows() -> list[Row]:
    few, most = SIZES[0], SIZES[-1]
    with ExitStack() as stack:
        streams = _possible_streams()
        bench = Bench(stack)
        servers = {count: _filled(bench, count) for count in SIZES}
        filled = {count: server.resident() for count, server in servers.items()}
        beside = _filled(bench, few)
        _open_streams(stack, beside, streams)
        works = {
            f"{count:,} records": Work(server, _asked(count, 1))
            for count, server in servers.items()
        }
        for count in (few, most):
            name = f"{count:,} records, {CALLERS:,} callers"
            works[name] = Work(servers[count], _asked(count, CALLERS))
        works[f"{few:,} records, {streams:,} open streams"] = Work(beside, _asked(few, 1))
        figures = take_turns(works)
        asked = {count: server.resident() for count, server in servers.items()}
    least = f"{few:,} records"
    limit = figures[least].cost
    made = [
        Row(name, f"{least} {limit:.1f}", "", f"{one.cost:.1f}", f"{one.cost / limit:.2f} x", goal)
        for name, one in figures.items()
        for goal in ["" if name == least else "<= 1.2 x"]
    ]
    for count in SIZES[1:]:
        as_is = (filled[count] - filled[few]) / (count - few)
        in_use = (asked[count] - filled[few]) / (count - few)
        sizes = f"{as_is:,.0f} bytes each, {in_use:,.0f} when asked for"
        made.append(Row(f"{count:,} records in the process", "", "", "", sizes, "<= 1,536 bytes"))
    return made


def main() -> None:
    print_table(rows(), HEAD)
