"""The order of imports: a module imports only from lines above its own."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "gateway"

ORDER = [
    {"errors", "clock", "loopback", "memo", "accesslog", "simulator", "__init__"},
    {"records", "callers"},
    {"described", "merge", "detail", "freshness"},
    {"settings"},
    {"smsc"},
    {"replicas"},
    {"store", "budget", "breaker", "backlog", "interest", "telemetry"},
    {"planner", "alarm", "throughput", "cache"},
    {"upstream", "flight", "inflight"},
    {"board", "deletions"},
    {"dispatch"},
    {"link", "tracing"},
    {"service", "wakeups"},
    {"watch"},
    {"web"},
    {"app", "protocol"},
    {"cli_client", "server", "check"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}

HOMES = {
    "httpx": {"upstream", "app", "check", "callers/fetch", "simulator/push"},
    "joserfc": {"callers/jwt"},
    "python_multipart": {"simulator/form"},
    "redis": {"replicas"},
    "msgspec": {
        "records",
        "described",
        "freshness",
        "merge",
        "cache",
        "service",
        "smsc/row",
        "smsc/normalise",
        "store",
        "web/reply",
        "web/rest",
        "web/live",
    },
    "cachetools": {"store/memory", "web/graphql/documents"},
    "strawberry": {"web/graphql"},
    "graphql": {"web/graphql"},
    "uvicorn": {"server", "protocol"},
    "httptools": set(),
    "h11": {"protocol"},
    "click": {"cli", "cli_client", "server"},
    "structlog": {"telemetry"},
    "sqlite3": {"budget/journal"},
    "prometheus_client": {"web/metrics"},
    "opentelemetry": {"tracing"},
}
"""Third parties have one home, a module or a room; `app` and `check` name httpx's transport as a
seam, and the simulator is a program of its own."""

MODULES = sorted(ROOT.rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [alias.name for alias in node.names]
            found |= {f"gateway.{n}" for n in names} if node.module == "gateway" else set()
            found.add(node.module or "")
    return found


def test_every_room_has_its_place_in_the_order() -> None:
    assert {_name(path).split("/")[0] for path in MODULES} == set(LEVEL)


def test_modules_import_only_from_above() -> None:
    wrong = []
    for path in MODULES:
        room = _name(path).split("/")[0]
        for imported in _imports(path):
            parts = imported.split(".")
            if parts[0] != "gateway" or len(parts) == 1 or parts[1] == room:
                continue
            other = parts[1] if parts[1] in LEVEL else "__init__"
            if LEVEL[other] >= LEVEL[room] and other != "__init__":
                wrong.append(f"{_name(path)} imports {imported}")
    assert wrong == []


def test_third_parties_have_one_home() -> None:
    users: dict[str, set[str]] = {}
    for path in MODULES:
        for imported in _imports(path):
            library, user = imported.split(".")[0], _name(path)
            room = user.rpartition("/")[0]
            users.setdefault(library, set()).add(room if room in HOMES.get(library, ()) else user)
    assert {library: users.get(library, set()) for library in HOMES} == HOMES


def test_the_protocol_and_the_records_do_no_io() -> None:
    for path in MODULES:
        room = _name(path).split("/")[0]
        if room in {
            "smsc",
            "records",
            "merge",
            "detail",
            "freshness",
            "planner",
            "errors",
            "breaker",
            "interest",
            "link",
        }:
            assert _imports(path).isdisjoint({"asyncio", "time", "logging", "socket", "os"}), path


def test_the_simulator_knows_nothing_of_the_gateway() -> None:
    for path in (ROOT / "simulator").glob("*.py"):
        others = {name for name in _imports(path) if name.startswith("gateway")}
        assert all(name.startswith("gateway.simulator") for name in others), path
