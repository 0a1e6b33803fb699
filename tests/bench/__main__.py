"""`python -m tests.bench [speed] [graphql] [simulation] [http]`: all unless some are named."""

import sys

from tests.bench import graphql, over_http, simulation, speed

BENCHES = {
    "speed": speed.main,
    "graphql": graphql.main,
    "simulation": simulation.main,
    "http": over_http.main,
}

for name in sys.argv[1:] or BENCHES:
    BENCHES[name]()
