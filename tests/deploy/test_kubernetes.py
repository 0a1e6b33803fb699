"""The manifests: valid, consistent, hardened, and fit for what a gateway does when it stops."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.server import GRACE
from gateway.settings import load as load_settings
from gateway.web.http.auth import OPEN_PATHS
from tests.support.deployed import DEPLOY, ROOT, image_environment, load
from tests.support.tools import run

OVERLAYS = ("base", "single")
KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
"""The lists of a Deployment that a patch is merged into, by the field that names an entry."""

PROBES = {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
"""What can't be reached is a reason to send nobody there, not to start it again."""

Json = dict[str, Any]


def patched(old: Any, new: Any, name: str = "") -> Any:  # noqa: ANN401 - JSON
    """A strategic merge patch, as far as ours need it."""
    if isinstance(old, dict) and isinstance(new, dict):
        merged = {key: patched(old.get(key), value, key) for key, value in new.items()}
        return {key: value for key, value in (old | merged).items() if value is not None}
    if isinstance(old, list) and name in KEYS:
        found = {entry[KEYS[name]]: entry for entry in old}
        for entry in new:
            found[entry[KEYS[name]]] = patched(found.get(entry[KEYS[name]]), entry)
        return list(found.values())
    return new


def built(folder: str) -> dict[str, Json]:
    """What kustomize makes of a folder, by kind; no kind is there twice."""
    kustomization = load("kubernetes", folder, "kustomization.yaml")
    found: dict[str, Json] = {}
    for resource in kustomization["resources"]:
        more = (
            built(resource.removeprefix("../"))
            if resource.startswith("../")
            else {(one := load("kubernetes", folder, resource))["kind"]: one}
        )
        assert not found.keys() & more.keys()
        found |= more
    for generated in kustomization.get("configMapGenerator", ()):
        data = dict(literal.split("=", 1) for literal in generated["literals"])
        metadata = {"name": generated["name"]}
        kind = "ConfigMap"
        found[kind] = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data}
    for patch in kustomization.get("patches", ()):
        change = load("kubernetes", folder, patch["path"])
        assert found[change["kind"]]["metadata"]["name"] == change["metadata"]["name"]
        found[change["kind"]] = patched(found[change["kind"]], change)
    for image in kustomization.get("images", ()):
        [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == image["name"]
        container["image"] = f"{image['newName']}:{image['newTag']}"
    return found


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> dict[str, Json]:
    return built(request.param)


@pytest.fixture
def pod(manifests: dict[str, Json]) -> Json:
    spec: Json = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: Json) -> Json:
    [found] = pod["containers"]
    return dict(found)


@pytest.mark.parametrize("folder", OVERLAYS)
def test_kustomize_makes_the_same_of_them(folder: str) -> None:
    """Where there is a kubectl; it is in no package that tests could install."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    told = run("kubectl", "kustomize", DEPLOY / "kubernetes" / folder, package="kubectl")
    made = yaml.safe_load_all(re.sub(r"\bsmsc-gateway-[a-z0-9]{10}\b", "smsc-gateway", told))

    def ordered(one: object) -> str:
        return json.dumps(one, sort_keys=True)

    for manifest in made:
        ours = built(folder)[manifest["kind"]]
        for either in (manifest, ours):
            spec = either.get("spec", {}).get("template", {}).get("spec", {})
            spec.get("volumes", []).sort(key=ordered)
            for one in spec.get("containers", ()):
                one["volumeMounts"].sort(key=ordered)
        assert ordered(manifest) == ordered(ours)


def test_they_are_valid(manifests: dict[str, Json]) -> None:
    version = kubernetes_validate.latest_version()
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)
    manifests["Deployment"]["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifests["Deployment"], version, strict=True)


def test_all_mean_the_same_pods_and_the_same_port(
    manifests: dict[str, Json], container: Json
) -> None:
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    [port] = container["ports"]
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    for kind, field in {
        "Deployment": "selector",
        "PodDisruptionBudget": "selector",
        "NetworkPolicy": "podSelector",
    }.items():
        assert manifests[kind]["spec"][field]["matchLabels"] == labels
    ingress = manifests["NetworkPolicy"]["spec"]["ingress"]
    assert ingress == [{"ports": [{"port": port["containerPort"]}]}]
    assert str(port["containerPort"]) == image_environment()["GATEWAY_PORT"]


def test_it_may_reach_what_it_needs(manifests: dict[str, Json]) -> None:
    egress = manifests["NetworkPolicy"]["spec"]["egress"]
    ports = {port["port"] for rule in egress for port in rule["ports"]}
    assert ports == {53, 443, 6379, 5432}


def test_every_volume_and_what_it_is_made_of_is_there(
    manifests: dict[str, Json], pod: Json, container: Json
) -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounts.keys() == volumes.keys()
    comments = (DEPLOY / "kubernetes" / "base" / "kustomization.yaml").read_text()
    secrets = [volumes["clients"]["secret"]["secretName"], container["envFrom"][1]["secretRef"]]
    assert f"create secret generic {secrets[0]} " in comments
    assert f"create secret generic {secrets[1]['name']} " in comments
    config = manifests["ConfigMap"]
    assert container["envFrom"][0]["configMapRef"]["name"] == config["metadata"]["name"]
    assert config["data"]["GATEWAY_CLIENTS_FILE"].startswith(mounts["clients"] + "/")
    if "state" in volumes:
        claim = volumes["state"]["persistentVolumeClaim"]["claimName"]
        assert manifests["PersistentVolumeClaim"]["metadata"]["name"] == claim


def environment(manifests: Mapping[str, Json], container: Json, **secret: str) -> dict[str, str]:
    own = {one["name"]: one["value"] for one in container.get("env", ())}
    given = {f"GATEWAY_{name}": value for name, value in secret.items()}
    config: dict[str, str] = manifests["ConfigMap"]["data"]
    return image_environment() | config | given | own


def test_the_gateway_takes_its_settings_and_stops_in_time(
    manifests: dict[str, Json], pod: Json, container: Json, tmp_path: Path
) -> None:
    (tmp_path / "clients.toml").write_text("")
    given = environment(manifests, container, SMSC_LOGIN="demo", SMSC_PASSWORD="demo")
    given["GATEWAY_CLIENTS_FILE"] = str(tmp_path / "clients.toml")
    settings = load_settings(given)
    is_single = manifests["Deployment"]["spec"]["replicas"] == 1
    assert (settings.shutdown_delay > 0) is not is_single
    assert pod["terminationGracePeriodSeconds"] >= settings.shutdown_delay + GRACE + 20
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    if is_single:
        assert str(settings.state_dir) in mounted
        assert manifests["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}


def test_probes_ask_what_needs_no_key(container: Json) -> None:
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in PROBES}
    assert paths == PROBES
    assert set(paths.values()) <= set(OPEN_PATHS)


def test_they_meet_the_restricted_pod_security_standard(pod: Json, container: Json) -> None:
    whole, own = pod["securityContext"], container["securityContext"]
    assert whole["runAsNonRoot"]
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    user = f"{whole['runAsUser']}:{whole['runAsGroup']}"
    assert f"\nUSER {user}\n" in (ROOT / "Dockerfile").read_text()
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"]
    assert not own["allowPrivilegeEscalation"]
    assert not pod["automountServiceAccountToken"]
