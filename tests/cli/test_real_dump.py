"""The tables of ``lateen proxy-config`` from a real Envoy that holds our views."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lateen.cli.comparison import compared
from lateen.cli.main import app
from lateen.discovery.shown import config_dump
from lateen.envoy.bootstrap import Node
from lateen.envoy.resource import View
from lateen.testing.ads import serving
from lateen.testing.alone import LoneEnvoy
from lateen.testing.mesh import endpoint_slice, mesh, pod, service

pytestmark = pytest.mark.root

RULES = """
kind: DestinationRule
apiVersion: networking.istio.io/v1
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews, subset: v1}}]},
                                {route: [{destination: {host: reviews}}]}]}
"""


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, View]]:
    """A folder with what Envoy's admin interface shows, and the view it was sent."""
    folder = tmp_path_factory.mktemp("e")
    envoy = LoneEnvoy(folder, Node("sidecar~10.0.0.1~web-1.default~default.svc.cluster.local", "web.default"))
    try:
        view = asyncio.run(_filled(envoy, folder))
        yield folder, view
    finally:
        envoy.end()


async def _filled(envoy: LoneEnvoy, folder: Path) -> View:
    db = mesh(
        pod("web-1", "10.0.0.1", "web", ports={"http": 8080}), service("web", {"http": 80}, "10.96.0.10", target=8080),
        pod("reviews-1", "10.0.0.2", "reviews", ports={"http": 9080}), service("reviews", {"http": 9080}, "10.96.0.11"),
        endpoint_slice("reviews", {"http": 9080}, ("reviews-1", "10.0.0.2")), service("db", {"tcp": 5432}, "10.96.0.12"), RULES,
    )  # fmt: skip
    async with serving(db, address=f"unix:{folder}/ads") as (service_, loop, _):
        async with asyncio.timeout(40):
            while not await asyncio.to_thread(envoy.live):
                await asyncio.sleep(0.05)
        for name, page in (
            ("config.json", "/config_dump?include_eds"),
            ("hosts.json", "/clusters?format=json"),
        ):
            (folder / name).write_bytes(await asyncio.to_thread(envoy.page, page))
        [connection] = service_.connections
        found = loop.view(connection.proxy.key)
        assert found is not None
        return found


def lateen(*argv: str) -> str:
    result = CliRunner().invoke(app, ["proxy-config", *argv])
    assert result.exit_code == 0, result.output
    return result.output


def rows(text: str) -> list[list[str]]:
    """Cells, which are at least five spaces apart."""
    import re

    return [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip()]


def test_clusters(dumps: tuple[Path, View]) -> None:
    file = str(dumps[0] / "config.json")
    header, *found = rows(lateen("cluster", "-f", file))
    assert header == ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"]
    assert [it for it in found if it[0].startswith("reviews")] == [
        ["reviews.default.svc.cluster.local", "9080", "-", "outbound", "EDS", "reviews.default"],
        ["reviews.default.svc.cluster.local", "9080", "v1", "outbound", "EDS", "reviews.default"],
    ]
    assert ["db.default.svc.cluster.local", "5432", "-", "outbound", "EDS"] in found
    assert ["BlackHoleCluster", "-", "-", "-", "STATIC"] in [it[:5] for it in found]
    [_, only] = rows(
        lateen(
            "c",
            "-f",
            file,
            "--fqdn",
            "reviews",
            "--subset",
            "v1",
            "--direction",
            "outbound",
            "--port",
            "9080",
        )
    )
    assert only[2] == "v1"
    assert [
        it["name"] for it in json.loads(lateen("cluster", "-f", file, "--fqdn", "db.default", "-o", "json"))
    ] == ["outbound|5432||db.default.svc.cluster.local"]
    assert "name: outbound|5432||db.default.svc.cluster.local" in lateen(
        "cluster", "-f", file, "--fqdn", "db", "-o", "yaml"
    )
    assert len(rows(lateen("cluster", "-f", file, "--direction", "inbound"))) > 1


def test_listeners(dumps: tuple[Path, View]) -> None:
    file = str(dumps[0] / "config.json")
    header, *found = rows(lateen("listener", "-f", file))
    assert header == ["ADDRESSES", "PORT", "MATCH", "DESTINATION"]
    assert ["0.0.0.0", "15001", "ALL", "PassthroughCluster"] in found
    assert ["0.0.0.0", "15006", "Addr: *:15006", "Non-HTTP/Non-TCP"] in found
    assert ["10.96.0.12", "5432", "ALL", "Cluster: outbound|5432||db.default.svc.cluster.local"] in found
    assert any(it[1] == "15006" and "Trans: tls" in it[2] and "Addr: *:8080" in it[2] for it in found)
    assert any(it[3:] == ["Route: 9080"] for it in found)
    assert {it[1] for it in rows(lateen("l", "-f", file, "--port", "15021"))[1:]} == {"15021"}
    assert "Inline Route: /healthz/ready" in lateen("l", "-f", file, "--port", "15021")
    assert {it[0] for it in rows(lateen("l", "-f", file, "--type", "TCP"))[1:]} >= {"10.96.0.12"}
    assert rows(lateen("l", "-f", file, "--address", "10.96.0.12"))[1][1] == "5432"


def test_routes(dumps: tuple[Path, View]) -> None:
    file = str(dumps[0] / "config.json")
    header, *found = rows(lateen("route", "-f", file))
    assert header == ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"]
    mine = [it for it in found if it[1] == "reviews.default.svc.cluster.local:9080"]
    assert [it[3:] for it in mine] == [["/a*", "reviews.default"], ["/*", "reviews.default"]]
    assert {it[2] for it in mine} == {"reviews.default, reviews + 1 more..."}
    assert {it[0] for it in rows(lateen("r", "-f", file, "--name", "80"))[1:]} == {"80"}


def test_endpoints(dumps: tuple[Path, View]) -> None:
    header, *found = rows(lateen("endpoint", "-f", str(dumps[0] / "hosts.json")))
    assert header == ["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"]
    assert ["10.0.0.2:9080", "HEALTHY", "OK", "outbound|9080|v1|reviews.default.svc.cluster.local"] in found
    file = str(dumps[0] / "config.json")
    [header, only] = rows(
        lateen("ep", "-f", file, "--cluster", "outbound|9080||reviews.default.svc.cluster.local", "--port", "9080",
               "--address", "10.0.0.2", "--status", "healthy")
    )  # fmt: skip
    assert (header[0], only[0]) == ("NAME", "10.0.0.2:9080")


def test_secrets(dumps: tuple[Path, View]) -> None:
    header, *found = rows(lateen("secret", "-f", str(dumps[0] / "config.json")))
    assert header[:7] == [
        "RESOURCE NAME",
        "TYPE",
        "STATUS",
        "VALID CERT",
        "SERIAL NUMBER",
        "NOT AFTER",
        "NOT BEFORE",
    ]
    shown = {(it[0], it[1], it[2], it[3], it[7]) for it in found if len(it) == 8}
    assert ("default", "Cert Chain", "ACTIVE", "true", "cluster.local") in shown
    assert {"ROOTCA", "default"} <= {it[0] for it in found}


def test_bootstrap_and_all(dumps: tuple[Path, View]) -> None:
    file = str(dumps[0] / "config.json")
    assert json.loads(lateen("bootstrap", "-f", file))["node"]["id"].startswith("sidecar~10.0.0.1")
    text = lateen("all", "-f", file)
    for header in ("SERVICE FQDN", "ADDRESSES", "VHOST NAME", "LOCALITY"):
        assert header in text
    assert json.loads(lateen("all", "-f", file, "-o", "json"))["configs"]


def test_an_envoy_has_what_it_was_sent_and_differences_are_named(dumps: tuple[Path, View]) -> None:
    had: dict[str, Any] = json.loads((dumps[0] / "config.json").read_text())
    meant = config_dump(dumps[1])
    assert [it.partition(" (")[0] for it in compared(meant, had)] == [
        "Clusters Match",
        "Listeners Match",
        "Routes Match",
    ]
    clusters = had["configs"][
        [it["@type"].endswith("ClustersConfigDump") for it in had["configs"]].index(True)
    ]
    clusters["dynamic_active_clusters"][0]["version_info"] = "old"
    gone = clusters["dynamic_active_clusters"].pop()
    lines = compared(meant, had)
    assert lines[0] == "Clusters Don't Match"
    assert any("has version old" in it for it in lines)
    assert any(gone["cluster"]["name"] in it and "does not have it" in it for it in lines)
