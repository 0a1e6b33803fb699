"""The demo as a process: a gateway and a simulated provider on ports of their own."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def demo(state: Path, **settings: str) -> Iterator[tuple[str, str]]:
    """The addresses of both, without a slash at the end.

    `state` is for what they keep, `settings` are the gateway's, without their prefix.
    """
    own = {f"GATEWAY_{name}": value for name, value in {"PORT": "0", **settings}.items()}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "--simulator-port", "0"],
        env=environ | own | {"XDG_STATE_HOME": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        try:
            while not (provider := re.search(r"Provider\s+(http://[^/\s]+)", printed)):
                line = process.stdout.readline()
                assert line, printed
                printed += line
            gateway = re.search(r"Gateway\s+(http://[^/\s]+)", printed)
            assert gateway
            # What it prints later is read, or it would stop when the pipe is full.
            reader = threading.Thread(target=process.stdout.read)
            reader.start()
            try:
                yield gateway[1], provider[1]
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=20)
                reader.join()
        finally:
            process.kill()
