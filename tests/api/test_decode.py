"""Objects become facts at the door, or say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.api import mesh_config
from lateen.api.core import EndpointSlice, Service
from lateen.api.decode import KINDS, STORED, decode, kind_of
from lateen.api.destination_rule import DestinationRule
from lateen.api.meta import Duration
from lateen.api.networking import VirtualService
from lateen.names.keys import ObjectKey
from lateen.names.problems import Problem


def virtual_service(http: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "a", "namespace": "n", "resourceVersion": "7", "managedFields": [{}]},
        "spec": {"hosts": ["a"], "http": http}, "status": {"anything": 1},
    }  # fmt: skip


def test_only_what_some_query_reads_becomes_a_fact() -> None:
    one, other = virtual_service([{"timeout": "1.5s"}]), virtual_service([{"timeout": "1500ms"}])
    other["metadata"]["resourceVersion"] = "8"
    other["status"] = None
    assert decode(one) == decode(other)
    found = decode(one)
    assert isinstance(found, VirtualService)
    assert found.key == ObjectKey("n", "a")
    assert found.spec.http[0].timeout == Duration(1_500_000_000)


@pytest.mark.parametrize(
    ("http", "path", "message"),
    [
        ([{"timeout": "soon"}], "spec.http[0].timeout", '"soon" is not a duration'),
        (
            [{"route": [{"weight": "x"}]}],
            "spec.http[0].route[0].weight",
            "must be a whole number, not a string",
        ),
        ({}, "spec.http", "must be a list, not a map"),
        (
            [{"retries": {"perTryTimeout": 3}}],
            "spec.http[0].retries.perTryTimeout",
            "must be a duration in quotes, such as 1s, not 3",
        ),
    ],
)
def test_a_problem_has_the_path_of_the_field(http: Any, path: str, message: str) -> None:
    found = decode(virtual_service(http))
    assert isinstance(found, Problem)
    assert (found.kind, found.namespace, found.name, found.path) == ("VirtualService", "n", "a", path)
    assert message in found.message


def test_kubernetes_own_spellings_are_known() -> None:
    found = decode({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
                    "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "targetPort": "web"}]}})  # fmt: skip
    assert isinstance(found, Service)
    assert (found.spec.cluster_ip, found.spec.cluster_ips, found.spec.ports[0].target_port) == (
        "10.0.0.1",
        ["10.0.0.1"],
        "web",
    )
    slice_ = decode({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                     "metadata": {"name": "a-x", "labels": {"kubernetes.io/service-name": "a"}},
                     "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": None}, "targetRef": {"kind": "Pod", "name": "p"}}],
                     "ports": [{"name": "http", "port": 8080}]})  # fmt: skip
    assert isinstance(slice_, EndpointSlice)
    assert (slice_.service_name, slice_.endpoints[0].conditions.ready) == ("a", None)


def test_numbers_in_names_keep_istios_spelling() -> None:
    found = decode({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "a"},
                    "spec": {"host": "a", "trafficPolicy": {"connectionPool": {"http": {"http1MaxPendingRequests": 3, "http2MaxRequests": 4}},
                             "outlierDetection": {"consecutive5xxErrors": 5}}}})  # fmt: skip
    assert isinstance(found, DestinationRule)
    policy = found.spec.traffic_policy
    assert policy
    assert policy.connection_pool
    assert policy.connection_pool.http
    assert policy.outlier_detection
    assert (
        policy.connection_pool.http.http1_max_pending_requests,
        policy.connection_pool.http.http2_max_requests,
    ) == (3, 4)
    assert policy.outlier_detection.consecutive_5xx_errors == 5


def test_mesh_config_ignores_what_it_does_not_know() -> None:
    found = mesh_config.decode(
        {"accessLogFile": "/dev/stdout", "unknown": {"x": 1}, "meshMTLS": {"minProtocolVersion": "TLSV1_3"}}
    )
    assert found.access_log_file == "/dev/stdout"
    assert found.mesh_mtls.min_protocol_version == "TLSV1_3"
    assert found.trust_domain == "cluster.local"


def test_every_sample_of_istio_and_google_decodes(shared: Path) -> None:
    count = 0
    for path in sorted((shared / "samples").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and kind_of(document) in KINDS:
                assert not isinstance(found := decode(document), Problem), f"{path}: {found}"
                count += 1
    assert count > 60, "there are many samples"


NAMES = st.sampled_from(
    ["metadata", "spec", "status", "name", "labels", "ports", "port", "endpoints", "data", "containers", "a"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(sorted({**KINDS, **STORED})), st.dictionaries(NAMES, JSON, max_size=4))
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_there_is_a_fact_or_a_problem(
    kind: tuple[str, str], body: dict[str, Any]
) -> None:
    found = decode({**body, "apiVersion": f"{kind[0]}/v1" if kind[0] else "v1", "kind": kind[1]})
    if isinstance(found, Problem):
        assert found.message
        assert found.kind == kind[1]
    else:
        assert type(found).__name__ == kind[1]


def test_what_is_nested_without_end_is_a_problem() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    found = decode({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": deep})
    assert isinstance(found, Problem)
    assert found.message == "is nested too deeply"
