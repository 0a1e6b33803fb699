"""The page at `/`: what this server is, how to ask it and how to steer it."""

import html

from gateway.simulator import samples
from gateway.simulator.control import FAULTS
from gateway.simulator.model import Report
from gateway.simulator.render import JSON, render
from gateway.simulator.world import World

_TYPES = {
    0: "SMS",
    1: "flash SMS",
    2: "binary SMS",
    3: "WAP push",
    4: "HLR lookup",
    5: "ping",
    6: "MMS",
    7: "call",
    8: "e-mail",
    10: "Viber",
    12: "social network",
}


def page(world: World, *, base: str, login: str, password: str, apikey: str) -> str:
    """The page in HTML; it needs nothing else. `base` is the server's own address."""
    sample = world.look(samples.MESSAGE.phone, samples.MESSAGE.id)
    answer = render([sample], fmt=JSON, all=0, many=False, charset="utf-8").decode()
    account = f"login={login}&psw={password}"
    single = f"curl {base}sys/status.php -d '{account}&phone=79990000001&id=1&fmt=3'"
    mass = (
        f"curl {base}sys/status.php -d 'apikey={apikey}"
        "&phone=79990000003,79990000010&id=3,10&fmt=3&all=2&charset=utf-8'"
    )
    add = (
        f"curl {base}control/messages -d '"
        '{"id": 500, "phone": "79990000500", "status": 0, "type": 0,'
        ' "timeline": [{"after": 20, "status": 1}]}\''
    )
    fault = f"""curl {base}control/fault -d '{{"kind": "html", "times": 2}}'"""
    push = f"""curl {base}control/push -d '{{"id": 1, "phone": "79990000001", "times": 2}}'"""
    rows = "\n".join(_row(report) for report in world.reports())
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>SMSC simulator</title>
<style>body{{font:16px/1.5 system-ui;margin:2rem auto;max-width:54rem;padding:0 1rem}}
td,th{{padding:0 1rem 0 0;text-align:left}}pre{{background:#f4f4f4;padding:1rem;overflow:auto}}
</style>
<h1>A simulated SMSC</h1>
<p>It answers as the provider's page says, limits included; nothing is sent anywhere.
Login <b>{html.escape(login)}</b>, password <b>{html.escape(password)}</b>,
or API key <b>{html.escape(apikey)}</b>.
<pre>{html.escape(single)}
{html.escape(answer)}</pre>
<p>A comma in <code>id</code> or <code>phone</code> makes a list: one such request a minute.
<pre>{html.escape(mass)}</pre>
<h2>Steer it</h2>
<p>JSON to <code>POST control/messages</code>, <code>control/fault</code> (clear them by DELETE),
<code>control/latency</code>, <code>control/reset</code>, and <code>control/push</code> if it was
started with a handler to push to. See what it was asked:
<a href="control/stats">stats</a>, <a href="control/log">log</a>. Faults: {", ".join(FAULTS)}.
<pre>{html.escape(add)}
{html.escape(fault)}
{html.escape(push)}</pre>
<h2>What it knows</h2>
<table><tr><th>id<th>phone<th>kind<th>status<th>name<th>err
{rows}</table>
"""


def _row(report: Report) -> str:
    cells = (
        report.id,
        report.phone,
        _TYPES.get(report.type or 0, f"type {report.type}"),
        report.status,
        report.status_name or "",
        "" if report.err is None else report.err,
    )
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells)
