"""Clients of SMSC from PyPI and npm against the simulator: they send, ask, and meet refusals.

What they do is theirs; where it departs from the provider's documentation a test says so.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import node
from tests.support.process import command, gateway

CLIENTS = Path(__file__).parents[1] / "clients"
PHONES = ["79991234567", "79990000020"]
"""One that gets its messages, and one whose subscriber is absent."""


@pytest.fixture(name="provider")
def _provider() -> Iterator[str]:
    with command("simulator", "--port", "0") as (_, provider):
        yield provider


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CLIENTS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def smsc(provider: str, call: str, **arguments: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    """What PyPI's `smsc` tells."""
    done = python("ask_smsc.py", provider, call, json.dumps(arguments))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def node_smsc(provider: str, call: str, *file: str, **query: object) -> Any:  # noqa: ANN401 - as above
    """What npm's `node-smsc` tells; with a file it sends a form of several parts."""
    return node.run("smsc.mjs", provider, call, json.dumps(query), *file)


def settled(provider: str, id_: int) -> None:
    """Wait until the first message has reached its phone; four requests do not break the limit."""
    account = {"login": "demo", "psw": "demo"}
    query = {**account, "phone": PHONES[0], "id": str(id_), "fmt": "1"}
    for _ in range(4):
        if httpx.get(f"{provider}/sys/status.php", params=query).text.startswith("1,"):
            return
        time.sleep(2)
    pytest.fail("it is delivered four seconds after it was sent")


def test_what_smsc_of_pypi_sends_it_and_the_gateway_can_follow(
    provider: str, tmp_path: Path
) -> None:
    priced = smsc(provider, "get_cost", to=PHONES, text="Код 1234")
    assert priced == {"count": 2, "cost": 6.4, "error": None}
    sent = smsc(provider, "send", to=PHONES, text="Код 1234")
    assert sent == {"id": sent["id"], "count": 2, "cost": 6.4, "error": None}
    balance = smsc(provider, "get_balance")
    assert balance == {"balance": 99_993.6, "currency": "RUB", "error": None}
    settled(provider, sent["id"])
    delivered, failed = smsc(provider, "get_status", to=PHONES, msg_id=[str(sent["id"])] * 2)
    assert (delivered["status"], delivered["name"]) == (1, "Доставлено")
    assert (delivered["message"], delivered["sender_id"]) == ("Код 1234", "Robot")
    assert (failed["status"], failed["err"], failed["phone"]) == (20, 6, PHONES[1])
    assert delivered["last_date"] > delivered["send_date"] > "2026"
    with gateway(provider, tmp_path) as served:
        url = f"{served.gateway}/v1/messages/{sent['id']}?phone={PHONES[1]}&fields=state,text"
        record = httpx.get(url).json()
    assert (record["state"], record["text"]) == ("UNDELIVERABLE", "Код 1234")


def test_smsc_of_pypi_tells_an_error_of_sending_and_has_none_of_a_status(provider: str) -> None:
    refused = smsc(provider, "send", to=["79990000093"], text="Код 1234")
    assert refused["error"] == [3, "no money"]
    # It takes for granted that every status has dates: one that is not found ends in a KeyError.
    done = python("ask_smsc.py", provider, "get_status", '{"to": "79990000001", "msg_id": "9"}')
    assert done.returncode == 1
    assert "KeyError: 'status_name'" in done.stderr


def test_smsc_client_of_pypi_sends(provider: str) -> None:
    message = {"phones": PHONES[0], "mes": "Code 1234", "id": 77, "sender": "Robot"}
    done = python("ask_smsc_client.py", provider, json.dumps(message))
    assert json.loads(done.stdout) == {"OK": "1 SMS", "ID": "77"}
    # Its hint for the id is a UUID, which is error 1; errors it can't read.
    done = python("ask_smsc_client.py", provider, json.dumps(message | {"id": "0b46-4ddd"}))
    assert "ValueError: not enough values to unpack" in done.stderr
    log = httpx.get(f"{provider}/control/log").json()
    assert [entry["outcome"] for entry in log] == ["ok, id 77", "error 1"]


def test_node_smsc_of_npm_sends_and_asks(provider: str, tmp_path: Path) -> None:
    attached = tmp_path / "attached.txt"
    attached.write_text("Привет")
    sent = node_smsc(provider, "send", phones=",".join(PHONES), mes="Код 1234", cost=3)["result"]
    assert sent == {"id": sent["id"], "cnt": 2, "cost": "6.40", "balance": "99993.60"}
    lookup = node_smsc(provider, "send", phones=PHONES[0], hlr=1)["result"]
    assert lookup == {"id": sent["id"] + 1, "cnt": 1}
    mail = {"phones": "someone@example.com", "mail": 1, "subj": "Файл", "mes": "Внутри"}
    assert node_smsc(provider, "send", str(attached), **mail)["result"]["cnt"] == 1
    settled(provider, sent["id"])
    asked = {"phone": PHONES[1], "id": sent["id"], "all": 1}
    for file in ((), (str(attached),)):
        told = node_smsc(provider, "status", *file, **asked)["result"]
        assert (told["status"], told["err"], told["message"]) == (20, 6, "Код 1234")
    told = node_smsc(provider, "status", phone=PHONES[0], id=lookup["id"])["result"]
    assert (told["status"], told["net"]) == (1, "МегаФон")


def test_node_smsc_of_npm_meets_refusals(provider: str) -> None:
    assert node_smsc(provider, "send", phones="79990000097", mes="Код 1234") == {
        "error": "invalid number (7)",
        "code": 7,
    }
    wanting = node_smsc(provider, "get", get_messages=1)
    assert wanting["code"] == 1
    assert wanting["error"].startswith("this is a simulator without get.php")
    assert httpx.get(f"{provider}/control/stats").json()["calls"] == {"send.php": 1, "get.php": 1}


def test_a_client_with_a_fixed_host_may_take_the_simulator_for_its_proxy(provider: str) -> None:
    query = {"login": "demo", "psw": "demo", "phone": "79990000001", "id": "1", "fmt": "1"}
    answer = httpx.post("http://smsc.ru/sys/status.php", data=query, proxy=provider)
    assert answer.text == "1,1700000000,0"
