"""The page at `/`: what this server is, how to ask it and how to steer it."""

import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template

from gateway.simulator import samples
from gateway.simulator.faults import FAULTS
from gateway.simulator.messages import FIELDS
from gateway.simulator.model import ERROR_TEXTS, TYPES, Report
from gateway.simulator.render import JSON, render
from gateway.simulator.sending import HANDED_OVER, OUTCOMES, REFUSALS, SETTLED
from gateway.simulator.world import World

SHOWN = 100
"""Messages on the page, the newest first."""

SCRIPT = Path(__file__).with_name("page.js").read_text("utf-8")
"""Its live part."""

_TEMPLATE = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
_OTHERS = {
    "control/latency": '{"seconds": 2}: every answer takes so long',
    "control/balance": '{"amount": 0.5}: what is on the account; too little is error 3',
    "control/push": '{"id": 1, "phone": "79990000001"}: push its status now, or as it was "ago" '
    'seconds before, "times" over, with "fields" changed; needs --callback',
    "control/reset": "back to the samples, with nothing asked",
}
_DELIVERED = frozenset({1, 2, 4})
_LAST_PENDING = 0


def page(world: World, *, base: str, login: str, password: str, apikey: str) -> str:
    """The page in HTML; it needs `SCRIPT` beside it. `base` is the server's own address."""
    sample = world.look(samples.MESSAGE.phone, samples.MESSAGE.id)
    reports = world.reports()[::-1]
    refusals = {end: f"error {n} at once: {ERROR_TEXTS[n]}" for end, n in REFUSALS.items()}
    endings = {end: words for end, (_, words) in OUTCOMES.items()} | refusals
    texts = {
        "base": base,
        "login": login,
        "password": password,
        "apikey": apikey,
        "answer": render([sample], fmt=JSON, all=0, many=False, charset="utf-8").decode(),
        "handed_over": str(HANDED_OVER),
        "settled": str(SETTLED),
        "hidden": f"And {len(reports) - SHOWN} older ones." if len(reports) > SHOWN else "",
    }
    tables = {
        "endings": _table(("phone", "what becomes of the message"), _words(endings, "…{}")),
        "fields": _table(("field", "what it is"), _words(FIELDS)),
        "faults": _table(
            ("kind", "what happens (with the value if none is given)"), _words(FAULTS)
        ),
        "others": _table(("address", "what it takes and does"), _words(_OTHERS)),
        "messages": _table(
            ("id", "phone", "kind", "status", "err"), (_row(report) for report in reports[:SHOWN])
        ),
    }
    escaped = {name: html.escape(text) for name, text in texts.items()}
    return _TEMPLATE.substitute(escaped | tables)


def _words(words: Mapping[str, str], form: str = "{}") -> Iterable[tuple[str, str]]:
    return (
        (f"<code>{html.escape(form.format(name))}</code>", html.escape(text))
        for name, text in words.items()
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{name}" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f'<div class="wide"><table><tr>{head}\n{body}</table></div>'


def _row(report: Report) -> tuple[str, ...]:
    if report.status in _DELIVERED:
        group = "good"
    else:
        group = "wait" if report.status <= _LAST_PENDING else "bad"
    status = html.escape(f"{report.status} {report.status_name or ''}")
    return (
        str(report.id),
        html.escape(report.phone),
        TYPES.get(report.type or 0, f"type {report.type}"),
        f'<span class="s {group}">{status}</span>',
        "" if report.err is None else str(report.err),
    )
