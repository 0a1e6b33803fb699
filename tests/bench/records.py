"""Records in great number, as a store holds them: messages with texts and times of their own."""

import random
import time
from collections.abc import Iterator
from dataclasses import replace

from gateway.model.freshness import Known
from gateway.model.records import StatusKey
from gateway.simulator import render
from gateway.simulator.samples import MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode, match
from gateway.smsc.row import Expected
from gateway.store import codec as wire
from tests.support.gateway import settings

BATCH = 1000
LETTERS = "абвгдежзиклмнопрстуф"
DAY = 86_400.0


def key(number: int) -> StatusKey:
    return StatusKey(f"7999{number:07}", number + 1)


def told(count: int) -> Iterator[tuple[StatusKey, Known]]:
    """As they are read from what the provider tells, fresh for a day."""
    random_ = random.Random(1)
    zone = settings().zone
    words = ["".join(random_.choices(LETTERS, k=random_.randint(3, 9))) for _ in range(3000)]
    for first in range(0, count, BATCH):
        reports = [
            replace(
                MESSAGE,
                id=number + 1,
                phone=f"7999{number:07}",
                message=" ".join(random_.sample(words, 8)),
                sent=(sent := 1_790_000_000 + random_.randrange(10**7)),
                last=sent + random_.randrange(100),
                cost=f"{random_.random() * 5:.2f}",
            )
            for number in range(first, min(first + BATCH, count))
        ]
        body = render(reports, fmt=3, all=2, many=True, charset="utf-8")
        rows = decode(body, expected=Expected(2, many=True))
        assert isinstance(rows, list)
        keys = [StatusKey(one.phone, one.id) for one in reports]
        for asked, row in match(rows, keys).items():
            found = normalise(row, asked, asked=None, zone=zone)
            assert found
            now = time.time()
            own = StatusKey(str(asked.phone), asked.id)
            yield own, Known(found.record, now, now + DAY, found.certain)


def copied(count: int) -> Iterator[tuple[StatusKey, Known]]:
    """Many times faster: a thousand, told again and again, each as one replica hears it of another.

    What is in them is shared as far as the gateway shares it.
    """
    written = [wire.write(one, known) for one, known in told(min(count, BATCH))]
    for number in range(count):
        yield key(number), wire.read(written[number % BATCH])[1]
