"""Messages put together of parts that are bytes already say the same as messages that protobuf puts together."""

from __future__ import annotations

from envoy.config.route.v3 import route_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from hypothesis import given
from hypothesis import strategies as st

from lateen.envoy import codec, routes
from lateen.envoy.resource import ROUTE, Resource
from lateen.envoy.sealing import embedded, texts

resources = st.lists(
    st.builds(Resource, st.text(max_size=200), st.text(max_size=24), st.binary(max_size=40_000)), max_size=4
)


@given(resources, st.lists(st.text(), max_size=3))
def test_an_answer_says_what_was_sealed(found: list[Resource], removed: list[str]) -> None:
    message = discovery_pb2.DeltaDiscoveryResponse.FromString(
        codec.delta_response(ROUTE, "7", found, removed)
    )
    expected = discovery_pb2.DeltaDiscoveryResponse(
        type_url=ROUTE, nonce="7", removed_resources=removed,
        resources=[
            discovery_pb2.Resource(name=it.name, version=it.version, resource=any_pb2.Any(type_url=ROUTE, value=it.body))
            for it in found
        ],
    )  # fmt: skip
    assert message == expected


@given(st.integers(1, 2**20), st.binary(max_size=300))
def test_a_field_has_the_length_of_its_message(number: int, value: bytes) -> None:
    made = any_pb2.Any.FromString(
        embedded(any_pb2.Any.VALUE_FIELD_NUMBER, value) + embedded(number + 2, b"unknown")
    )
    assert made.value == value


def test_a_configuration_of_parts_is_the_configuration_of_its_hosts() -> None:
    forward = [routes.forward("somewhere"), routes.forward("elsewhere")]
    parts = [
        routes.named_host(name, [name, f"{name}.a"], routes.routes_of_host(forward)) for name in ("x", "y")
    ]
    hosts = [routes.virtual_host(name, [name, f"{name}.a"], forward) for name in ("x", "y")]
    whole = routes.configuration("80", hosts, ignore_port_in_host_matching=True)
    assert route_pb2.RouteConfiguration.FromString(routes.joined("80", parts)) == whole


def test_texts_of_endpoints() -> None:
    assert dict(texts(packed="a|b", tlsMode="istio").items()) == {"packed": "a|b", "tlsMode": "istio"}
