"""What all files of `deploy/` have in common."""

import re

from gateway.settings import PREFIX, Settings
from tests.support.deployed import DEPLOY, ROOT

FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


def test_every_setting_they_name_is_one() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    named = {name for path in FILES for name in re.findall(r"GATEWAY_[A-Z_]+\b", path.read_text())}
    assert named - known - {PREFIX} == set()
    assert "GATEWAY_REDIS_URL" in named


def test_the_manual_tells_of_each() -> None:
    manual = (ROOT / "docs" / "operating.md").read_text()
    section = manual[manual.index("## Deploying") : manual.index("## Callers")]
    folders = {path.relative_to(ROOT).as_posix() for path in FILES}
    told = set(re.findall(r"\(\.\./(deploy/[^)]+)\)", section))
    assert {path for path in told if not (ROOT / path).exists()} == set()
    assert {one for one in folders if not any(one.startswith(path) for path in told)} == set()
