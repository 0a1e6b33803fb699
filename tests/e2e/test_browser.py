"""The pages in a real browser: they work, and ask nobody but the gateway for anything.

Where there is no Chromium, or the pages were not built, these tests are skipped; not so where CI
is set, which must not pass by luck.
"""

import json
from pathlib import Path

import httpx
from click.testing import CliRunner
from graphql import build_schema
from playwright.sync_api import (
    Browser,
    Locator,
    Page,
    WebSocket,
    expect,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import create_app
from gateway.cli.main import main
from gateway.web.graphql.schema import sdl
from tests.support.browser import browser, opened
from tests.support.gateway import settings
from tests.support.process import demo
from tests.support.server import serving

__all__ = ["browser"]

ACTIVE_OPERATION = """(name) => {
    const { tabs, activeTabIndex } = JSON.parse(localStorage["graphiql:tabState"] ?? '{"tabs":[]}');
    return tabs[activeTabIndex]?.operationName === name;
}"""


def tab(page: Page, name: str) -> None:
    """Turn to a tab, and wait until GraphiQL has read its operation: it does so after a pause."""
    page.get_by_role("tab", name=name).click()
    page.wait_for_function(ACTIVE_OPERATION, arg=name)


def run(page: Page) -> None:
    page.get_by_label("Execute query").click()


def write(page: Page, editor: Locator, text: str) -> None:
    """Type a text in place of what an editor holds."""
    editor.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")  # or the first bracket would go around what is selected
    page.keyboard.type(text)


def expect_answer(page: Page, *words: str) -> None:
    answer = page.locator(".graphiql-response .view-lines")
    for word in words:
        expect(answer).to_contain_text(word)


def test_the_playground_has_examples_that_answer(browser: Browser, tmp_path: Path) -> None:
    with demo(tmp_path) as (gateway, _), opened(browser, f"{gateway}/graphql") as page:
        expect(page).to_have_title("SMSC status gateway: GraphQL")
        expect(page.get_by_text("SMSC status gateway")).to_be_visible()
        names = page.get_by_role("tab").all_inner_texts()
        first = ["Message", "HlrLookup", "Statuses", "Follow"]
        assert names == [*first, "Changes", "Failed", "Operators"]
        for name, word in (
            ("Message", "МегаФон"),
            ("HlrLookup", "REACHABLE"),
            ("Statuses", "NOT_FOUND"),
        ):
            tab(page, name)
            run(page)
            expect_answer(page, word)


def test_the_playground_helps_to_write_a_query(browser: Browser, tmp_path: Path) -> None:
    with demo(tmp_path) as (gateway, _), opened(browser, f"{gateway}/graphql") as page:
        page.get_by_label("New tab").click()
        editor = page.locator(".graphiql-query-editor .view-lines")
        write(page, editor, "{ prov")
        page.keyboard.press("Control+Space")
        suggested = page.locator(".suggest-widget .monaco-list-row").first
        expect(suggested).to_contain_text("provider")
        page.keyboard.press("Escape")
        write(page, editor, '{ status(id: 3, phone: "79990000003") { isFinal error { code } } }')
        page.keyboard.press("Control+Enter")
        expect_answer(page, "ABSENT_SUBSCRIBER")


def test_the_playground_shows_what_things_mean(browser: Browser, tmp_path: Path) -> None:
    described = build_schema(sdl()).type_map["HlrLookup"].description
    assert described
    with demo(tmp_path) as (gateway, _), opened(browser, f"{gateway}/graphql") as page:
        page.get_by_label("Show Documentation Explorer").click()
        page.get_by_role("link", name="HlrLookup", exact=True).click()
        shown = page.locator(".graphiql-doc-explorer-content")
        expect(shown).to_contain_text(described.split(".")[0])
        page.get_by_label("Show GraphiQL Explorer").click()
        expect(page.locator(".graphiql-explorer-root")).to_contain_text("hlrLookup")


def test_a_key_stays_out_of_the_browsers_storage(browser: Browser, tmp_path: Path) -> None:
    with demo(tmp_path) as (gateway, _), opened(browser, f"{gateway}/graphql") as page:
        page.get_by_role("button", name="Headers").click()
        editor = page.locator(".graphiql-editor-tool .view-lines:visible")
        expect(editor).to_contain_text('{ "Authorization": "Bearer KEY" }')
        write(page, editor, '{ "Authorization": "Bearer not-to-be-kept" }')
        with page.expect_request(lambda request: "message(" in (request.post_data or "")) as sent:
            run(page)
        assert sent.value.header_value("authorization") == "Bearer not-to-be-kept"
        expect_answer(page, "МегаФон")
        page.get_by_label("Show History").click()
        expect(page.locator(".graphiql-history-items")).to_contain_text("Message")
        run(page)  # GraphiQL notices after a pause what was typed; by now it has
        expect_answer(page, "CACHE")
        kept = page.evaluate("JSON.stringify({ ...localStorage })")
        assert "graphiql:queries" in kept
        assert "not-to-be-kept" not in kept


def test_a_key_given_once_serves_all_tabs(browser: Browser, tmp_path: Path) -> None:
    clients = tmp_path / "clients.toml"
    arguments = ["client", "add", "desk", "--scope", "status:read", "--file", str(clients)]
    key = CliRunner().invoke(main, arguments).stdout.strip()
    with (
        demo(tmp_path, CLIENTS_FILE=str(clients)) as (gateway, _),
        opened(browser, f"{gateway}/graphql", "status of 401", "4403 Forbidden") as page,
    ):
        run(page)
        expect_answer(page, "UNAUTHENTICATED")
        tab(page, "Follow")
        run(page)
        expect_answer(page, "4403")
        page.get_by_role("button", name="Headers").click()
        editor = page.locator(".graphiql-editor-tool .view-lines:visible")
        write(page, editor, f'{{ "Authorization": "Bearer {key}" }}')
        run(page)
        expect_answer(page, "isFinal")
        tab(page, "HlrLookup")
        run(page)
        expect_answer(page, "REACHABLE")
        page.get_by_label("Show Documentation Explorer").click()
        expect(page.get_by_role("link", name="HlrLookup", exact=True)).to_be_visible()


def test_a_subscription_moves(browser: Browser, tmp_path: Path) -> None:
    with demo(tmp_path) as (gateway, provider), opened(browser, f"{gateway}/graphql") as page:
        set_state(provider, -1)
        tab(page, "Follow")
        page.get_by_role("button", name="Headers").click()
        editor = page.locator(".graphiql-editor-tool .view-lines:visible")
        write(page, editor, '{ "Authorization": "Bearer of-the-socket" }')
        sent: list[str | bytes] = []

        def on_socket(socket: WebSocket) -> None:
            socket.on("framesent", lambda frame: sent.append(frame))  # noqa: PLW0108 - Playwright sets an attribute on it

        page.on("websocket", on_socket)
        run(page)
        expect_answer(page, "QUEUED")
        begun = {"type": "connection_init", "payload": {"Authorization": "Bearer of-the-socket"}}
        assert json.loads(sent[0]) == begun
        set_state(provider, 0)
        expect_answer(page, "SENT")
        set_state(provider, 1)
        expect_answer(page, "DELIVERED")
        expect(page.get_by_label("Execute query")).to_be_visible()  # instead of "Stop query"


def set_state(provider: str, status: int) -> None:
    """What the provider says of the message of the example from now on."""
    body = {"id": 100, "phone": "79990000100", "status": status, "type": 0}
    httpx.post(f"{provider}/control/messages", json=body).raise_for_status()


def test_the_api_page_tries_a_call(browser: Browser, tmp_path: Path) -> None:
    with demo(tmp_path) as (gateway, _), opened(browser, f"{gateway}/docs") as page:
        expect(page).to_have_title("SMSC status gateway: REST API")
        assert try_message(page) == f"{gateway}/v1/messages/1?phone=79990000001"


def try_message(page: Page) -> str:
    """Execute the first call as it stands; gives the address it asked, without the fields."""
    call = page.locator("#operations-statuses-getMessage")
    call.locator(".opblock-summary-control").click()
    call.get_by_role("button", name="Execute").click()
    expect(call.locator(".live-responses-table")).to_contain_text("DELIVERED")
    return call.locator(".request-url pre").inner_text().split("&fields")[0]


def behind(prefix: str, app: ASGIApp) -> ASGIApp:
    """The app as a proxy shows it: with a prefix, of which the app knows nothing."""

    async def stripped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            assert scope["path"].startswith(prefix), scope["path"]
            scope = {**scope, "path": scope["path"].removeprefix(prefix)}
        await app(scope, receive, send)

    return stripped


def test_the_pages_work_behind_a_prefix(browser: Browser, tmp_path: Path) -> None:
    with demo(tmp_path) as (_, provider):
        app = create_app(settings(SMSC_URL=f"{provider}/sys/"))
        with (
            serving(behind("/statuses", app)) as gateway,
            opened(browser, f"{gateway}/statuses/graphql") as page,
        ):
            run(page)
            expect_answer(page, "МегаФон")
            page.get_by_role("link", name="REST API").click()
            asked = try_message(page)
            assert asked == f"{gateway}/statuses/v1/messages/1?phone=79990000001"
