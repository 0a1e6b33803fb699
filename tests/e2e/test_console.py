"""The console, as a support desk and whoever is on duty use it: in Chromium, on the demo."""

import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from gateway.callers.model import Scope
from gateway.model.records import (
    DeliveryErrorCode,
    ErrorCategory,
    FreshnessSource,
    Reachability,
    RecordState,
    RejectionReason,
    StaleReason,
)
from gateway.web.http.problems import STATUS
from tests.support.browser import browser, opened
from tests.support.callers import client
from tests.support.node import packages
from tests.support.process import demo

__all__ = ["browser"]

SOURCES = Path(__file__).parents[2] / "gateway" / "web" / "ui" / "src" / "console"
WORDS = json.loads((SOURCES / "words.json").read_text())
NAVIGATION = {
    "en-GB": ["Overview", "Records", "Look up", "Follows", "Webhooks"],
    "ru-RU": ["Обзор", "Записи", "Запрос", "Наблюдения", "Вебхуки"],
}
VIEWS = ["", "/records", "/records/3?phone=79990000003", "/look-up", "/follows", "/webhooks"]
GONE = "Failed to load resource"
"""What a browser says of each answer that is an error; the page says it in words."""


@pytest.fixture(scope="module", name="gateway")
def _gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with demo(tmp_path_factory.mktemp("console")) as (address, _):
        yield address


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("states", RecordState),
        ("reasons", DeliveryErrorCode),
        ("categories", ErrorCategory),
        ("rejections", RejectionReason),
        ("reachability", Reachability),
        ("stale", StaleReason),
        ("sources", FreshnessSource),
    ],
)
def test_there_are_words_for_all_that_the_schema_has(table: str, names: Iterable[Enum]) -> None:
    assert WORDS[table].keys() == {one.value for one in names}


def test_there_are_words_for_each_problem() -> None:
    assert WORDS["problems"].keys() == {leaf.code for leaf in STATUS} | {
        "INTERNAL_ERROR",
        "UNREACHABLE",
    }


def test_all_of_them_are_in_both_languages() -> None:
    for table, entries in WORDS.items():
        for name, words in entries.items():
            for language in ("en", "ru"):
                told = words[language]
                texts = told if isinstance(told, list) else [told]
                assert all(texts), f"{table} {name} {language}"
                assert bool(re.search("[а-я]", "".join(texts), re.IGNORECASE)) == (
                    language == "ru"
                ), name
            assert isinstance(words["en"], str) or len(words["en"]) == len(words["ru"])
    for reason in WORDS["reasons"].values():
        assert reason["fault"] in WORDS["faults"]
        assert reason["again"] in WORDS["again"]


MOST_SCRIPTS = 250 * 1024
"""Bytes of its scripts, compressed."""


def test_its_scripts_are_small(browser: Browser, gateway: str) -> None:
    sizes: list[int] = []
    with opened(browser, gateway) as page:
        page.on(
            "response",
            lambda answer: (
                sizes.append(int(answer.headers["content-length"]))
                if answer.request.resource_type == "script"
                else None
            ),
        )
        page.goto(f"{gateway}/console")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert 0 < sum(sizes) <= MOST_SCRIPTS


@pytest.mark.parametrize("locale", NAVIGATION)
def test_its_views_are_named_in_the_readers_language(
    browser: Browser, gateway: str, locale: str
) -> None:
    with opened(browser, gateway, locale=locale) as page:
        expect(page).to_have_url(f"{gateway}/console")
        links = page.get_by_role("navigation").get_by_role("link")
        expect(links).to_have_text(NAVIGATION[locale])
        for name in NAVIGATION[locale]:
            links.get_by_text(name, exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.get_by_role("button", name=re.compile("Language|Язык")).click()
        other = next(names for known, names in NAVIGATION.items() if known != locale)
        expect(links).to_have_text(other)


def found_by_axe(page: Page) -> list[tuple[str, str]]:
    """What axe has to say of a page as it stands: the rules, each with the first that breaks it."""
    page.evaluate((packages() / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")
    return [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]


@pytest.mark.parametrize(
    ("locale", "scheme", "width"),
    [
        ("en-GB", "light", 1280),
        ("en-GB", "dark", 360),
        ("ru-RU", "light", 360),
        ("ru-RU", "dark", 1280),
    ],
)
def test_axe_finds_nothing(
    browser: Browser, gateway: str, locale: str, scheme: Literal["light", "dark"], width: int
) -> None:
    body = {"items": [{"id": "3", "phone": "79990000003"}]}
    begun = httpx.post(f"{gateway}/v1/follows", json=body).json()["id"]
    with opened(browser, gateway, locale=locale, color_scheme=scheme, width=width) as page:
        for view in [*VIEWS, f"/follows/{begun}"]:
            page.goto(f"{gateway}/console{view}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.get_by_text(re.compile("Loading…|Загрузка…"))).to_have_count(0)
            assert found_by_axe(page) == [], view
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{view} has to be scrolled sideways"


def test_a_failed_message_is_found_by_a_pasted_number_and_told_why(
    browser: Browser, gateway: str
) -> None:
    httpx.get(f"{gateway}/v1/messages/3?phone=79990000003").raise_for_status()
    with opened(browser, f"{gateway}/console/records") as page:
        page.keyboard.press("/")
        page.keyboard.type("8 (999) 000-00-03")
        page.keyboard.press("Enter")
        row = page.get_by_role("row").filter(has_text="79990000003")
        expect(row).to_contain_text("The phone is off or has no signal.")
        row.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("79990000003")
        main = page.get_by_role("main")
        for words in (
            "The operator could not deliver it, and will not try again.",
            "On the customer's side",
            "Yes, after a while",
            "Switch the phone on, or go where it has signal, and ask again.",
            "6 ABSENT_SUBSCRIBER",
        ):
            expect(main).to_contain_text(words)
        expect(page.get_by_role("listitem")).to_contain_text(
            ["Handed to the provider", "Not delivered"]
        )


def test_it_leads_to_the_playground_with_the_query(browser: Browser, gateway: str) -> None:
    with opened(browser, f"{gateway}/console/records/1?phone=79990000001") as page:
        page.get_by_role("link", name="Open in the playground").click()
        editor = page.locator(".graphiql-query-editor .view-lines")
        expect(editor).to_contain_text('message(id: 1, phone: "79990000001")')


def test_the_last_hour_is_there_at_once(browser: Browser, tmp_path: Path) -> None:
    with demo(tmp_path) as (gateway, _), opened(browser, f"{gateway}/console") as page:
        charts = page.get_by_role("img")
        expect(charts).to_have_count(6)
        label = "Answers a minute: from memory, from the provider"
        expect(charts.and_(page.get_by_label(label))).to_be_visible()


def test_a_message_is_watched_while_it_is_delivered(browser: Browser, tmp_path: Path) -> None:
    with (
        demo(tmp_path) as (gateway, provider),
        opened(browser, f"{gateway}/console/records/100?phone=79990000100") as page,
    ):
        expect(page.get_by_role("heading", level=1)).to_have_text("79990000100")
        told = {"id": 100, "phone": "79990000100", "status": 1}
        httpx.post(f"{provider}/control/messages", json=told).raise_for_status()
        expect(page.locator("header .state")).to_have_text("Delivered")


def test_asking_now_tells_when_it_may(browser: Browser, tmp_path: Path) -> None:
    """After five requests about one message the provider is not asked: that is not to be hidden."""
    with (
        demo(tmp_path, MAX_WAIT="0") as (gateway, _),
        opened(browser, f"{gateway}/console/records/100?phone=79990000100") as page,
    ):
        ask = page.get_by_role("button", name="Ask the provider now")
        told = page.get_by_role("status").filter(has_text=re.compile("sked"))
        ask.click()
        expect(told).to_have_text("Asked just now.")
        for _ in range(8):
            with page.expect_response(re.compile("/v1/messages/100")):
                ask.click()
            expect(ask).to_be_enabled()
        expect(told).to_contain_text(re.compile("^Not asked: .* It may be asked from [0-9]"))


def test_a_pasted_list_is_followed_to_its_end(browser: Browser, gateway: str) -> None:
    lines = "id\tphone\n1\t+7 999 000-00-01\n79990000003;3\nnonsense\n\n404, 79990000001\n"
    with opened(browser, f"{gateway}/console/look-up") as page:
        page.get_by_label("Ids and numbers").fill(lines)
        expect(page.get_by_text("3 understood")).to_be_visible()
        expect(page.get_by_text("Line 1: a line needs an id and a number")).to_be_visible()
        expect(page.get_by_text("Line 4: a line needs an id and a number")).to_be_visible()
        page.get_by_role("button", name="Follow them").click()
        expect(page.get_by_text("3 / 3")).to_be_visible()
        expect(page.get_by_text("All were asked for")).to_be_visible()
        rows = page.get_by_role("row")
        expect(rows.filter(has_text="79990000001")).to_contain_text("Delivered")
        page.get_by_role("button", name="End it").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Follows")


def test_a_filter_stands_in_the_address_and_can_be_taken_away(
    browser: Browser, gateway: str
) -> None:
    with opened(browser, f"{gateway}/console/records?stateGroup=FAILED") as page:
        states = page.locator(".sizer .state")
        expect(states.first).to_have_text(re.compile("Not delivered|Refused|Expired"))
        page.get_by_role("button", name="Remove: Outcome").click()
        expect(page).to_have_url(f"{gateway}/console/records?")
        expect(states.filter(has_text="Delivered").first).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as CSV").click()
        assert Path(download.value.path()).read_text().startswith("kind,id,phone")


def test_a_list_scrolls_on_and_keeps_few_rows(browser: Browser, gateway: str) -> None:
    with opened(browser, f"{gateway}/console/records") as page:
        expect(page.get_by_text("100 shown")).to_be_visible()
        page.locator(".scroll").evaluate("(one) => one.scrollTo(0, one.scrollHeight)")
        expect(page.get_by_text("200 shown")).to_be_visible()
        assert page.locator(".sizer .row").count() < 60


def test_it_is_whole_at_twice_its_size(browser: Browser, gateway: str) -> None:
    """Zoomed to 200 %, a window of 1280 pixels is one of 640 for the page (WCAG 1.4.4)."""
    with opened(browser, gateway, width=640) as page:
        for view in VIEWS:
            page.goto(f"{gateway}/console{view}")
            expect(page.get_by_text("Loading…")).to_have_count(0)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{view} has to be scrolled sideways"
            cut = page.evaluate(CUT_OFF)
            assert cut == [], view


CUT_OFF = """
    [...document.querySelectorAll("button, h1, h2, dt, dd, label, nav a")]
        .filter((one) => one.offsetParent && one.scrollWidth > one.clientWidth + 1
            && getComputedStyle(one).display !== "inline")
        .map((one) => one.outerHTML.slice(0, 200))
"""

MOVING = """
    [...document.querySelectorAll("*")].filter((one) => {
        const { transitionDuration, animationName } = getComputedStyle(one);
        return animationName !== "none" || /[1-9]/.test(transitionDuration);
    }).length
"""


def test_nothing_moves_for_who_wants_that(browser: Browser, gateway: str) -> None:
    with opened(browser, f"{gateway}/console") as page:
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate(MOVING) > 0
        page.emulate_media(reduced_motion="reduce")
        for view in VIEWS:
            page.goto(f"{gateway}/console{view}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert page.evaluate(MOVING) == 0, view


def test_a_proxy_may_put_any_prefix_before_it(browser: Browser, gateway: str) -> None:
    prefix = "/console/of/ours"

    def pass_on(route: Route) -> None:
        route.continue_(url=route.request.url.replace(prefix, "", 1))

    with opened(browser, f"{gateway}/docs") as page:
        page.route(re.compile(f"^{gateway}/"), pass_on)
        page.goto(f"{gateway}{prefix}/console/records/1?phone=79990000001")
        expect(page.get_by_role("heading", level=1)).to_have_text("79990000001")
        page.get_by_role("link", name="Records", exact=True).click()
        expect(page).to_have_url(f"{gateway}{prefix}/console/records")
        expect(page.get_by_text("100 shown")).to_be_visible()


def entered(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Enter").click()


def test_a_key_is_asked_for_and_what_it_may_not_see_is_said(
    browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "clients.toml"
    file.write_text(client("desk", scopes=frozenset({Scope.STATUS_READ})))
    with (
        demo(tmp_path, CLIENTS_FILE=str(file)) as (gateway, _),
        opened(browser, f"{gateway}/console", GONE) as page,
    ):
        expect(page.get_by_role("heading", level=1)).to_have_text("Your key")
        assert found_by_axe(page) == []
        entered(page, "wrong")
        expect(page.get_by_role("alert")).to_contain_text("The key is not known here")
        entered(page, "key of desk")
        expect(page.get_by_text("It needs the scope provider:read.").first).to_be_visible()
        page.get_by_role("link", name="Records").click()
        expect(page.get_by_role("alert")).to_contain_text("record:list")
        page.goto(f"{gateway}/console/records/1?phone=79990000001")
        expect(page.get_by_role("main")).to_contain_text("hidden from this key")
        assert "key of desk" not in page.url
        assert page.evaluate("JSON.stringify(localStorage)").find("key of desk") < 0
        page.get_by_role("button", name="Forget the key").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your key")


def test_a_provider_that_is_down_is_said_at_once(browser: Browser, tmp_path: Path) -> None:
    with (
        demo(tmp_path) as (gateway, provider),
        opened(browser, f"{gateway}/console", GONE) as page,
    ):
        expect(page.get_by_text("The provider answers")).to_be_visible()
        fault = {"kind": "error", "value": 4, "times": 50}
        httpx.post(f"{provider}/control/fault", json=fault).raise_for_status()
        httpx.get(f"{gateway}/v1/messages/1?phone=79990000001")
        expect(page.get_by_text("The provider is not asked now")).to_be_visible()
        expect(page.get_by_text("The provider has blocked our address")).to_be_visible()


def test_without_an_archive_it_says_so(browser: Browser, tmp_path: Path) -> None:
    with (
        demo(tmp_path, ARCHIVE_URL="none") as (gateway, _),
        opened(browser, f"{gateway}/console", GONE) as page,
    ):
        expect(page.get_by_text("The archive is switched off").first).to_be_visible()
        page.get_by_role("link", name="Records").click()
        expect(page.get_by_role("alert")).to_contain_text("the archive is switched off")
