"""`python -m tests.bench [speed] [simulation] [http]`: all of them unless some are named."""

import sys

from tests.bench import over_http, simulation, speed

BENCHES = {"speed": speed.main, "simulation": simulation.main, "http": over_http.main}

for name in sys.argv[1:] or BENCHES:
    BENCHES[name]()
