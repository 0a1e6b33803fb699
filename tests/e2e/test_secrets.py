"""Nothing secret comes out: a real gateway is asked everything, and all that it says is searched.

It runs with every credential there is, logs at debug level, and has a provider that breaks in every
way it can.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5, sha256
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from gateway.callers.model import Scope
from gateway.clock import Clock
from gateway.simulator import Handler, create_simulator, sample_world
from tests.support.callers import client
from tests.support.collector import Collector
from tests.support.process import PLAIN
from tests.support.server import closed_port, serving
from tests.support.size import PATIENCE
from tests.support.valkey import Valkey, valkey

PASSWORD = "pAssw0rd-of-the-account"
API_KEY = "aPi-key-of-the-account"
CALLBACK_SECRET = "sEcret-of-the-callback"
REDIS_PASSWORD = "pAssw0rd-of-the-shared-server"
KEY, LIMITED_KEY = "kEy-of-a-caller", "kEy-of-another-caller"
WRONG_KEY = "kEy-that-nobody-has"
CREDENTIALS = (
    PASSWORD,
    md5(PASSWORD.encode(), usedforsecurity=False).hexdigest(),
    API_KEY,
    CALLBACK_SECRET,
    REDIS_PASSWORD,
    KEY,
    LIMITED_KEY,
    WRONG_KEY,
    sha256(KEY.encode()).hexdigest(),
)

EMAIL = "ivan.petrov@example.com"
TEXT, COMMENT = "Код 1234, никому", "заказ 7"
PHONE, LIVE = "79990000001", "79990000100"
PERSONAL = re.compile(
    rf"(?<![\d.])\+?7[ (-]*999[ )-]*000[ -]*\d\d[ -]*\d\d(?!\d)|{EMAIL}|{TEXT}|{COMMENT}"
)
"""Phones of the samples in any spelling, the address, what was written. Metrics have numbers of
seconds with so many digits that one of them may look like a phone."""

FAULTS: list[dict[str, object]] = [
    {"kind": "error", "value": 1},
    {"kind": "error", "value": 9},
    {"kind": "error", "value": 77},
    {"kind": "format", "value": 0},
    {"kind": "format", "value": 1},
    {"kind": "charset", "value": "koi8-r"},
    {"kind": "cut"},
    {"kind": "html"},
    {"kind": "empty"},
    {"kind": "comma"},
    {"kind": "status", "value": 503},
    {"kind": "hang"},
]


@dataclass
class Gateway:
    """A running gateway, and all errors that it told, each with what was asked."""

    address: str
    provider: str
    output: Path
    collector: Collector
    errors: list[tuple[str, str]] = field(default_factory=list)

    def ask(
        self, method: str, path: str, key: str | None = KEY, body: object = None, **headers: str
    ) -> httpx.Response:
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        content = body if isinstance(body, str) else json.dumps(body)
        answer = httpx.request(
            method,
            self.address + path,
            headers={"content-type": "application/json"} | headers,
            content=None if body is None else content,
            timeout=PATIENCE,
        )
        asked = f"{path} {content}"
        if answer.is_error:
            self.errors.append((asked, answer.text))
        elif '"errors":' in answer.text:
            self.errors.append((asked, json.dumps(answer.json()["errors"], ensure_ascii=False)))
        self.errors.append((asked, str(answer.headers)))
        return answer

    def graphql(self, query: str, key: str | None = KEY, **variables: object) -> httpx.Response:
        return self.ask("POST", "/graphql", key, {"query": query, "variables": variables})

    def asked(self) -> int:
        """How many requests the provider got."""
        stats: dict[str, int] = httpx.get(f"{self.provider}/control/stats").json()
        return stats["requests"]

    def fault(self, fault: dict[str, object]) -> None:
        httpx.post(f"{self.provider}/control/fault", json=fault).raise_for_status()


@contextmanager
def gateway(folder: Path, **account: str) -> Iterator[Gateway]:
    port = closed_port()
    handler = Handler(f"http://127.0.0.1:{port}/v1/callbacks/smsc?sha1={CALLBACK_SECRET}")
    simulator = create_simulator(
        sample_world(Clock().time),
        login="login",
        password=PASSWORD,
        apikey=API_KEY,
        handler=handler,
    )
    clients = folder / "clients.toml"
    clients.write_text(
        client("all", KEY) + client("little", LIMITED_KEY, scopes=frozenset({Scope.STATUS_READ}))
    )
    settings = account | {
        "PORT": str(port),
        "CLIENTS_FILE": str(clients),
        "CALLBACK_SECRET": CALLBACK_SECRET,
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
        "SMSC_TIMEOUT": "0.5",
        "MAX_WAIT": "1",
        "STATE_DIR": str(folder / "state"),
    }
    output = folder / "output"
    collector = Collector()
    with (
        serving(simulator) as provider,
        serving(collector.app) as traces,
        output.open("wb") as written,
    ):
        settings["SMSC_URL"] = f"{provider}/sys"
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            env=PLAIN
            | {f"GATEWAY_{name}": value for name, value in settings.items()}
            | {"OTEL_EXPORTER_OTLP_ENDPOINT": traces},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                told = Gateway(f"http://127.0.0.1:{port}", provider, output, collector)
                transport = httpx.HTTPTransport(retries=8)  # until it listens
                with httpx.Client(transport=transport) as waiting:
                    waiting.get(f"{told.address}/livez")
                yield told
            finally:
                process.terminate()
                process.wait(20)


def _ask_rest(told: Gateway) -> None:
    for kind in ("messages", "hlr-lookups"):
        for id_ in (1, 2, 404):
            told.ask("GET", f"/v1/{kind}/{id_}?phone={PHONE}")
    told.ask("GET", f"/v1/messages/1?phone=%2B7+(999)+000-00-01&key={KEY}")
    told.ask("GET", f"/v1/messages/1?phone={PHONE}", None)
    told.ask("GET", f"/v1/messages/1?phone={PHONE}", WRONG_KEY)
    told.ask("GET", f"/v1/messages/1?phone={PHONE}", LIMITED_KEY)
    told.ask("DELETE", f"/v1/messages/1?phone={PHONE}", LIMITED_KEY)
    told.ask("DELETE", f"/v1/messages/300?phone={PHONE}")
    told.ask("PUT", f"/v1/messages/1?phone={PHONE}")
    told.ask("GET", f"/v1/messages/{PHONE}?phone={PHONE}")
    told.ask("GET", f"/v1/messages/1?phone={PHONE}&phone={PHONE}")
    told.ask("GET", f"/v1/messages/1?phone={EMAIL}")
    told.ask("GET", f"/v1/messages/1?phone={PHONE}&fields={TEXT}")
    told.ask("GET", f"/{PHONE}")
    items = [{"id": str(20 + n), "phone": f"7999000002{n}"} for n in range(10)]
    told.ask("POST", "/v1/statuses/batch", body={"items": [*items, {"id": "x", "phone": EMAIL}]})
    told.ask("POST", "/v1/statuses/batch", body={"items": items, PHONE: 1})
    told.ask("POST", "/v1/statuses/batch", body=f'{{"items": [{PHONE}')
    told.ask("POST", "/v1/statuses/batch", body={"items": [PHONE, EMAIL, None, {"id": EMAIL}]})
    for what in ("refresh", "purge", "prewarm"):
        told.ask("POST", f"/v1/records/{what}?phone={PHONE}")
        told.ask("POST", f"/v1/records/{what}?phone={PHONE}&sender={EMAIL}", LIMITED_KEY)
    for path in ("/v1/provider", "/metrics"):
        told.ask("GET", path)
        told.ask("GET", path, LIMITED_KEY)


def _ask_graphql(told: Gateway) -> None:
    told.graphql(f'{{ message(id: 1, phone: "{PHONE}") {{ text phone comment }} }}')
    told.graphql(f'{{ message(id: 1, phone: "{PHONE}") {{ text }} }}', LIMITED_KEY)
    told.graphql(f'{{ message(id: 404, phone: "{PHONE}") {{ text }} }}')
    told.graphql(f'query Q{PHONE} {{ message(id: 1, phone: "{PHONE}") {{ nonsense }} }}')
    told.graphql(f'{{ message(id: 1, phone: "{PHONE} ')
    told.graphql(f"{{ message(id: 1, phone: {PHONE}) {{ text }} }}")
    told.graphql("query($p: String!) { message(id: 1, phone: $p) { text } }", p={"a": PHONE})
    told.graphql(f'mutation {{ deleteMessage(id: 301, phone: "{PHONE}") }}', LIMITED_KEY)
    told.graphql(f'mutation {{ deleteMessage(id: 301, phone: "{PHONE}") }}')
    query = f'subscription {{ status(id: 1, phone: "{PHONE}") {{ text }} }}'
    told.ask("POST", "/graphql", body={"query": query}, accept="text/event-stream")


def _ask_websocket(told: Gateway, key: str) -> None:
    address = told.address.replace("http", "ws", 1) + "/graphql"
    messages: list[object] = [
        {"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}},
        *(
            {"id": str(n), "type": "subscribe", "payload": {"query": query}}
            for n, query in enumerate(
                [
                    f'subscription {{ status(id: 1, phone: "{PHONE}") {{ text phone }} }}',
                    f'{{ message(id: 404, phone: "{PHONE}") {{ text }} }}',
                    f"{{ {PHONE} }}",
                ]
            )
        ),
        {"type": "ping"},
        f"not JSON {PHONE} {EMAIL}",
    ]
    with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        try:
            for message in messages:
                socket.send(message if isinstance(message, str) else json.dumps(message))
            while True:
                answer = json.loads(socket.recv(10))
                if answer["type"] == "error":
                    told.errors.append((str(messages), json.dumps(answer, ensure_ascii=False)))
        except WebSocketException as error:
            told.errors.append((str(messages), str(error)))


def _push(told: Gateway) -> None:
    push = {"id": 3, "phone": "79990000003"}
    httpx.post(f"{told.provider}/control/push", json=push).raise_for_status()
    for fields in ({"md5": "0"}, {"sha1": "x" * 40, "phone": PHONE}, {"status": PHONE}):
        httpx.post(f"{told.provider}/control/push", json=push | {"fields": fields})
    told.ask("GET", f"/v1/callbacks/smsc?id=1&phone={PHONE}&status=1&md5=0", None)
    told.ask("POST", "/v1/callbacks/smsc", None, body=f"{PHONE}&{EMAIL}")


def _break(told: Gateway, last: int) -> None:
    """Have the provider fail in every way, at last with an error that closes the line for long."""
    for number, fault in enumerate([*FAULTS, {"kind": "error", "value": last}]):
        before = told.asked()
        told.fault(fault)
        told.ask("GET", f"/v1/messages/{600 + number}?phone=799900003{number:02}")
        told.fault(fault)
        key = f'id: {700 + number}, phone: "799900004{number:02}"'
        told.graphql(f"{{ message({key}) {{ cost {{ amount }} }} }}")
        assert told.asked() > before, fault
        httpx.delete(f"{told.provider}/control/fault").raise_for_status()
        told.ask("GET", f"/v1/messages/{800 + number}?phone=799900005{number:02}")  # all is well


def _finds(text: str) -> set[str]:
    found = {credential for credential in CREDENTIALS if credential in text}
    return found | set(PERSONAL.findall(text))


def _lose(server: Valkey, told: Gateway) -> None:
    """Have the shared server go, and come back without knowing the gateway's password."""
    server.stop()
    while told.ask("GET", "/v1/provider").json()["sharing"] != "LOST":
        pass
    told.ask("GET", f"/v1/messages/900?phone={PHONE}")
    server.start()
    told.ask("GET", f"/v1/messages/901?phone={PHONE}")


@pytest.mark.parametrize(
    ("account", "last"),
    [({"SMSC_LOGIN": "login", "SMSC_PASSWORD": PASSWORD}, 2), ({"SMSC_API_KEY": API_KEY}, 4)],
)
def test_nothing_secret_comes_out(account: dict[str, str], last: int, tmp_path: Path) -> None:
    with (
        valkey() as server,
        gateway(tmp_path, REDIS_URL=server.url_for("gateway", REDIS_PASSWORD), **account) as told,
    ):
        assert told.ask("GET", "/v1/provider").json()["sharing"] == "SHARED"
        _ask_rest(told)
        _ask_graphql(told)
        _ask_websocket(told, KEY)
        _ask_websocket(told, WRONG_KEY)
        _push(told)
        _break(told, last)
        _lose(server, told)
        metrics = told.ask("GET", "/metrics").text
    lines = [json.loads(line) for line in told.output.read_text().splitlines() if line[0] == "{"]
    assert sum(line["event"] == "request" for line in lines) > 50
    assert [line for line in lines if _finds(json.dumps(line, ensure_ascii=False))] == []
    assert _finds(told.output.read_text()) == set()
    assert _finds(metrics) == set()
    assert "GET /v1/messages/{id}" in told.collector.text()
    assert _finds(told.collector.text()) == set()
    for question, error in told.errors:
        found = _finds(error)
        assert found.isdisjoint(CREDENTIALS), error
        assert all(personal in question for personal in found), (question, error)
