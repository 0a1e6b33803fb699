"""`python -m tests.bench [speed] [memory] [graphql] [simulation] [http]`: all, or those named."""

import sys

from tests.bench import graphql, memory, over_http, simulation, speed

BENCHES = {
    "speed": speed.main,
    "memory": memory.main,
    "graphql": graphql.main,
    "simulation": simulation.main,
    "http": over_http.main,
}

for name in sys.argv[1:] or BENCHES:
    BENCHES[name]()
