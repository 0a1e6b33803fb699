"""The files that a deployment starts from, as they are read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana" / "smsc-gateway.json").read_text())


def load(*path: str) -> Any:  # noqa: ANN401 - YAML
    """One document of a YAML file."""
    return yaml.safe_load(DEPLOY.joinpath(*path).read_text())


def image_environment() -> dict[str, str]:
    """The settings that the image brings, by the Dockerfile."""
    words = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").split()
    return dict(word.split("=", 1) for word in words if word.startswith("GATEWAY_"))


def in_dashboard() -> Iterator[str]:
    """The expressions of the dashboard, with something in place of Grafana's variables."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = str(target["expr"])
            yield expression.replace("$__rate_interval", "5m").replace("$job", "smsc-gateway")


def configured(folder: Path, key: Path, address: str, interval: str) -> Path:
    """The configuration of Prometheus, changed where operators are told to change it."""
    text = (PROMETHEUS / "prometheus.yaml").read_text()
    [place] = re.findall(r"credentials_file: ([^}]+)", text)
    [targets] = re.findall(r"targets: (\[.*\])", text)
    text = text.replace(place, str(key)).replace(targets, f"[{urlsplit(address).netloc}]")
    file = folder / "prometheus.yaml"
    file.write_text(text.replace("scrape_interval: 15s", f"scrape_interval: {interval}"))
    (folder / "rules.yaml").write_bytes((PROMETHEUS / "rules.yaml").read_bytes())
    return file
