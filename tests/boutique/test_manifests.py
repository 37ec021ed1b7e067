"""Are our manifests Google's in everything a mesh or a client can see? And does skiff know every image?"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from skiff.node.images import sought

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "online-boutique"
OURS = EXAMPLES / "kubernetes-manifests.yaml"

Objects = dict[tuple[str, str], dict[str, Any]]


def objects(path: Path) -> Objects:
    found = [it for it in yaml.safe_load_all(path.read_text()) if it]
    named = {(it["kind"], it["metadata"]["name"]): it for it in found}
    assert len(named) == len(found)
    return named


@pytest.fixture
def googles(shared: Path) -> Objects:
    path = shared / "samples" / "online-boutique" / "kubernetes-manifests.yaml"
    if not path.exists():
        pytest.skip(
            "Google's own kubernetes-manifests.yaml is not in ../shared: ours is not compared with it"
        )
    return objects(path)


def containers(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    pod = deployment["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


def seen(deployment: dict[str, Any]) -> dict[str, Any]:
    """What of a Deployment a mesh, a client or an operator can see from outside."""
    template = deployment["spec"]["template"]
    pod = template["spec"]
    return {
        "labels": deployment["metadata"].get("labels"),
        "selector": deployment["spec"]["selector"],
        "pod labels": {name: it for name, it in template["metadata"]["labels"].items() if name != "version"},
        "annotations": template["metadata"].get("annotations"),
        "account": pod.get("serviceAccountName"),
        "grace": pod.get("terminationGracePeriodSeconds"),
        "security": pod.get("securityContext"),
        "volumes": pod.get("volumes"),
        "inits": [it["name"] for it in pod.get("initContainers", [])],
        "containers": {
            it["name"]: {
                "ports": [port["containerPort"] for port in it.get("ports", [])],
                "env": {entry["name"]: entry["value"] for entry in it.get("env", [])},
                "security": it.get("securityContext"),
                "readiness": handler(it.get("readinessProbe")),
                "liveness": handler(it.get("livenessProbe")),
                "mounts": it.get("volumeMounts"),
            }
            for it in containers(deployment)
        },
    }


def handler(probe: dict[str, Any] | None) -> dict[str, Any]:
    """What a probe asks; when and how often is our own."""
    return {key: it for key, it in (probe or {}).items() if key in ("httpGet", "grpc", "tcpSocket", "exec")}


def test_the_objects_are_those_of_google(googles: Objects) -> None:
    ours = objects(OURS)
    assert ours.keys() == googles.keys()
    for (kind, name), theirs in googles.items():
        mine = ours[kind, name]
        assert mine["apiVersion"] == theirs["apiVersion"]
        if kind == "Deployment":
            assert seen(mine) == seen(theirs), name
        elif kind == "Service":
            assert mine["spec"] == theirs["spec"], name
            assert mine["metadata"] == theirs["metadata"], name


def test_there_are_twelve_workloads_whose_pods_have_a_version() -> None:
    deployments = [it for (kind, _), it in objects(OURS).items() if kind == "Deployment"]
    assert len(deployments) == 12
    for it in deployments:
        assert it["spec"]["template"]["metadata"]["labels"]["version"] == "v1"
        assert "version" not in it["spec"]["selector"]["matchLabels"]


def test_the_path_of_the_tutorial_leads_to_the_same_file() -> None:
    assert (EXAMPLES / "release" / "kubernetes-manifests.yaml").resolve() == OURS


def images(found: Objects) -> set[str]:
    return {it["image"] for (kind, _), obj in found.items() if kind == "Deployment" for it in containers(obj)}


def commands(found: set[str], home: Path) -> dict[str, list[str]]:
    known = {it: sought(it, home).image for it in found}
    assert None not in known.values(), [it for it, image in known.items() if image is None]
    return {it: [*image.entrypoint, *image.args] for it, image in known.items() if image}


def is_there(command: list[str]) -> bool:
    if "-m" in command:
        return importlib.util.find_spec(command[command.index("-m") + 1]) is not None
    return shutil.which(command[0]) is not None


def test_every_image_of_ours_stands_for_a_program_that_is_there(tmp_path: Path) -> None:
    found = images(objects(OURS)) | images(objects(EXAMPLES / "istio" / "canary.yaml"))
    for image, command in commands(found, tmp_path).items():
        if image.startswith("boutique/"):
            assert is_there(command), command


def test_every_image_of_google_stands_for_the_same_program(googles: Objects, tmp_path: Path) -> None:
    ours, theirs = commands(images(objects(OURS)), tmp_path), commands(images(googles), tmp_path)
    assert sorted(map(tuple, ours.values())) == sorted(map(tuple, theirs.values()))


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("gcr.io/google-samples/microservices-demo/cartservice:v0.8.0", "boutique.cartservice"),
        ("mirror.example:5000/shop/microservices-demo/frontend", "boutique.frontend"),
        (
            "us-central1-docker.pkg.dev/online-boutique-ci/microservices-demo/adservice@sha256:00",
            "boutique.adservice",
        ),
        ("docker.io/library/redis:alpine@sha256:00", "redis-server"),
        ("redis@sha256:00", "redis-server"),
        ("redis", "redis-server"),
        ("busybox:latest@sha256:00", "sh"),
        ("busybox", "sh"),
    ],
)
def test_images_of_older_releases_and_mirrors_are_known_too(image: str, program: str, tmp_path: Path) -> None:
    assert program in commands({image}, tmp_path)[image]


@pytest.mark.parametrize(
    "image", ["boutique/nothing:v1", "x/microservices-demo/shoppingassistantservice:v1", "nginx"]
)
def test_an_image_without_a_program_is_unknown(image: str, tmp_path: Path) -> None:
    assert sought(image, tmp_path).image is None


def test_the_canary_is_one_more_version_of_the_same_service() -> None:
    found = objects(EXAMPLES / "istio" / "canary.yaml")
    first, second = (
        objects(OURS)["Deployment", "productcatalogservice"],
        found["Deployment", "productcatalogservice-v2"],
    )
    labels = [it["spec"]["template"]["metadata"]["labels"] for it in (first, second)]
    subsets = {
        it["name"]: it["labels"]
        for it in found["DestinationRule", "productcatalogservice"]["spec"]["subsets"]
    }
    assert all(labels[at].items() >= subsets[f"v{at + 1}"].items() for at in range(2))
    assert labels[0]["app"] == labels[1]["app"] == "productcatalogservice"
    (route,) = found["VirtualService", "productcatalogservice"]["spec"]["http"]
    assert {it["destination"]["subset"]: it["weight"] for it in route["route"]} == {"v1": 80, "v2": 20}
    (container,) = containers(second)
    (usual,) = containers(first)
    assert [it for it in container["env"] if it not in usual["env"]] == [
        {"name": "EXTRA_LATENCY", "value": "400ms"}
    ]
    for name in ("readinessProbe", "livenessProbe", "ports", "securityContext"):
        assert container[name] == usual[name]
