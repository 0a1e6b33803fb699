"""`python -m tests.bench [hits] [speed] [memory] [simulation] [http]`: all, or those named."""

import sys

from tests.bench import hits, memory, over_http, simulation, speed

BENCHES = {
    "hits": hits.main,
    "speed": speed.main,
    "memory": memory.main,
    "simulation": simulation.main,
    "http": over_http.main,
}

for name in sys.argv[1:] or BENCHES:
    BENCHES[name]()
