"""PyPI's `smsc`: do what is named with the provider at URL, and print what it tells, as JSON.

Usage: ask_smsc.py URL send|get_cost|get_status|get_balance ARGUMENTS, these as JSON.
"""

import json
import sys
from collections.abc import Callable

from smsc import SMSC, SMSMessage

url, call, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
SMSC._url = f"{url}/sys/"  # noqa: SLF001 - it has no option for it
client = SMSC("demo", "demo", sender="Robot")


def _sent(to: list[str], text: str) -> object:
    told = client.send(to, SMSMessage(text))
    return {"id": told.message_id, "count": told.count, "cost": told.cost, "error": told.error}


def _priced(to: list[str], text: str) -> object:
    told = client.get_cost(to, SMSMessage(text))
    return {"count": told.count, "cost": told.cost, "error": told.error}


def _statuses(to: list[str], msg_id: list[str]) -> object:
    told = client.get_status(to, msg_id)
    return [{"status": one.status.status_id, "name": one.status.name, **one.data} for one in told]


def _balance() -> object:
    told = client.get_balance()
    return {"balance": told.balance, "currency": told.currency, "error": told.error}


CALLS: dict[str, Callable[..., object]] = {
    "send": _sent,
    "get_cost": _priced,
    "get_status": _statuses,
    "get_balance": _balance,
}
print(json.dumps(CALLS[call](**arguments), default=str))
