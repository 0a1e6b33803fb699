"""What a record takes in memory, and what reading it costs, among few and among many."""

import gc
import os
import random
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from gateway.store.memory import MemoryStore
from tests.bench import records
from tests.bench.harness import Row

T = TypeVar("T")

FEW, SOME, MANY = 1_000, 100_000, 1_000_000
READS = 200_000


def resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _size(count: int) -> float:
    """Bytes that one of so many takes."""
    store = MemoryStore(count)
    for _ in records.told(records.BATCH):
        pass  # what reading them keeps for all is there before
    gc.collect()
    before = resident()
    for key, known in records.told(count):
        store.put(key, known)
    gc.collect()
    return (resident() - before) / count


def _reading(count: int) -> tuple[float, float]:
    """Microseconds to read any of so many, with keys as callers bring them: new ones.

    And those of a whole garbage collection.
    """
    store = MemoryStore(count)
    gc.freeze()
    for key, known in records.copied(count):
        store.put(key, known)
    random_ = random.Random(1)
    keys = [records.key(random_.randrange(count)) for _ in range(READS)]
    began = time.process_time()
    for key in keys:
        store.get(key)
    reading = (time.process_time() - began) / READS
    gc.collect()
    began = time.process_time()
    gc.collect()
    return reading * 1e6, (time.process_time() - began) * 1e6


def rows() -> list[Row]:
    size = _alone(_size, SOME)
    few, pause_of_few = _alone(_reading, FEW)
    many, pause_of_many = _alone(_reading, MANY)
    least = f"{FEW:,} records"
    return [
        Row("a record in memory", "", "", "", f"{size:,.0f} bytes", "<= 1,536 bytes"),
        Row(
            f"to read one of {MANY:,} records",
            f"of {least} {few:.2f}",
            "",
            f"{many:.2f}",
            f"{many / few:.2f} x",
            "",
        ),
        Row(
            f"a whole garbage collection beside {MANY:,} records",
            f"beside {least} {pause_of_few:,.0f}",
            "",
            f"{pause_of_many:,.0f}",
            f"{pause_of_many / pause_of_few:.2f} x",
            "",
        ),
    ]


def _alone(measure: Callable[[int], T], count: int) -> T:
    """In a process of its own: what one leaves would be used by the next."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (count,))
