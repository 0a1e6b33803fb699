"""`python -m tests.bench [NAME…]`: everything, or the parts named.

One table: `hits`, `speed`, `memory`. More: `many`, `streams`, `trips`, `simulation`, `http`,
`archive`, `feed`, `webhooks`.
"""

import sys

from tests.bench import (
    archive,
    feed,
    hits,
    many,
    memory,
    over_http,
    simulation,
    speed,
    streams,
    trips,
    webhooks,
)
from tests.bench.harness import print_table

TABLE = {"hits": hits.rows, "speed": speed.rows, "memory": memory.rows}
MORE = {
    "many": many.main,
    "streams": streams.main,
    "trips": trips.main,
    "simulation": simulation.main,
    "http": over_http.main,
    "archive": archive.main,
    "feed": feed.main,
    "webhooks": webhooks.main,
}

names = sys.argv[1:] or [*TABLE, *MORE]
if unknown := {*names} - {*TABLE, *MORE}:
    sys.exit(f"There is no {', '.join(unknown)}, but {', '.join([*TABLE, *MORE])}.")
if not sys.platform.startswith("linux"):
    sys.exit("CPU times of servers are read as Linux tells them: measure there.")
if rows := [row for name in names if name in TABLE for row in TABLE[name]()]:
    print_table(rows)
for name in names:
    if name in MORE:
        print()
        MORE[name]()
