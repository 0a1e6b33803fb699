"""What a record takes in memory, and what reading it costs, among few and among many."""

import gc
import random
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from gateway.freshness import Known
from gateway.records import StatusKey
from gateway.simulator import render
from gateway.simulator.samples import MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode, match
from gateway.smsc.row import Expected
from gateway.store.memory import MemoryStore
from tests.support.gateway import settings

SIZES = (1_000, 100_000, 1_000_000)
READS = 20_000
PAGE = 4096
LETTERS = "абвгдежзиклмнопрстуф"


def _resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _fill(store: MemoryStore, count: int, random_: random.Random) -> None:
    """Messages with texts and times of their own, as the provider tells them."""
    zone = settings().zone
    words = ["".join(random_.choices(LETTERS, k=random_.randint(3, 9))) for _ in range(3000)]
    for first in range(0, count, 1000):
        told = [
            replace(
                MESSAGE,
                id=number + 1,
                phone=f"7999{number:07}",
                message=" ".join(random_.sample(words, 8)),
                sent=(sent := 1_790_000_000 + random_.randrange(10**7)),
                last=sent + random_.randrange(100),
                cost=f"{random_.random() * 5:.2f}",
            )
            for number in range(first, min(first + 1000, count))
        ]
        body = render(told, fmt=3, all=2, many=True, charset="utf-8")
        rows = decode(body, expected=Expected(2, many=True))
        assert isinstance(rows, list)
        for key, row in match(rows, [StatusKey(one.phone, one.id) for one in told]).items():
            found = normalise(row, key, asked=None, zone=zone)
            assert found
            own = StatusKey(str(key.phone), key.id)
            store.put(own, Known(found.record, 1.8e9 + first, 1.8e9 + first, found.certain))


def _keys(numbers: list[int]) -> list[StatusKey]:
    return [StatusKey(f"7999{number:07}", number + 1) for number in numbers]


def _reading(store: MemoryStore, keys: list[StatusKey]) -> float:
    """Seconds to read one, the keys as callers bring them: new ones."""
    began = time.process_time()
    for key in keys:
        store.get(key)
    return (time.process_time() - began) / len(keys)


def _measure(count: int) -> str:
    random_ = random.Random(1)
    store = MemoryStore(count)
    gc.collect()
    gc.freeze()
    before = _resident()
    _fill(store, count, random_)
    gc.collect()
    size = (_resident() - before) / count
    reading = [
        _reading(store, _keys(numbers)) * 1e6
        for numbers in (
            [random_.randrange(max(0, count - 500), count) for _ in range(READS)],
            [random_.randrange(count) for _ in range(READS)],
        )
    ]
    began = time.perf_counter()
    gc.collect()
    pause = time.perf_counter() - began
    return (
        f"{size:>8,.0f} bytes each; to read one of the last {reading[0]:.2f} us, any "
        f"{reading[1]:.2f} us; a whole garbage collection {pause * 1e3:.1f} ms"
    )


def main() -> None:
    print("records in memory")
    # Each in a process of its own: what one leaves would be used by the next.
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for count in SIZES:
            print(f"  {count:>9,}{pool.apply(_measure, (count,))}")


if __name__ == "__main__":
    main()
