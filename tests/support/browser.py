"""A real browser: Chromium, steered by Playwright, and what its pages do unasked.

Where there is no Chromium, or the pages were not built, tests are skipped; not so where CI is set,
which must not pass by luck.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from gateway.web.pages.files import STATIC
from tests.support.tools import missing

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 120_000
"""Milliseconds that a busy machine may take; a watched message is asked for every 12 seconds."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if not executable:
        missing("no Chromium here (Debian: apt install chromium)")
    if not (STATIC / "manifest.json").exists():
        missing("the pages were not built: make ui")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield launched
        launched.close()


@dataclass
class Watched:
    """What a page did besides what the test asked for."""

    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def on_request(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(request.url).netloc)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


TELL_VIOLATIONS = """
    addEventListener("securitypolicyviolation", (event) =>
      console.error(`forbidden: ${event.effectiveDirective} ${event.blockedURI}`));
"""


@contextmanager
def opened(
    browser: Browser,
    url: str,
    *but: str,
    locale: str = "en-GB",
    color_scheme: Literal["light", "dark"] = "light",
    width: int = 1280,
) -> Iterator[Page]:
    """A page in a fresh profile; fails if it asked another host, or if the console complained.

    `but` are words of complaints that belong to what is tested.
    """
    watched = Watched()
    with browser.new_context(
        viewport={"width": width, "height": 800}, locale=locale, color_scheme=color_scheme
    ) as profile:
        profile.add_init_script(TELL_VIOLATIONS)
        profile.on("request", watched.on_request)
        profile.on("console", watched.on_console)
        profile.on("weberror", lambda error: watched.complaints.append(str(error.error)))
        page = profile.new_page()
        page.on("websocket", lambda socket: watched.hosts.add(urlsplit(socket.url).netloc))
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        yield page
    assert watched.hosts == {urlsplit(url).netloc}
    assert [told for told in watched.complaints if not any(word in told for word in but)] == []
