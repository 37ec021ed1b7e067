"""Google's own manifest, unmodified, inside the mesh: the main job on real input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lateen.demo import steps
from lateen.demo.commands import Machine, examples

pytestmark = [pytest.mark.mesh, pytest.mark.root]


@pytest.fixture(scope="module")
def shop(machine: Machine) -> Machine:
    manifest = (
        Path(__file__).resolve().parents[3]
        / "shared"
        / "samples"
        / "online-boutique"
        / "kubernetes-manifests.yaml"
    )
    if not manifest.exists():
        pytest.skip("Google's manifest is not beside the checkout: ../shared/samples/online-boutique")
    machine.kubectl("apply", "-f", str(manifest))
    steps.until(lambda: len(steps.running(machine)) == steps.WORKLOADS, within_s=240, every_s=1)
    return machine


def test_twelve_workloads_are_ready_and_synced(shop: Machine) -> None:
    assert len(steps.running(shop)) == steps.WORKLOADS
    assert steps.proxies_synced(shop)


def test_an_order_is_placed_through_the_gateway(shop: Machine) -> None:
    assert "was placed at http" in steps.checkout_through_gateway(shop)


@pytest.mark.parametrize("reporter", ["source", "destination"])
def test_every_call_between_them_is_mutual_tls_on_both_sides(shop: Machine, reporter: str) -> None:
    seen = {
        edge: flow
        for edge, flow in steps.measure(shop, 12, reporter).items()
        if edge.destination != "unknown"
    }
    inside = {edge: flow for edge, flow in seen.items() if edge.source != "unknown"}
    assert sum(flow.requests for flow in inside.values()) > 50, "the load generator must be at work"
    assert {edge: flow for edge, flow in inside.items() if flow.mutual_tls != flow.requests} == {}


def test_strict_fails_nothing(shop: Machine) -> None:
    assert "0 failed" in steps.strict(shop)


def test_applying_the_manifest_again_changes_nothing(shop: Machine) -> None:
    manifest = (
        Path(__file__).resolve().parents[3]
        / "shared"
        / "samples"
        / "online-boutique"
        / "kubernetes-manifests.yaml"
    )
    said = shop.kubectl("apply", "-f", str(manifest)).splitlines()
    assert [line for line in said if not line.endswith("unchanged")] == []


def test_an_invalid_object_is_refused_with_its_path(shop: Machine) -> None:
    bad = (
        (examples() / "istio" / "canary.yaml")
        .with_name("canary.yaml")
        .read_text()
        .replace("weight: 20", "weight: -20")
    )
    path = shop.home / "bad.yaml"
    path.write_text(bad)
    done = shop.kubectl_result("apply", "-f", str(path), check=False)
    assert done.returncode != 0
    assert "weight" in done.stderr
    found = json.loads(shop.kubectl("get", "virtualservices", "-o", "json"))["items"]
    assert not [it for it in found if it["metadata"]["name"] == "productcatalogservice"]
