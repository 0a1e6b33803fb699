"""What a record takes in memory, and what reading it costs, among few and among many."""

import gc
import random
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from gateway.freshness import Known, at_observation
from gateway.records import DetailLevel, StatusKey
from gateway.simulator import render
from gateway.simulator.samples import MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode, match
from gateway.smsc.row import Expected
from gateway.store.memory import MemoryStore
from tests.support.gateway import settings

RECORDS = 200_000
YOUNG = 20_000
READS = 20_000
PAGE = 4096
LETTERS = "абвгдежзиклмнопрстуф"


def _resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _filled(count: int, young: int, random_: random.Random) -> MemoryStore:
    """A store of messages with texts and times of their own, as the provider tells them."""
    store, zone = MemoryStore(count, young), settings().zone
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
        freshness = at_observation(1_800_000_000 + first, DetailLevel.FULL)
        for key, row in match(rows, [StatusKey(one.phone, one.id) for one in told]).items():
            found = normalise(row, key, asked=None, freshness=freshness, zone=zone)
            assert found
            own = StatusKey(str(key.phone), key.id)
            store.put(own, Known(found.record, 1.8e9 + first, 1.8e9 + first, found.certain))
    return store


def _reading(store: MemoryStore, numbers: list[int]) -> float:
    """Seconds to read one."""
    keys = [StatusKey(f"7999{number:07}", number + 1) for number in numbers]
    began = time.process_time()
    for key in keys:
        store.get(key)
    return (time.process_time() - began) / len(keys)


def _measure(count: int, young: int) -> str:
    random_ = random.Random(1)
    before = _resident()
    store = _filled(count, young, random_)
    gc.collect()
    size = (_resident() - before) / count
    near = [random_.randrange(count - 500, count) for _ in range(READS)]
    far = [random_.randrange(count) for _ in range(READS)]
    last, any_ = _reading(store, near) * 1e6, _reading(store, far) * 1e6
    return f"{size:>6,.0f} bytes; to read one of the last {last:.2f} us, any {any_:.1f} us"


def main() -> None:
    print("a record in memory")
    stores = {"young": (YOUNG, YOUNG), "old": (RECORDS, 1), "mixed": (RECORDS, YOUNG)}
    # Each in a process of its own: what one leaves would be used by the next.
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, (count, young) in stores.items():
            print(f"  {name:<8}{pool.apply(_measure, (count, young))}")


if __name__ == "__main__":
    main()
