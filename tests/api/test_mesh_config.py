"""What becomes of MeshConfig and ProxyConfig as users write them."""

from __future__ import annotations

import msgspec
import pytest

from lateen.api import lenient, mesh_config
from lateen.api.mesh_config import DEFAULT, MeshConfig, OutboundMode, read
from lateen.api.meta import Duration
from lateen.api.proxy_config import ForwardClientCertDetails, ProxyConfig, ProxyProtocol
from lateen.names.problems import Severity


def told(text: str, kept: MeshConfig | None = DEFAULT) -> dict[str, tuple[str, Severity]]:
    return {it.path: (it.message, it.severity) for it in read(text, kept).problems}


@pytest.mark.finding("conformance F7")
def test_one_wrong_field_costs_that_field() -> None:
    text = "{accessLogFile: /dev/stdout, accessLogEncoding: XML, connectTimeout: 7}"
    found = read(text).config
    assert found == MeshConfig(access_log_file="/dev/stdout")
    assert told(text) == {
        "accessLogEncoding": (
            "unknown value 'XML': use one of TEXT, JSON; until fixed, \"TEXT\" holds",
            Severity.ERROR,
        ),
        "connectTimeout": (
            'must be a duration in quotes, such as 1s, not 7; until fixed, "10s" holds',
            Severity.ERROR,
        ),
    }


@pytest.mark.finding("conformance F7")
def test_a_mode_that_is_not_followed_acts_as_the_nearest_and_is_told() -> None:
    text = "{outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}, accessLogFile: /dev/stdout}"
    found = read(text).config
    assert found is not None
    assert (found.access_log_file, found.outbound_traffic_policy.mode) == (
        "/dev/stdout",
        OutboundMode.ALLOW_ANY,
    )
    assert [(path, severity) for path, (_, severity) in told(text).items()] == [
        ("outboundTrafficPolicy.mode", Severity.WARNING)
    ]


@pytest.mark.finding("architecture 5")
@pytest.mark.parametrize(
    "text",
    ["outboundTrafficPolicy: {mode: REGISTRY}", "outboundTrafficPolicy: REGISTRY_ONLY", "trustDomain: 7",
     "trust_domain: [a]", "trustDomain: not a name", "rootNamespace: {}", "defaultServiceExportTo: .",
     "defaultServiceExportTo: [7]", "a: [", "[]", "just words", "a: &b {c: *b}", "{a: 1}" + " " * mesh_config.LONGEST],
)  # fmt: skip
def test_what_could_open_something_has_no_default_at_the_start_and_its_last_value_later(text: str) -> None:
    at_start = read(text)
    assert at_start.config is None
    assert at_start.problems
    last = mesh_config.decode(
        {"trustDomain": "corp", "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}, "rootNamespace": "root",
         "defaultServiceExportTo": ["."]}
    )  # fmt: skip
    later = read(text, last)
    assert later.problems
    assert later.config is not None
    whole = not later.problems[0].path
    for wrong, name in (("trustDomain", "trust_domain"), ("rootNamespace", "root_namespace"),
                        ("outboundTrafficPolicy", "outbound_traffic_policy"), ("trust_domain", "trust_domain"),
                        ("defaultServiceExportTo", "default_service_export_to")):  # fmt: skip
        if whole or text.startswith(wrong):
            assert getattr(later.config, name) == getattr(last, name)


def test_text_that_is_nothing_means_the_defaults() -> None:
    assert read("") == read("# nothing") == (DEFAULT, ())


@pytest.mark.finding("mesh M3")
def test_unknown_fields_and_fields_without_effect_are_told_apart() -> None:
    text = """
    enableTracing: true
    acessLogFile: /dev/stdout
    meshMTLS: {minProtocolVersion: TLSV1_3}
    defaultConfig: {tracing: {sampling: 1}, extraStatTags: [a], runtimeValues: {a: b}, wrod: 1, concurrency: 2}
    """
    assert {path: message for path, (message, _) in told(text).items()} == {
        "enableTracing": "has no effect in this release",
        "meshMTLS": "has no effect in this release",
        "acessLogFile": "unknown field: did you mean accessLogFile?",
        "defaultConfig.wrod": "unknown field",
        "defaultConfig.tracing": "has no effect in this release",
        "defaultConfig.extraStatTags": "has no effect in this release",
        "defaultConfig.runtimeValues": "has no effect in this release",
    }
    assert {severity for _, severity in told(text).values()} == {Severity.WARNING}


@pytest.mark.finding("mesh M3")
def test_a_proxy_config_is_typed_as_a_whole() -> None:
    found, problems = mesh_config.proxy_config({
        "gatewayTopology": {
            "numTrustedProxies": 1, "forwardClientCertDetails": "APPEND_FORWARD", "proxyProtocol": {}
        },
        "terminationDrainDuration": "7s", "proxy_metadata": {"A": "b"}, "concurrency": "3",
    })  # fmt: skip
    assert found.gateway_topology.num_trusted_proxies == 1
    assert found.gateway_topology.forward_client_cert_details is ForwardClientCertDetails.APPEND_FORWARD
    assert found.gateway_topology.proxy_protocol == ProxyProtocol()
    assert found.termination_drain_duration == Duration(7 * 10**9)
    assert (found.proxy_metadata, found.concurrency) == ({"A": "b"}, 3)
    assert {it.severity for it in problems} <= {Severity.WARNING}


@pytest.mark.finding("mesh M3")
def test_wrong_types_of_a_proxy_config_are_told_with_their_place() -> None:
    found, problems = mesh_config.proxy_config({
        "holdApplicationUntilProxyStarts": "yes", "terminationDrainDuration": 7, "statusPort": 70000,
        "gatewayTopology": {"numTrustedProxies": -1}, "proxyMetadata": {"A": "b", "C": 7},
        "proxyStatsMatcher": {"inclusionPrefixes": ["a", 7]}, "interceptionMode": "tproxy",
        "serviceCluster": "a", "tracingServiceName": "CANONICAL_NAME_ONLY",
        "readinessProbe": {"httpGet": {"path": "/"}}, "image": {"imageType": "debug"},
    })  # fmt: skip
    wrong = {it.path for it in problems if it.severity is Severity.ERROR}
    assert wrong == {
        "holdApplicationUntilProxyStarts", "terminationDrainDuration", "statusPort", "gatewayTopology.numTrustedProxies",
        "proxyMetadata.C", "proxyStatsMatcher.inclusionPrefixes[1]", "interceptionMode", "", "readinessProbe.httpGet",
    }  # fmt: skip
    assert found.proxy_metadata == {"A": "b"}
    assert found.hold_application_until_proxy_starts is None


def test_a_field_of_a_field_keeps_its_last_value() -> None:
    last = read("defaultConfig: {concurrency: 4, drainDuration: 3s}").config
    found = read("defaultConfig: {concurrency: many, drainDuration: 5s}", last).config
    assert found is not None
    assert (found.default_config.concurrency, found.default_config.drain_duration) == (4, Duration(5 * 10**9))


def test_only_so_many_problems_are_told() -> None:
    text = "\n".join(f"nothing{it}: 1" for it in range(5_000))
    assert len(read(text).problems) <= lenient.MOST_TOLD


def test_every_field_is_read_back_as_it_is_written() -> None:
    """Types whose defaults cannot be read, or whose names differ, would be told as wrong."""
    for struct in (MeshConfig(), ProxyConfig()):
        document = {it.encode_name: getattr(struct, it.name) for it in msgspec.structs.fields(type(struct))}
        plain = msgspec.to_builtins(document, enc_hook=lambda it: f"{it.seconds:f}s")
        found, problems = lenient.read({k: v for k, v in plain.items() if v is not None}, struct)
        assert (found, problems) == (struct, [])


@pytest.mark.finding("mesh M3")
@pytest.mark.parametrize(
    "address", ["istiod", "istiod:x", "istiod:0", "istiod:70000", ":15012", "a b:15012", "[::1:15012"]
)
def test_values_with_which_an_agent_would_not_start_are_told(address: str) -> None:
    found, problems = mesh_config.proxy_config({"discoveryAddress": address, "drainDuration": "10ms"})
    assert [it.path for it in problems] == ["discoveryAddress", "drainDuration"]
    assert (found.discovery_address, found.drain_duration) == (ProxyConfig().discovery_address, None)
    assert told(f"defaultConfig: {{discoveryAddress: '{address}'}}").keys() == {
        "defaultConfig.discoveryAddress"
    }


@pytest.mark.parametrize(
    "address", ["istiod.istio-system.svc:15012", "10.0.0.1:15012", "[::1]:15012", "istiod:15012"]
)
def test_addresses_of_a_control_plane(address: str) -> None:
    assert mesh_config.proxy_config({"discoveryAddress": address})[1] == ()
