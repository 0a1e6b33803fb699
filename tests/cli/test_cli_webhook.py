"""`smsc-gateway webhook …`, as whoever runs the gateway uses it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from tests.support.callers import client
from tests.support.process import command, drained
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.server import wait_until


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture(name="environ")
def _environ(tmp_path: Path, receiver: Receiver) -> dict[str, str]:
    webhook = f'[[client.webhook]]\nname = "one"\nurl = "{receiver.url}"\nsecret = "{SECRET}"\n'
    (tmp_path / "clients.toml").write_text(client("billing", more=webhook))
    return {
        "GATEWAY_CLIENTS_FILE": str(tmp_path / "clients.toml"),
        "GATEWAY_STATE_DIR": str(tmp_path),
        "GATEWAY_SMSC_LOGIN": "demo",
        "GATEWAY_SMSC_PASSWORD": "demo",
    }


def run(environ: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(main, ["webhook", *arguments], env=environ)


def test_a_test_is_signed_and_its_answer_told(environ: dict[str, str], receiver: Receiver) -> None:
    done = run(environ, "test", "one")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("one took it: HTTP 204, after ")
    [got] = receiver.got
    told = got.verified()
    assert (told["type"], told["data"]) == ("webhook.test", {"webhook": "one"})


def statuses(receiver: Receiver) -> list[int]:
    """What it answered when it was told of changes."""
    return [one.status for one in receiver.got if one.told["type"] == "status.changed"]


def test_beside_a_gateway_that_runs(environ: dict[str, str], receiver: Receiver) -> None:
    """It is told of a change, switched off, switched on by a test, and told of all again."""
    done = run(environ, "replay", "one", "--after", "2026-01-15T10:00:00Z")
    assert done.output == "Error: one was told nothing yet: no gateway has begun with it.\n"
    settings = {name.removeprefix("GATEWAY_"): value for name, value in environ.items()}
    with (
        command("simulator", "--port", "0") as (simulator, provider),
        drained(simulator),
        command("serve", PORT="0", SMSC_URL=f"{provider}/sys", **settings) as (process, gateway),
        drained(process),
        httpx.Client(
            base_url=gateway, headers={"authorization": "Bearer key of billing"}
        ) as caller,
    ):
        assert caller.get("/v1/messages/1?phone=79990000001").is_success
        wait_until(lambda: len(receiver.taken) == 1)
        receiver.answer = lambda *_: 410
        assert caller.get("/v1/hlr-lookups/2?phone=79990000001").is_success

        def state() -> str:
            [told] = caller.get("/v1/webhooks").json()["webhooks"]
            return str(told["state"])

        wait_until(lambda: state() == "OFF")
        receiver.answer = lambda *_: 204
        done = run(environ, "test", "one")
        assert done.exit_code == 0, done.output
        assert done.output.endswith("It was switched off; now it goes on where it stands.\n")
        wait_until(lambda: state() == "ACTIVE")
        wait_until(lambda: statuses(receiver) == [204, 410, 204])
        done = run(environ, "replay", "one", "--after", "2026-01-15T10:00:00Z")
        said = "2 changes are looked through again; those that one wants are sent.\n"
        assert (done.exit_code, done.output) == (0, said)
        wait_until(lambda: len(statuses(receiver)) == 5)


def test_a_failure_is_told_too(environ: dict[str, str], receiver: Receiver) -> None:
    receiver.answer = lambda *_: 503
    done = run(environ, "test", "one")
    assert (done.exit_code, done.output) == (1, "Error: one did not take it: HTTP 503.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["test", "two"], "Error: 'two' is not a webhook; there are one."),
        (["replay", "two", "--after", "2026-01-15T10:00:00Z"], "Error: 'two' is not a webhook;"),
        (["replay", "one", "--after", "yesterday"], "must be a time with its zone, such as 2026"),
        (["replay", "one", "--after", "2026-01-15T10:00:00"], "must be a time with its zone, such"),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], arguments: list[str], said: str) -> None:
    done = run(environ, *arguments)
    assert done.exit_code != 0
    assert said in done.output
    assert len(done.output.splitlines()) <= 4
