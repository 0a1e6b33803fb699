"""The pages for browsers: the console, the GraphQL playground, the API page, and their assets.

The assets are built from `ui` into `static` by `make ui`. A gateway without them works all the
same: its pages then say how to get them. No page asks another host for anything.
"""

from functools import cache
from pathlib import Path

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.web.http.compression import PLAIN, best_coding

STATIC = Path(__file__).parent.parent / "static"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}

_SUFFIXES = {"br": ".br", "gzip": ".gz", PLAIN: ""}
"""What the build adds to a file's name for a content coding."""

_ASSET_HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",  # the name holds a hash
    "vary": "accept-encoding",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_PAGE_HEADERS = {
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OWN = f"{_NOTHING}; script-src 'self'; img-src 'self' data:; connect-src 'self'"
_PLAYGROUND_POLICY = f"{_OWN}; style-src 'self' 'unsafe-inline'; font-src 'self'; worker-src 'self'"
"""The editor writes style sheets of its own and works in workers; 'self' covers WebSockets."""
_CONSOLE_POLICY = (
    f"{_OWN}; style-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Its styles are set by scripts one by one, and no text ever becomes markup."""
_DOCS_POLICY = f"{_OWN}; style-src 'self'"
_PLAIN_POLICY = f"{_NOTHING}; style-src 'unsafe-inline'"

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="{up}assets/{favicon}">
<link rel="license" href="{up}assets/{licences}">
<link rel="stylesheet" href="{up}assets/{style}">
<div id="root"></div>
<noscript>This page needs JavaScript. The API works without: see <a href="{up}openapi.yaml">its
description</a>.</noscript>
<script type="module" src="{up}assets/{script}"></script>
"""
"""Addresses are relative, so that a proxy may put a prefix before them."""

_NOT_BUILT = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 40rem }}
</style>
<h1>SMSC status gateway</h1>
<p>The API works, but this page was not built. It takes Node.js 20 or newer with npm, and one
command in the gateway's sources:
<pre>make ui</pre>
<p>Then reload. Meanwhile, <a href="{up}openapi.yaml">openapi.yaml</a> describes the REST API, and
<code>POST graphql</code> answers GraphQL.
"""


class _Page(BaseModel):
    script: str
    style: str


class _Manifest(BaseModel):
    """What the build wrote, and what of it belongs to which page."""

    playground: _Page
    docs: _Page
    console: _Page
    favicon: str
    licences: str
    files: dict[str, tuple[str, ...]]
    """Each file, with the content codings it is there in beside the plain one, best first."""


def are_built(folder: Path = STATIC) -> bool:
    """Did the build write the pages?"""
    return (folder / "manifest.json").exists()


def playground_page(folder: Path = STATIC) -> Response:
    """The GraphQL playground, for the address where GraphQL is asked."""
    response = _page("SMSC status gateway: GraphQL", "playground", _PLAYGROUND_POLICY, folder)
    response.headers["vary"] = "accept"
    return response


def docs_page(folder: Path = STATIC) -> Response:
    """The REST API, to read and to try."""
    return _page("SMSC status gateway: REST API", "docs", _DOCS_POLICY, folder)


def console_page(depth: int, folder: Path = STATIC) -> Response:
    """The console, at an address with so many parts."""
    return _page("SMSC status gateway", "console", _CONSOLE_POLICY, folder, up="../" * (depth - 1))


def _page(title: str, name: str, policy: str, folder: Path, *, up: str = "") -> Response:
    """`up` leads from the page's address to that of the gateway."""
    try:
        manifest = _manifest(folder)
    except FileNotFoundError:
        html, policy = _NOT_BUILT.format(title=title, up=up), _PLAIN_POLICY
    else:
        page: _Page = getattr(manifest, name)
        html = _PAGE.format(
            title=title,
            up=up,
            favicon=manifest.favicon,
            licences=manifest.licences,
            script=page.script,
            style=page.style,
        )
    headers = _PAGE_HEADERS | {"content-security-policy": policy}
    return Response(html, 200, headers, "text/html")


def asset(name: str, accepted: str = "", folder: Path = STATIC) -> Response:
    """One built file, in the content coding wanted most; `accepted` is an Accept-Encoding.

    What the build did not write is a 404.
    """
    try:
        coding = best_coding(accepted, _manifest(folder).files[name])
        body = _read(folder / (name + _SUFFIXES[coding]))
    except (FileNotFoundError, KeyError):
        raise HTTPException(404) from None
    headers = dict(_ASSET_HEADERS)
    if coding != PLAIN:
        headers["content-encoding"] = coding
    return Response(body, 200, headers, _TYPES[Path(name).suffix])


@cache
def _manifest(folder: Path) -> _Manifest:
    return _Manifest.model_validate_json((folder / "manifest.json").read_bytes())


@cache
def _read(path: Path) -> bytes:
    """A file of the manifest; each is read once, when first asked for."""
    return path.read_bytes()


def get_asset(request: Request) -> Response:
    """Not `async`: it may read a file, for which Starlette gives it a thread."""
    return asset(request.path_params["name"], ",".join(request.headers.getlist("accept-encoding")))


def get_docs(_: Request) -> Response:
    return docs_page()


def get_console(request: Request) -> Response:
    """Each view has an address, which the page itself understands."""
    view: str = request.path_params.get("view", "")
    return console_page(1 + len(view.split("/")) if "view" in request.path_params else 1)


routes: list[BaseRoute] = [
    Route("/docs", get_docs),
    Route("/console", get_console),
    Route("/console/{view:path}", get_console),
    Route("/assets/{name}", get_asset),
]
