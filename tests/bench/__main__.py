"""`python -m tests.bench NAME…`: all benches, or those named."""

import sys

from tests.bench import graphql, memory, over_http, simulation, speed, streams

BENCHES = {
    "speed": speed.main,
    "memory": memory.main,
    "graphql": graphql.main,
    "simulation": simulation.main,
    "http": over_http.main,
    "streams": streams.main,
}

for name in sys.argv[1:] or BENCHES:
    BENCHES[name]()
