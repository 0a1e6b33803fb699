"""`python -m tests.bench [hits] [speed] [memory] [many] [simulation] [http]`: all, or some."""

import sys

from tests.bench import hits, many, memory, over_http, simulation, speed

BENCHES = {
    "hits": hits.main,
    "speed": speed.main,
    "memory": memory.main,
    "many": many.main,
    "simulation": simulation.main,
    "http": over_http.main,
}

for name in sys.argv[1:] or BENCHES:
    BENCHES[name]()
