"""The order of imports: a module imports only from lines above its own."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "gateway"

ORDER = [
    {"errors", "clock", "loopback", "memo", "observability/accesslog", "simulator", "__init__"},
    {"model", "callers"},
    {"redis_url"},
    {"settings"},
    {"smsc"},
    {"observability/logs", "redis_server"},
    {"replicas"},
    {"store"},
    {"wakeups"},
    {"archive"},
    {"cache"},
    {"upstream"},
    {"observability/tracing"},
    {"service"},
    {"watch"},
    {"followed"},
    {"follows"},
    {"webhooks"},
    {"web/projection"},
    {"web/http"},
    {"web/rest/push"},
    {"web/ops"},
    {"web/rest"},
    {"web/pages"},
    {"web/graphql"},
    {"app", "protocol"},
    {"server"},
    {"cli"},
    {"__main__"},
]
"""Rooms, and modules that stand elsewhere than the rest of their room."""
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}

HOMES = {
    "httpx": {
        *("upstream/client", "app", "cli/check", "callers/fetch", "simulator/push"),
        "webhooks/post",
    },
    "standardwebhooks": {"webhooks/address"},
    "joserfc": {"callers/jwt"},
    "python_multipart": {"simulator/form"},
    "redis": {"redis_server", "replicas"},
    "sqlalchemy": {"archive", "archive/migrations/versions"},
    "alembic": {"archive", "archive/migrations", "archive/migrations/versions"},
    "msgspec": {"archive", "model", "cache", "service", "smsc", "store", "web/rest"},
    "cachetools": {"store/memory", "web/graphql/documents"},
    "strawberry": {"web/graphql"},
    "graphql": {"web/graphql"},
    "uvicorn": {"server", "protocol"},
    "httptools": set(),
    "h11": {"protocol"},
    "click": {"cli", "server"},
    "structlog": {"observability/logs"},
    "sqlite3": {"upstream/budget/journal"},
    "prometheus_client": {"web/ops"},
    "opentelemetry": {"observability/tracing"},
}
"""Third parties have one home, a module or a room; `app` and `cli/check` name httpx's transport as
a seam, and the simulator is a program of its own."""

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


def _level(name: str) -> tuple[int, str]:
    """The level of a module, and what it stands there as: itself, or its room."""
    while name not in LEVEL and "/" in name:
        name = name.rpartition("/")[0]
    return LEVEL.get(name, -1), name


def test_every_module_has_its_place_in_the_order() -> None:
    missing = [_name(path) for path in MODULES if _level(_name(path))[0] < 0]
    assert [name for name in missing if not name.endswith("__init__")] == []
    assert {_level(_name(path))[1] for path in MODULES} >= set(LEVEL)


def test_modules_import_only_from_above() -> None:
    wrong = []
    for path in MODULES:
        level, place = _level(_name(path))
        for imported in _imports(path):
            if not imported.startswith("gateway."):
                continue
            other, other_place = _level(imported.removeprefix("gateway.").replace(".", "/"))
            if other >= level and other_place != place:
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


NO_IO = {
    "smsc",
    "model",
    "errors",
    "upstream/planner",
    "upstream/breaker",
    "upstream/backlog",
    "upstream/demand",
    "upstream/status",
}


def test_the_protocol_and_the_records_do_no_io() -> None:
    for path in MODULES:
        name = _name(path)
        if NO_IO & {name, name.split("/")[0]}:
            assert _imports(path).isdisjoint({"asyncio", "time", "logging", "socket", "os"}), path


def test_the_simulator_knows_nothing_of_the_gateway() -> None:
    for path in (ROOT / "simulator").glob("*.py"):
        others = {name for name in _imports(path) if name.startswith("gateway")}
        assert all(name.startswith("gateway.simulator") for name in others), path
