"""A gateway of two accounts as it is run: two providers, callers, a webhook, a socket, commands."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from playwright.sync_api import Browser, expect

from gateway.simulator import Limits, create_simulator, sample_world
from tests.support.browser import browser, opened
from tests.support.callers import client
from tests.support.process import PLAIN, command
from tests.support.receiver import SECRET, receiving
from tests.support.server import serving, wait_until
from tests.support.size import PATIENCE

__all__ = ["browser"]

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
NAMES = ("ru", "kz")
KEY = {"authorization": "Bearer key of desk"}


@dataclass
class Setup:
    gateway: str
    providers: dict[str, str]
    environ: dict[str, str]

    def get(self, path: str, account: str) -> httpx.Response:
        return httpx.get(self.gateway + path, headers=KEY | {"x-account": account}, timeout=60)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command of ours, beside the gateway."""
        given = {f"GATEWAY_{name}": value for name, value in self.environ.items()}
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env=PLAIN | given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@contextmanager
def two_accounts(folder: Path, more: str = "") -> Iterator[Setup]:
    with ExitStack() as stack:
        providers = {}
        for name in NAMES:
            limits = Limits(time.monotonic)
            app = create_simulator(sample_world(time.time), limits=limits)
            providers[name] = stack.enter_context(serving(app))
        message = {"id": 1, "phone": PHONE, "status": 20}
        httpx.post(f"{providers['kz']}/control/messages", json=message).raise_for_status()
        accounts = "".join(
            f'[[account]]\nname = "{name}"\nurl = "{url}/sys/"\nlogin = "demo"\npassword = "demo"\n'
            for name, url in providers.items()
        )
        (folder / "accounts.toml").write_text(accounts)
        clients = client("desk", more='account = ["ru", "kz"]\n' + more)
        (folder / "clients.toml").write_text(clients)
        environ = {
            "ACCOUNTS_FILE": str(folder / "accounts.toml"),
            "CLIENTS_FILE": str(folder / "clients.toml"),
            "STATE_DIR": str(folder),
            "PORT": "0",
        }
        _, address = stack.enter_context(command("serve", **environ))
        yield Setup(address, providers, environ)


def test_a_webhook_is_told_whose_change_it_is(tmp_path: Path) -> None:
    with receiving() as receiver:
        webhook = (
            f'[[client.webhook]]\nname = "desk-receiver"\nurl = "{receiver.url}"\n'
            f'secret = "{SECRET}"\n'
        )
        with two_accounts(tmp_path, webhook) as setup:
            for name in NAMES:
                assert setup.get(f"/v1/messages/1?phone={PHONE}", name).status_code == 200
            wait_until(lambda: len(receiver.got) >= 2)
            told = {one.told["data"]["account"]: one.change[1] for one in receiver.got}
            assert told == {"ru": "DELIVERED", "kz": "UNDELIVERABLE"}
            replayed = setup.run(
                "webhook", "replay", "desk-receiver", "--after", "2026-01-01T00:00:00Z"
            )
            assert replayed.returncode == 0, replayed.stderr
            wait_until(lambda: len(receiver.got) >= 4)


async def test_a_socket_says_its_account_at_the_beginning(tmp_path: Path) -> None:
    query = gql(
        f'subscription {{ status(id: 1, phone: "{PHONE}") {{ ... on Message {{ state }} }} }}'
    )
    with two_accounts(tmp_path) as setup:
        address = setup.gateway.replace("http:", "ws:") + "/graphql"
        for name, state in (("kz", "UNDELIVERABLE"), ("ru", "DELIVERED")):
            init = {"Authorization": KEY["authorization"], "X-Account": name}
            transport = WebsocketsTransport(url=address, init_payload=init)
            async with Client(transport=transport) as session:
                told = [one async for one in session.subscribe(query)]
            assert told == [{"status": {"state": state}}]


def test_commands_know_the_accounts(tmp_path: Path) -> None:
    with two_accounts(tmp_path) as setup:
        for name in NAMES:
            assert setup.get(f"/v1/messages/1?phone={PHONE}", name).status_code == 200
        checked = setup.run("check")
        assert checked.returncode == 0, checked.stdout
        for name in NAMES:
            assert f"login {name}  ok" in checked.stdout
        file = tmp_path / "old.jsonl"
        file.write_text("")
        unsaid = setup.run("archive", "import", str(file))
        assert "--account: must be one of ru, kz." in unsaid.stderr
        assert setup.run("archive", "import", str(file), "--account", "kz").returncode == 0
        for name in NAMES:
            assert setup.get("/v1/records", name).json()["records"]
        erased = setup.run("archive", "erase", "--phone", PHONE, "--yes")
        assert erased.stdout == "Erased: 2 records and 2 changes of state.\n"


def test_the_console_is_about_one_account(browser: Browser, tmp_path: Path) -> None:
    with two_accounts(tmp_path) as setup:
        gone = "Failed to load resource"  # the first answer: a key is needed
        with opened(browser, f"{setup.gateway}/console", gone) as page:
            page.get_by_label("Key").fill("key of desk")
            page.get_by_role("button", name="Enter").click()
            expect(page).to_have_url(f"{setup.gateway}/console/@ru")
            expect(page.get_by_text("The provider answers")).to_be_visible()
            page.goto(f"{setup.gateway}/console/@kz/records/1?phone={PHONE}")
            expect(page.locator("header .state")).to_have_text("Not delivered")
            curl = page.get_by_role("link", name="Open in the playground")
            expect(curl).to_have_attribute("href", re.compile("account.*kz"))
            page.get_by_label("Account").select_option("ru")
            expect(page).to_have_url(f"{setup.gateway}/console/@ru/records/1?phone={PHONE}")
            expect(page.locator("header .state")).to_have_text("Delivered")
            page.get_by_role("link", name="Webhooks").click()
            expect(page).to_have_url(f"{setup.gateway}/console/@ru/webhooks")
