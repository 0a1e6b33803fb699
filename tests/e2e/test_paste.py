"""What people paste at the console's look-up is understood, whatever is between id and number."""

import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import executable

UI = Path(__file__).parents[2] / "gateway" / "web" / "ui"
ESBUILD = UI / "node_modules" / ".bin" / "esbuild"
LINES = 500


def understand(text: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the console's own code makes of a text."""
    if not ESBUILD.exists():
        reason = "the pages were not built: make ui"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    module = folder / "paste.mjs"
    source = UI / "src" / "console" / "paste.ts"
    subprocess.run([ESBUILD, source, f"--outfile={module}", "--log-level=error"], check=True)
    script = (
        f"import {{ understand }} from {json.dumps(str(module))};"
        "let text = ''; for await (const part of process.stdin) text += part;"
        "console.log(JSON.stringify(understand(text)));"
    )
    done = subprocess.run(
        [executable(), "--input-type=module", "-e", script],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return told


def spelled(digits: str, chance: random.Random) -> str:
    """An eleven-digit number as people write it."""
    a, b, c, d, e = digits[0], digits[1:4], digits[4:7], digits[7:9], digits[9:]
    forms = [digits, f"+{digits}", f"+{a} {b} {c} {d} {e}", f"{a} ({b}) {c}-{d}-{e}"]
    return chance.choice([*forms, f"{a}-{b}-{c}-{d}-{e}", f"tel:+{digits}"])


def test_a_line_has_an_id_and_a_number_in_any_order(tmp_path: Path) -> None:
    chance = random.Random(1)
    lines, pairs = [], []
    for _ in range(LINES):
        id_ = str(chance.randrange(1, 10 ** chance.randrange(1, 10)))
        phone = str(chance.choice("78")) + f"{chance.randrange(10**10):010}"
        between = chance.choice(["\t", ";", ",", " ; ", ", ", " | ", '","'])
        both = [id_, spelled(phone, chance)]
        chance.shuffle(both)
        quote = '"' if between == '","' else ""
        lines.append(quote + between.join(both) + quote)
        pairs.append((id_, phone))
    told = understand("\r\n".join(lines), tmp_path)
    assert told["wrong"] == []
    assert [(one["id"], re.sub(r"\D", "", one["phone"])) for one in told["pairs"]] == pairs


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("12 79990000001", ("12", "79990000001")),
        ("79990000001 12", ("12", "79990000001")),
        ("id 12, who@example.com", ("12", "who@example.com")),
        ("who@example.com;12", ("12", "who@example.com")),
        ("12 +7 999 000-00-01", ("12", "+7 999 000-00-01")),
    ],
)
def test_spaces_alone_are_enough(line: str, pair: tuple[str, str], tmp_path: Path) -> None:
    told = understand(line, tmp_path)
    assert [(one["id"], one["phone"]) for one in told["pairs"]] == [pair]


def test_what_is_not_understood_is_told_by_its_line(tmp_path: Path) -> None:
    text = "id;phone\n\n79990000001\n99999999999;79990000001\n5;79990000001\n"
    told = understand(text, tmp_path)
    assert [one["line"] for one in told["wrong"]] == [1, 3, 4]
    assert len(told["pairs"]) == 1
