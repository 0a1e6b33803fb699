"""Two accounts at the provider in one gateway, each with a simulated provider of its own."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from asgi_lifespan import LifespanManager
from starlette.types import ASGIApp

from gateway.accounts import named, read_accounts
from gateway.app import create_app
from gateway.callers.model import ALL_SCOPES, Scope
from gateway.settings import Settings, SettingsError, load
from gateway.simulator import Limits, create_simulator, sample_world
from gateway.simulator.push import signed
from gateway.web.http.state import AccountState
from gateway.web.rest.push import PATH
from tests.support.callers import client
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from gateway.web.http.state import State

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
ONE = f"/v1/messages/1?phone={PHONE}&fields=state"
RU, KZ = {"x-account": "ru"}, {"x-account": "kz"}
SECRETS = {"ru": "the-secret-of-russia", "kz": "the-secret-of-kazakhstan"}
FILE = f"""
[[account]]
name = "ru"
url = "http://ru.test/sys/"
login = "demo"
password = "demo"
currency = "RUB"
callback_secret = "{SECRETS["ru"]}"

[[account]]
name = "kz"
url = "http://kz.test/sys/"
login = "demo"
password = "demo"
currency = "KZT"
timezone = "Asia/Almaty"
limit_per_message = 3
callback_secret = "{SECRETS["kz"]}"
"""
CLIENTS = (
    client("both", more='account = ["ru", "kz"]')
    + client("only-kz", more='account = "kz"')
    + client("reader", scopes=frozenset({Scope.STATUS_READ}), more='account = ["ru", "kz"]')
)
BOTH = {"authorization": "Bearer key of both"}


class Providers(httpx.AsyncBaseTransport):
    """Each host is a provider."""

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._transports = {host: httpx.ASGITransport(app) for host, app in apps.items()}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transports[request.url.host].handle_async_request(request)


@dataclass
class Setup:
    client: httpx.AsyncClient
    providers: httpx.AsyncClient
    clock: FakeClock
    accounts: Mapping[str, AccountState]

    async def state(self, account: str, url: str = ONE) -> str:
        answer = await self.client.get(url, headers=BOTH | {"x-account": account})
        assert answer.status_code == 200, answer.text
        state: str = answer.json()["state"]
        return state

    async def asked(self, account: str) -> int:
        stats = await self.providers.get(f"http://{account}.test/control/stats")
        requests: int = stats.json()["requests"]
        return requests

    async def graphql(self, query: str, **headers: str) -> dict[str, Any]:
        answer = await self.client.post("/graphql", json={"query": query}, headers=BOTH | headers)
        told: dict[str, Any] = answer.json()
        return told


def files(folder: Path, accounts: str = FILE, clients: str = CLIENTS) -> Settings:
    (folder / "accounts.toml").write_text(accounts)
    (folder / "clients.toml").write_text(clients)
    return load(
        {
            "GATEWAY_ACCOUNTS_FILE": str(folder / "accounts.toml"),
            "GATEWAY_CLIENTS_FILE": str(folder / "clients.toml"),
            "GATEWAY_STATE_DIR": str(folder),
        }
    )


@asynccontextmanager
async def running(folder: Path, clients: str = CLIENTS) -> AsyncIterator[Setup]:
    """A gateway of two accounts; message 1 is delivered in one, and rejected in the other."""
    clock = FakeClock()
    worlds = {name: sample_world(clock.time) for name in ("ru", "kz")}
    apps = {
        f"{name}.test": create_simulator(
            world,
            monotonic=clock.monotonic,
            sleep=clock.sleep,
            limits=Limits(clock.monotonic),
        )
        for name, world in worlds.items()
    }
    providers = Providers(apps)
    app = create_app(files(folder, clients=clients), clock=clock, transport=providers)
    async with (
        LifespanManager(app) as manager,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(manager.app, raise_app_exceptions=False),
            base_url="http://gateway.localhost",
        ) as client,
        httpx.AsyncClient(transport=providers) as direct,
    ):
        message = {"id": 1, "phone": PHONE, "status": 20}
        (await direct.post("http://kz.test/control/messages", json=message)).raise_for_status()
        state = cast("State", manager._state)  # noqa: SLF001 - it has no public name
        yield Setup(client, direct, clock, state["accounts"])


async def test_each_account_is_asked_for_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        before = await setup.asked("kz")
        assert await setup.state("ru") == "DELIVERED"
        assert await setup.asked("kz") == before
        assert await setup.state("kz") == "UNDELIVERABLE"
        # What is kept of the same address in the same second is each account's own.
        assert [await setup.state(name) for name in ("ru", "kz", "ru")] == [
            "DELIVERED",
            "UNDELIVERABLE",
            "DELIVERED",
        ]
        money = f"/v1/messages/1?phone={PHONE}&fields=cost"
        told = [
            (await setup.client.get(money, headers=BOTH | one)).json()["cost"]["currency"]
            for one in (RU, KZ)
        ]
        assert told == ["RUB", "KZT"]


async def test_who_has_several_says_which(tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        unsaid = await setup.client.get(ONE, headers=BOTH)
        assert (unsaid.status_code, unsaid.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert unsaid.json()["detail"] == "X-Account must name the account: one of ru, kz."
        answer = await setup.client.get(ONE, headers=BOTH | RU)
        assert answer.headers["vary"] == "authorization, x-account"


async def test_who_has_one_need_not_say_it_and_sees_no_other(tmp_path: Path) -> None:
    only = {"authorization": "Bearer key of only-kz"}
    async with running(tmp_path) as setup:
        assert (await setup.client.get(ONE, headers=only)).json()["state"] == "UNDELIVERABLE"
        for name in ("ru", "by"):
            other = await setup.client.get(ONE, headers=only | {"x-account": name})
            assert (other.status_code, other.json()["code"]) == (403, "FORBIDDEN")
            assert other.json()["detail"] == (
                f"The caller does not belong to an account '{name}'; it has: kz."
            )
        listed = await setup.client.get("/v1/accounts", headers=only)
        assert listed.json() == {"accounts": [{"name": "kz"}]}
        both = await setup.client.get("/v1/accounts", headers=BOTH)
        assert [one["name"] for one in both.json()["accounts"]] == ["ru", "kz"]


GRAPHQL_ONE = f'message(id: 1, phone: "{PHONE}"'


async def test_a_field_of_graphql_names_its_account(tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        both = (
            "{ "
            + " ".join(
                f'{name}: {GRAPHQL_ONE}, account: "{name}") {{ state }}' for name in ("ru", "kz")
            )
            + " }"
        )
        told = {"ru": {"state": "DELIVERED"}, "kz": {"state": "UNDELIVERABLE"}}
        assert await setup.graphql(both) == {"data": told}
        assert await setup.graphql(both, **RU) == {"data": told}
        plain = f"{{ {GRAPHQL_ONE}) {{ state }} }}"
        for _ in range(3):  # compiled, and then kept
            for name, state in told.items():
                answer = await setup.graphql(plain, **{"x-account": name})
                assert answer == {"data": {"message": state}}
        unsaid = await setup.graphql(plain)
        assert unsaid["data"] == {"message": None}
        assert "one of ru, kz" in unsaid["errors"][0]["message"]
        other = await setup.graphql(f'{{ {GRAPHQL_ONE}, account: "by") {{ state }} }}')
        assert other["errors"][0]["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(
    "field",
    [
        f'hlrLookup(id: 1, phone: "{PHONE}") {{ id }}',
        f'status(id: 1, phone: "{PHONE}") {{ id }}',
        f'statuses(items: [{{id: 1, phone: "{PHONE}"}}]) {{ id }}',
        f'forecast(items: [{{id: 1, phone: "{PHONE}"}}]) {{ requests }}',
        "records { nodes { id } }",
        "recordSummary { total }",
        "provider { inFlight }",
    ],
)
async def test_no_field_guesses_the_account(field: str, tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        told = await setup.graphql(f"{{ {field} }}")
        assert "one of ru, kz" in told["errors"][0]["message"]
        assert told["errors"][0]["extensions"]["code"] == "INVALID_ARGUMENT"
        deleted = await setup.graphql(f'mutation {{ deleteMessage(id: 1, phone: "{PHONE}") }}')
        assert "one of ru, kz" in deleted["errors"][0]["message"]


async def test_one_account_blocked_leaves_the_other_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        fault = {"kind": "error", "value": 4, "times": 100}
        await setup.providers.post("http://ru.test/control/fault", json=fault)
        blocked = await setup.client.get(ONE, headers=BOTH | RU)
        assert (blocked.status_code, blocked.json()["code"]) == (503, "UPSTREAM_BLOCKED")
        for id_ in range(2, 40):
            message = {"id": id_, "phone": PHONE, "status": 1}
            await setup.providers.post("http://kz.test/control/messages", json=message)
            url = f"/v1/messages/{id_}?phone={PHONE}&fields=state"
            assert await setup.state("kz", url) == "DELIVERED"
        breakers = [
            (await setup.client.get("/v1/provider", headers=BOTH | one)).json()["breaker"]["state"]
            for one in (RU, KZ)
        ]
        assert breakers == ["OPEN", "CLOSED"]
        ready = await setup.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json() == {
            "status": "ready",
            "accounts": {
                "ru": {"status": "unavailable", "breaker": "OPEN", "reason": "UPSTREAM_BLOCKED"},
                "kz": {"status": "ready", "breaker": "CLOSED"},
            },
        }


async def test_each_keeps_its_own_limits(tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        budgets = [
            (await setup.client.get("/v1/provider", headers=BOTH | one)).json()["budgets"]
            for one in (RU, KZ)
        ]
        assert [one["perMessage"]["limit"] for one in budgets] == [5, 3]
        again = {"cache-control": "no-cache"}
        statuses = {
            name: [
                (await setup.client.get(ONE, headers=BOTH | again | {"x-account": name})).headers[
                    "cache-status"
                ]
                for _ in range(6)
            ]
            for name in ("ru", "kz")
        }
        asked = {name: sum("fwd=" in one for one in told) for name, told in statuses.items()}
        assert asked["ru"] > asked["kz"] >= 1
        for name in ("ru", "kz"):
            stats = await setup.providers.get(f"http://{name}.test/control/stats")
            assert stats.json()["breaches"] == 0


async def test_a_push_is_for_the_account_whose_secret_signed_it(tmp_path: Path) -> None:
    fields = {"id": "57", "phone": PHONE, "status": "1"}
    url = f"/v1/messages/57?phone={PHONE}&fields=state"
    cached = {"cache-control": "only-if-cached"}
    async with running(tmp_path) as setup:
        taken = await setup.client.post(PATH, data=signed(fields, SECRETS["kz"]))
        assert taken.text == "OK"
        known = [
            (await setup.client.get(url, headers=BOTH | cached | one)).status_code
            for one in (RU, KZ)
        ]
        assert known == [504, 200]
        wrong = await setup.client.post(PATH, data=signed(fields, "a-secret-of-nobody"))
        assert wrong.status_code == 403


async def test_lists_and_changes_are_of_one_account(tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        await setup.state("ru")
        await setup.state("kz")
        for account in setup.accounts.values():
            assert account["archive"] is not None
            await account["archive"].flush()
        for one, state in ((RU, "DELIVERED"), (KZ, "UNDELIVERABLE")):
            listed = (await setup.client.get("/v1/records", headers=BOTH | one)).json()["records"]
            assert [record["state"] for record in listed] == [state]
            changes = (await setup.client.get("/v1/changes", headers=BOTH | one)).json()
            assert [change["state"] for change in changes["changes"]] == [state]
        other = f"/v1/changes?after={changes['next']}"
        refused = await setup.client.get(other, headers=BOTH | RU)
        assert (refused.status_code, refused.json()["detail"]) == (
            400,
            "after is a cursor of another account.",
        )


async def test_metrics_tell_of_each_account(tmp_path: Path) -> None:
    async with running(tmp_path) as setup:
        await setup.state("ru")
        text = (await setup.client.get("/metrics", headers=BOTH)).text
        told = re.findall(r'_breaker_state\{account="(\w+)",state="CLOSED"\} 1.0', text)
        assert told == ["ru", "kz"]
        only = {"authorization": "Bearer key of only-kz"}
        text = (await setup.client.get("/metrics", headers=only)).text
        assert 'account="kz"' in text
        assert 'account="ru"' not in text


async def test_without_a_file_of_callers_everybody_may_ask_for_each(tmp_path: Path) -> None:
    settings = load({"GATEWAY_ACCOUNTS_FILE": str(files(tmp_path).accounts_file)}, state_dir=None)
    assert named(read_accounts(settings)) == ("ru", "kz")
    assert settings.scopes_of_anonymous == ALL_SCOPES


def refused(folder: Path, text: str) -> str:
    settings = files(folder, text)
    with pytest.raises(SettingsError) as error:
        read_accounts(settings)
    return str(error.value).replace(f"{settings.accounts_file}: ", "")


ACCOUNT = '[[account]]\nname = "ru"\n'
LOGIN = ACCOUNT + 'login = "acme"\npassword = "very-secret"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "an account is written as [[account]], with two brackets."),
        ('[account]\nname = "ru"', "an account is written as [[account]], with two brackets."),
        ("account = ", "is not TOML"),
        ("[[acount]]", "'acount' is not known here; there is [[account]]."),
        ("[[account]]", "account 1: name must be 1 to 64 letters, digits and ._@-"),
        (ACCOUNT, "account 1 (ru): login with password, or api_key alone, must be given."),
        (LOGIN + 'api_key = "x"', "login with password, or api_key alone, must be given."),
        (LOGIN + 'pasword = "x"', "account 1 (ru): 'pasword' is not known here; did you mean pass"),
        (LOGIN + "format = 7", "account 1 (ru): format: should be 0, 1, 2 or 3."),
        (LOGIN + 'timezone = "Moscow"', "timezone: must be a time zone such as Europe/Moscow."),
        (LOGIN + 'callback_secret = "short"', "callback_secret: must have at least 16 characters."),
        (LOGIN + LOGIN, "account 2 (ru): another account has that name; change one."),
        (
            LOGIN + LOGIN.replace('"ru"', '"kz"'),
            "account 2 (kz): ru has the same login; leave one of them out.",
        ),
        (
            FILE.replace(SECRETS["kz"], SECRETS["ru"]),
            "account 2 (kz): callback_secret: ru has the same, and by it a push tells whose it is",
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_one_sentence(
    text: str, sentence: str, tmp_path: Path
) -> None:
    told = refused(tmp_path, text)
    assert sentence in told
    assert "very-secret" not in told


def test_the_form_in_the_module_is_read(tmp_path: Path) -> None:
    from gateway import accounts  # noqa: PLC0415 - for its text

    form = (accounts.__doc__ or "").split("```toml")[1].split("```")[0]
    read = read_accounts(files(tmp_path, form.replace('"…"', '"sixteen-or-more-letters"')))
    assert named(read) == ("ru", "kz")


def test_the_environment_has_no_login_beside_the_file(tmp_path: Path) -> None:
    file = str(files(tmp_path).accounts_file)
    with pytest.raises(SettingsError, match="GATEWAY_SMSC_LOGIN must not be set beside"):
        load({"GATEWAY_ACCOUNTS_FILE": file, "GATEWAY_SMSC_LOGIN": "acme"})


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("", "client 1 (desk): account must name one or more of ru, kz."),
        ('account = "by"', "client 1 (desk): account: there is no by; there are ru, kz."),
    ],
)
def test_each_client_names_its_accounts(more: str, sentence: str, tmp_path: Path) -> None:
    from gateway.callers.file import ClientsFileError, parse  # noqa: PLC0415 - as above

    with pytest.raises(ClientsFileError, match=re.escape(sentence)):
        parse(client("desk", more=more), tmp_path, accounts=["ru", "kz"])
    alone = parse(client("desk"), tmp_path, accounts=["ru"])
    assert alone.callers["desk"].accounts is None
