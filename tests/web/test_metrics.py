"""`/metrics` by the conventions, and the page that lists what it tells."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_plain

from gateway.callers.model import ALL_SCOPES
from gateway.web.ops.families import SECTIONS, page
from tests.support.callers import client
from tests.support.gateway import Setup, running
from tests.support.receiver import SECRET, receiving
from tests.support.tools import promtool
from tests.support.valkey import until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
KEY = {"authorization": "Bearer key of billing"}
PHONE, LIVE = "79990000001", "79990000100"
OPENMETRICS = "application/openmetrics-text"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2 sends."""


async def scrape(setup: Setup, accept: str) -> tuple[str, str]:
    answer = await setup.client.get("/metrics", headers=KEY | {"accept": accept})
    assert answer.status_code == 200
    return answer.headers["content-type"].partition(";")[0], answer.text


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (PROMETHEUS, OPENMETRICS),
        (OPENMETRICS, OPENMETRICS),
        ("application/openmetrics-text; version=not-a-number", OPENMETRICS),
        ("text/plain, application/openmetrics-text;q=0.5", "text/plain"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "text/plain"),
        ("application/json", "text/plain"),
        ("*/*", "text/plain"),
    ],
)
async def test_the_format_is_negotiated(accept: str, media: str) -> None:
    async with running() as setup:
        found, text = await scrape(setup, accept)
        assert found == media
        assert text.endswith("# EOF\n") == (media == OPENMETRICS)


async def test_ages_of_what_is_final_and_of_what_is_not_are_told_apart() -> None:
    async with running() as setup:
        await setup.message(1, PHONE)
        await setup.message(100, LIVE)
        await setup.clock.advance(4)
        await setup.message(1, PHONE)
        await setup.message(100, LIVE)
        batch = {"items": [{"id": "1", "phone": PHONE}, {"id": "1", "phone": PHONE}]}
        assert (await setup.client.post("/v1/statuses/batch", json=batch)).is_success
        _, text = await scrape(setup, "text/plain")
    name = "smsc_gateway_answer_age_seconds"
    samples = {
        (sample.name.removeprefix(name), *sample.labels.values()): sample.value
        for family in read_plain(text)
        for sample in family.samples
    }
    assert (samples["_bucket", "true", "1.0"], samples["_bucket", "true", "5.0"]) == (1, 4)
    assert (samples["_count", "true"], samples["_sum", "true"]) == (4, 12)
    assert (samples["_bucket", "false", "1.0"], samples["_bucket", "false", "5.0"]) == (1, 2)
    assert samples["_bucket", "false", "+Inf"] == 2


async def test_what_requests_took_is_told_by_their_kind() -> None:
    async with running() as setup:
        items = [{"id": str(20 + n), "phone": f"7999000002{n}"} for n in range(10)]
        assert (await setup.client.post("/v1/statuses/batch", json={"items": items})).is_success
        await setup.message(1, PHONE)
        _, text = await scrape(setup, "text/plain")
    name = "smsc_gateway_provider_request_duration_seconds_count"
    assert f'{name}{{kind="single"}} 1.0' in text
    assert f'{name}{{kind="mass"}} 1.0' in text


class TestOfAGatewayThatDidEverything:
    """One that has every series there is."""

    @pytest.fixture
    async def scrapes(self, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
        """As plain text, and as OpenMetrics."""
        with receiving() as receiver:
            webhook = (
                f'[[client.webhook]]\nname = "receiver"\nurl = "{receiver.url}"\n'
                f'secret = "{SECRET}"\n'
            )
            clients = tmp_path / "clients.toml"
            clients.write_text(client("billing", scopes=ALL_SCOPES, more=webhook))
            receiver.answer = lambda *_: 500
            async with running(STATE_DIR=str(tmp_path), CLIENTS_FILE=str(clients)) as setup:
                archive = setup.state["archive"]
                assert archive is not None
                await until(lambda: archive.report().rows is not None)
                setup.client.headers.update(KEY)
                await setup.message(1, PHONE)
                await setup.graphql("{ provider { records } }")
                plain = ""
                while not all(one in plain for one in ("timestamp_seconds{", "tries_total{")):
                    await setup.clock.advance(0.1)
                    plain = (await scrape(setup, "text/plain"))[1]
                yield plain, (await scrape(setup, OPENMETRICS))[1]

    async def test_nothing_breaks_a_convention(self, scrapes: tuple[str, str]) -> None:
        assert promtool("check", "metrics", given=scrapes[0]) == ""

    async def test_both_formats_can_be_read(self, scrapes: tuple[str, str]) -> None:
        def told(families: Iterable[Metric]) -> dict[str, set[str]]:
            return {one.name: {sample.name for sample in one.samples} for one in families}

        plain, openmetrics = scrapes
        as_plain = told(read_plain(plain))
        as_plain["smsc_gateway"] = as_plain.pop("smsc_gateway_info")
        assert told(read_openmetrics(openmetrics)) == as_plain  # type: ignore[no-untyped-call]

    async def test_the_page_lists_them_all(self, scrapes: tuple[str, str]) -> None:
        told = {
            line.split()[2]: line.split()[3]
            for line in scrapes[0].splitlines()
            if line.startswith("# TYPE")
        }
        listed = {one.name: one.type for family in SECTIONS.values() for one in family}
        assert listed == told | {"smsc_gateway_info": "info"}


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == page(), "run: make contracts"
