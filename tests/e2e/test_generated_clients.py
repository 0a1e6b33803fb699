"""The OpenAPI document in the hands of those who generate clients from it."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import node
from tests.support.process import Served
from tests.support.size import PATIENCE

OPENAPI = Path(__file__).parent.parent.parent / "openapi" / "openapi.yaml"
PHONE = "79990000001"
PROBES = ("#/paths/~1livez/", "#/paths/~1readyz/", "#/paths/~1metrics/")


def test_typescript_types_compile(tmp_path: Path) -> None:
    made = node.tool("openapi-typescript", str(OPENAPI), "--output", str(tmp_path / "api.d.ts"))
    assert made.returncode == 0, made.stderr
    usage = str(shutil.copy(node.FOLDER / "usage.ts", tmp_path))
    strict = ("--strict", "--noEmit", "--target", "es2022", "--moduleResolution", "bundler")
    compiled = node.tool("tsc", *strict, "--module", "es2022", usage)
    assert compiled.returncode == 0, compiled.stdout


@pytest.fixture(scope="module", name="client")
def _client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - made anew
    """The generated package, and a client of it."""
    folder = tmp_path_factory.mktemp("generated")
    scripts = Path(sys.executable).parent  # ruff, which it formats with, is there as well
    made = subprocess.run(
        [
            scripts / "openapi-python-client",
            *("generate", "--path", str(OPENAPI), "--meta", "none"),
            *("--output-path", str(folder / "generated_client")),
        ],
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "arning" not in made.stdout + made.stderr, "some of the document was left out"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        with importlib.import_module("generated_client").Client(base_url=served.gateway) as client:
            yield client


def _part(name: str) -> Any:  # noqa: ANN401 - a module made anew
    return importlib.import_module(f"generated_client.{name}")


def test_a_python_client_reads_a_message(client: Any) -> None:  # noqa: ANN401 - made anew
    message = _part("api.statuses.get_message").sync(1, client=client, phone=PHONE)
    assert type(message).__name__ == "Message"
    assert (message.state.value, message.cost.amount) == ("DELIVERED", "3.20")
    assert message.last_status_time.isoformat() == "2023-11-14T22:13:20+00:00"


def test_a_python_client_tells_the_kinds_of_a_batch_apart(client: Any) -> None:  # noqa: ANN401 - as above
    models = _part("models")
    items = [models.GetStatusesBodyItemsItem(id=id_, phone=PHONE) for id_ in ("1", "2", "404")]
    body = models.GetStatusesBody(items=items)
    results = _part("api.statuses.get_statuses").sync(client=client, body=body).results
    told = [(one.outcome.value, type(one.record or one.problem).__name__) for one in results]
    assert told == [("FOUND", "Message"), ("FOUND", "HlrLookup"), ("NOT_FOUND", "Problem")]


def test_a_python_client_reads_a_problem(client: Any) -> None:  # noqa: ANN401 - as above
    problem = _part("api.statuses.get_message").sync(404, client=client, phone=PHONE)
    assert type(problem).__name__ == "HttpProblem"
    assert (problem.code, problem.status) == ("NOT_FOUND", 404)


def test_a_python_client_names_the_fields_it_wants(client: Any) -> None:  # noqa: ANN401 - as above
    """It repeats the parameter for each field, whatever the document says of comma lists."""
    names = _part("models").GetMessageFieldsItem
    answer = _part("api.statuses.get_message").sync_detailed(
        1, client=client, phone=PHONE, fields=[names.STATE, names.COST_AMOUNT]
    )
    assert answer.status_code == 200, answer.content
    assert json.loads(answer.content) == {
        "kind": "Message",
        "id": "1",
        "phone": PHONE,
        "state": "DELIVERED",
        "cost": {"amount": "3.20"},
    }


def test_the_recommended_rules_of_redocly_are_kept() -> None:
    linted = node.tool(
        "redocly", "lint", "--format", "json", "--extends", "recommended", str(OPENAPI)
    )
    problems = [
        f"{problem['ruleId']} at {problem['location'][0]['pointer']}: {problem['message']}"
        for problem in json.loads(linted.stdout)["problems"]
        if not _is_probe_without_refusal(problem)
    ]
    assert not problems, "\n".join(problems)


def _is_probe_without_refusal(problem: dict[str, Any]) -> bool:
    """What takes no arguments and asks for no key refuses nobody: no 4xx is the truth."""
    pointer: str = problem["location"][0]["pointer"]
    return problem["ruleId"] == "operation-4xx-response" and pointer.startswith(PROBES)
