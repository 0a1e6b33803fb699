"""GraphQL over HTTP, by the audits that the specification's reference implementation brings."""

from tests.support import node
from tests.support.process import Served

AUDITS = 61


def test_every_audit_is_passed(served: Served) -> None:
    results = node.run("audit.mjs", f"{served.gateway}/graphql")
    failed = [
        f"{audit['id']} {audit['name']}: {audit['status']}, {audit['reason']}"
        for audit in results
        if audit["status"] != "ok"
    ]
    assert not failed, "\n".join(failed)
    assert len(results) == AUDITS
