"""Alerts, the scrape configuration and the dashboard, against the metrics there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from gateway.web.ops.families import SECTIONS, Family
from tests.support.deployed import DASHBOARD, PROMETHEUS, configured, in_dashboard, load
from tests.support.tools import promtool

FAMILIES = {one.name: one for families in SECTIONS.values() for one in families}
ALERTS = load("prometheus", "rules.yaml")["groups"][0]["rules"]

FROM_SCRAPING = {"job", "instance", "le", "account"}
"""Labels that no metric of ours has by itself."""

EXPRESSIONS = [*(alert["expr"] for alert in ALERTS), *in_dashboard()]


def test_promtool_takes_the_rules_and_their_tests() -> None:
    promtool("check", "rules", PROMETHEUS / "rules.yaml")
    promtool("test", "rules", PROMETHEUS / "rules.test.yaml")


def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("of prometheus")
    file = configured(tmp_path, key, "http://127.0.0.1:8080", "15s")
    assert f"{len(ALERTS)} rules found" in promtool("check", "config", file)


def test_promtool_parses_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(in_dashboard())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def family_of(name: str) -> Family | None:
    """The metric that a series belongs to."""
    found = FAMILIES.get(name)
    base = FAMILIES.get(re.sub("_(bucket|sum|count)$", "", name))
    is_histogram = base is not None and base.type == "histogram" and base is not found
    return base if is_histogram else found if found and found.type != "histogram" else None


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_is_one_with_these_labels_and_values(expression: str) -> None:
    named = set(re.findall(r"\b(?:smsc_gateway|process)_\w+", expression))
    assert named or expression.startswith("up{")
    families = {name: family_of(name) for name in named}
    assert [name for name, family in families.items() if family is None] == []
    labels = {label for family in families.values() if family for label in family.labels}
    for by in re.findall(r"by \(([^)]*)\)", expression):
        assert set(by.split(", ")) <= labels | FROM_SCRAPING
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
        family = families.get(name)
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            if label not in FROM_SCRAPING:
                assert family is not None
                assert set(values.split("|")) <= set(family.labels[label].split(", "))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_it_means_and_what_helps(alert: dict[str, Any]) -> None:
    assert alert["for"]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    told = alert["annotations"]
    assert told["summary"].endswith(".")
    assert len(told["description"]) > len(told["summary"])
    assert "://" not in told["description"]


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    named = {name for one in in_dashboard() for name in re.findall(r"\w+", one)}
    shown = {family.name for name in named if (family := family_of(name))}
    assert {name for name in FAMILIES if name.startswith("smsc_gateway_")} - shown == set()


def test_grafana_knows_all_that_the_dashboard_says() -> None:
    """What its own model does not know is not in what it writes again."""
    register_default_plugins()
    understood = JSONEncoder().encode(Dashboard.from_json(DASHBOARD))
    assert lost(DASHBOARD, json.loads(understood)) == []


def lost(given: object, kept: object, path: str = "") -> list[str]:
    """Where something of `given` is missing in `kept`."""
    if isinstance(given, dict) and isinstance(kept, dict):
        pairs = [(f"{path}/{key}", value, kept.get(key)) for key, value in given.items()]
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        both = zip(given, kept, strict=True)
        pairs = [(f"{path}/{place}", *values) for place, values in enumerate(both)]
    else:
        return [] if given == kept else [path]
    return [one for where, value, other in pairs for one in lost(value, other, where)]


def test_panels_have_ids_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    squares = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(squares) == len(set(squares))
    assert max(x for x, _ in squares) < 24
