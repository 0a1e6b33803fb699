"""The files that a deployment starts from, as they are read."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"


def load(*path: str) -> Any:  # noqa: ANN401 - YAML
    """One document of a YAML file."""
    return yaml.safe_load(DEPLOY.joinpath(*path).read_text())


def image_environment() -> dict[str, str]:
    """The settings that the image brings, by the Dockerfile."""
    words = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").split()
    return dict(word.split("=", 1) for word in words if word.startswith("GATEWAY_"))
