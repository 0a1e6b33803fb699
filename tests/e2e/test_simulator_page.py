"""The simulator's page in Chromium: what it is asked, as it comes, and buttons that steer it."""

from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.support.browser import browser, opened
from tests.support.process import demo

__all__ = ["browser"]


def test_what_it_is_asked_is_shown_and_it_can_be_steered(browser: Browser, tmp_path: Path) -> None:
    with (
        demo(tmp_path) as (gateway, provider),
        opened(browser, f"{provider}/", "Failed to load resource") as page,
    ):
        expect(page.get_by_text("It was asked nothing yet.")).to_be_visible()
        page.get_by_role("button", name="Block the address (4)").click()
        expect(page.get_by_role("status")).to_have_text(
            "The next 10 answers are error 4: the address is blocked."
        )
        answer = httpx.get(f"{gateway}/v1/messages/1?phone=79990000001")
        assert answer.json()["code"] == "UPSTREAM_BLOCKED"
        expect(page.locator("#asked tr").first).to_contain_text("status.phpsingle1")
        expect(page.get_by_text("1 requests, 0 of them mass; 0 over the limits")).to_be_visible()
        page.get_by_role("button", name="Begin anew").click()
        expect(page.get_by_text("It was asked nothing yet.")).to_be_visible()
        page.get_by_role("button", name="Send a message that arrives").click()
        expect(page.get_by_role("status")).to_contain_text("to 79990000600 is on its way.")
