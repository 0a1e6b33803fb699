"""What schemathesis makes of both contracts, against real processes."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis

from gateway.callers.model import ALL_SCOPES
from gateway.web.http.problems import STATUS
from gateway.web.rest.document import openapi
from tests.support.callers import client
from tests.support.process import demo
from tests.support.size import only_in_soak, size, soak

KEY = "key of all"
PATIENCE = "wait=1"
"""A longer preference would be kept to as well, again and again."""
WITHOUT_WAITING = {"MAX_WAIT": "0.1"}
"""Provider's limits are reached within seconds; nobody is to wait for room in them."""

STREAMS = "/events$"
"""Event streams go on for as long as there may be news; other tests read them."""

BATCH = "/v1/statuses/batch"
"""An item that is not valid is an outcome of the batch, and so no error: the contract's word."""

LISTS = "^/v1/(records|changes|follows|webhooks|provider)"
"""A cursor is opaque: a made-up one is refused, though it is a string. And too many wrong keys from
one address are told to pause, which is not what schemathesis expects of them."""

FEED = "/v1/changes"
"""An end of the feed is waited for as long as it is asked for, which other tests do."""

REFUSED_BY = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 428, 429, "5xx"]
"""How an invalid request may be answered: schemathesis forgets that an address may be too long."""


def run(schema: str, folder: Path, *options: str) -> str:
    """The report of a run, which may have no findings."""
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", folder / "st.toml"),
            *("run", schema, "--generation-deterministic", "--no-color"),
            *("--continue-on-failure", "--request-timeout", "120", *options),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    return done.stdout


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Where it runs; what is not to be checked is said in its settings."""
    (tmp_path / "st.toml").write_text(
        f'[parameters]\n"header.Prefer" = "{PATIENCE}"\n'
        f"[checks]\nnegative_data_rejection.expected-statuses = {json.dumps(REFUSED_BY)}\n"
        f'[[operations]]\ninclude-path = "{BATCH}"\n'
        "checks.negative_data_rejection.enabled = false\n"
        f'[[operations]]\ninclude-path-regex = "{LISTS}"\n'
        "checks.positive_data_acceptance.enabled = false\n"
        "checks.ignored_auth.enabled = false\n"
        f'[[operations]]\ninclude-path = "{FEED}"\n'
        "checks.positive_data_acceptance.enabled = false\n"
        "checks.ignored_auth.enabled = false\n"
        'parameters = { "query.wait" = 0 }\n'
    )
    return tmp_path


def cases(report: str) -> int:
    found = re.search(r"([0-9,]+) generated", report)
    assert found, report
    return int(found[1].replace(",", ""))


EXAMPLES = str(size(small=2, whole=60))
"""For each operation, beside the cases that schemathesis makes by rule."""


@soak
@only_in_soak
def test_rest_without_keys(folder: Path) -> None:
    document = json.loads(json.dumps(openapi()))
    del document["components"]["securitySchemes"]
    for item in document["paths"].values():
        for operation in item.values():
            del operation["security"]
    file = folder / "openapi.json"
    file.write_text(json.dumps(document))
    with demo(folder, **WITHOUT_WAITING) as (gateway, _):
        report = run(
            str(file), folder, "--url", gateway, "-n", EXAMPLES, "--exclude-path-regex", STREAMS
        )
    assert cases(report) > 300


@soak
def test_rest_with_keys(folder: Path) -> None:
    clients = folder / "clients.toml"
    clients.write_text(client("all", KEY, scopes=ALL_SCOPES))
    with demo(folder, CLIENTS_FILE=str(clients), **WITHOUT_WAITING) as (gateway, _):
        report = run(
            f"{gateway}/openapi.json",
            folder,
            *("-H", f"Authorization: Bearer {KEY}", "-n", EXAMPLES),
            *("--exclude-path-regex", STREAMS),
        )
    assert cases(report) > 300


CODES = {leaf.code for leaf in STATUS} - {"INTERNAL_ERROR"}
GRAPHQL_CASES = size(small=10, whole=500)
"""For each field."""


@soak
def test_graphql(folder: Path) -> None:
    """Its own check takes any error for the server's fault; here each has to be one of ours."""
    ran = Counter[str]()
    with demo(folder, **WITHOUT_WAITING) as (gateway, _):
        schema = schemathesis.graphql.from_url(f"{gateway}/graphql")
        for result in schema.get_all_operations():
            operation: Any = result.ok()  # type: ignore[union-attr] # its own schema is none that fails

            @hypothesis.settings(
                max_examples=GRAPHQL_CASES,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(operation.as_strategy())
            def answers(case: Any) -> None:  # noqa: ANN401 - generic in what does not matter
                answer = case.call()
                ran[case.operation.label] += 1
                told = answer.json()
                codes = {error["extensions"]["code"] for error in told.get("errors", ())}
                if answer.status_code == 400:  # a page and its count may be too much together
                    assert codes == {"QUERY_TOO_COMPLEX"}, answer.text
                    return
                assert answer.status_code == 200, answer.text
                assert codes <= CODES, answer.text
                assert "data" in told

            answers()
    assert ran.total() >= 6 * GRAPHQL_CASES, ran
