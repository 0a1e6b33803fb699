"""The pages for browsers and their assets, as bytes; `e2e/test_browser.py` opens them."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.web.pages.files import STATIC, asset, console_page, docs_page, playground_page
from tests.support.gateway import running

SCRIPT, STYLE, FONT = "page-AAAAAAAA.js", "page-BBBBBBBB.css", "font-CCCCCCCC.woff2"
BOTH = ["br", "gzip"]


def console(folder: Path) -> Response:
    return console_page(1, folder)


PAGES = [playground_page, docs_page, console]
Page = Callable[[Path], Response]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build writes, in small."""
    page = {"script": SCRIPT, "style": STYLE}
    manifest = {
        "playground": page,
        "docs": page,
        "console": page,
        "favicon": "favicon-DDDDDDDD.svg",
        "licences": "licences-EEEEEEEE.txt",
        "files": {SCRIPT: BOTH, STYLE: BOTH, FONT: []},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / SCRIPT).write_bytes(b"plain script")
    (tmp_path / f"{SCRIPT}.br").write_bytes(b"as br")
    (tmp_path / f"{SCRIPT}.gz").write_bytes(gzip.compress(b"plain script"))
    (tmp_path / FONT).write_bytes(b"a font")
    return tmp_path


def text(response: Response) -> str:
    return bytes(response.body).decode()


def policy(response: Response) -> dict[str, str]:
    directives = response.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_what_was_built_for_it(page: Page, built: Path) -> None:
    html = text(page(built))
    assert f'<script type="module" src="assets/{SCRIPT}"></script>' in html
    assert f'<link rel="stylesheet" href="assets/{STYLE}">' in html
    assert "<title>SMSC status gateway" in html


@pytest.mark.parametrize("page", PAGES)
def test_the_addresses_on_a_page_bear_a_prefix_before_them(page: Page, built: Path) -> None:
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text(page(built)))
    assert len(addresses) == 5
    assert not [address for address in addresses if address.startswith("/") or ":" in address]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_may_run_and_ask_nothing_but_its_own(page: Page, built: Path) -> None:
    response = page(built)
    allowed = policy(response)
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["connect-src"] == "'self'"
    assert {allowed[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert "unsafe-eval" not in str(allowed)
    assert "://" not in text(response)
    assert "<script>" not in text(response)
    assert "style=" not in text(response)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("is_built", [True, False])
def test_headers_of_a_page(page: Page, built: Path, is_built: bool) -> None:
    response = page(built if is_built else built / "nowhere")
    headers = response.headers
    assert (response.status_code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert policy(response)["frame-ancestors"] == "'none'"


def test_the_address_of_the_playground_is_that_of_graphql_too(built: Path) -> None:
    assert playground_page(built).headers["vary"] == "accept"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_was_not_built_says_what_to_do(page: Page, tmp_path: Path) -> None:
    response = page(tmp_path)
    html = text(response)
    assert "make ui" in html
    assert "Node.js 20" in html
    assert 'href="openapi.yaml"' in html
    assert "<script" not in html
    assert "://" not in html
    assert "script-src" not in policy(response)


@pytest.mark.parametrize(("depth", "up"), [(1, ""), (2, "../"), (3, "../../")])
def test_a_view_of_the_console_finds_its_assets(depth: int, up: str, built: Path) -> None:
    assert f'src="{up}assets/{SCRIPT}"' in text(console_page(depth, built))
    assert f'href="{up}openapi.yaml"' in text(console_page(depth, built / "nowhere"))


def test_the_console_makes_no_text_into_markup(built: Path) -> None:
    allowed = policy(console(built))
    assert allowed["require-trusted-types-for"] == "'script'"
    assert allowed["trusted-types"] == "'none'"
    assert "unsafe-inline" not in str(allowed)


def test_a_page_is_there_once_it_is_built(tmp_path: Path, built: Path) -> None:
    late = tmp_path / "late"
    assert "make ui" in text(docs_page(late))
    late.mkdir()
    (late / "manifest.json").write_bytes((built / "manifest.json").read_bytes())
    assert SCRIPT in text(docs_page(late))


def test_headers_of_an_asset(built: Path) -> None:
    response = asset(SCRIPT, "br", built)
    headers = response.headers
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    ("accepted", "coding", "body"),
    [
        ("gzip, deflate, br, zstd", "br", b"as br"),
        ("BR", "br", b"as br"),
        ("gzip", "gzip", None),
        ("br;q=0.5, gzip;q=0.8", "gzip", None),
        ("br ; q=0, gzip", "gzip", None),
        ("gzip;q=0.001", "gzip", None),
        ("*", "br", b"as br"),
        ("*;q=0.1, br;q=0", "gzip", None),
        ("gzip, identity", "gzip", None),
        ("gzip;q=0.5, identity;q=0.8", None, b"plain script"),
        ("", None, b"plain script"),
        ("deflate", None, b"plain script"),
        ("br;q=0, *;q=0", None, b"plain script"),
        ("br;q=much, gzip;level=9, ;;, ,", None, b"plain script"),
        ("br;q=nan", None, b"plain script"),
        ("br;q=1.5", None, b"plain script"),
    ],
)
def test_an_asset_comes_in_the_coding_wanted_most(
    accepted: str, coding: str | None, body: bytes | None, built: Path
) -> None:
    response = asset(SCRIPT, accepted, built)
    assert response.headers.get("content-encoding") == coding
    sent = bytes(response.body)
    assert sent == body if body else gzip.decompress(sent) == b"plain script"


def test_a_font_is_compressed_already(built: Path) -> None:
    response = asset(FONT, "br, gzip, *", built)
    assert "content-encoding" not in response.headers
    assert (response.headers["content-type"], response.body) == ("font/woff2", b"a font")


@pytest.mark.parametrize(
    "name",
    ["manifest.json", f"{SCRIPT}.br", "page-ZZZZZZZZ.js", "", "..", f"../{SCRIPT}", STYLE],
)
def test_what_the_build_did_not_write_is_not_found(name: str, built: Path) -> None:
    with pytest.raises(HTTPException) as raised:
        asset(name, "br", built)
    assert raised.value.status_code == 404


def test_without_a_build_there_are_no_assets(tmp_path: Path) -> None:
    with pytest.raises(HTTPException):
        asset(SCRIPT, "", tmp_path)


@pytest.mark.anyio
async def test_the_gateway_serves_the_pages() -> None:
    async with running() as setup:
        get = await setup.client.get("/docs")
        head = await setup.client.head("/docs")
        lost = await setup.client.get("/assets/page-ZZZZZZZZ.js")
        up = await setup.client.get("/assets/..%2fpages.py")
        put = await setup.client.put("/assets/page-ZZZZZZZZ.js")
    assert (get.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert (lost.status_code, lost.json()["code"]) == (404, "ROUTE_NOT_FOUND")
    assert up.status_code == 404
    assert put.status_code == 405


def test_the_sources_of_the_pages_are_pinned_and_name_no_registry() -> None:
    sources = STATIC.parent / "ui"
    wanted = json.loads((sources / "package.json").read_text())["dependencies"]
    assert [version for version in wanted.values() if not version[0].isdigit()] == []
    assert "resolved" not in (sources / "package-lock.json").read_text()
