"""Whatever bytes come, the answer is a value or one of our own refusals: nothing else may reach the server."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import field_mask_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from lateen.discovery.introduction import StrangerError, proxy
from lateen.envoy import codec
from lateen.envoy.codec import MalformedError
from lateen.pki import messages

words = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=10,
)  # fmt: skip
ids = (
    st.lists(st.sampled_from(["sidecar", "router", "a.b", ".", "", "a", "~", "é"]), max_size=6).map("~".join)
    | words
)


@given(st.binary(max_size=200))
def test_bytes_are_a_request_or_malformed(raw: bytes) -> None:
    for decode in (codec.delta_request, codec.state_request):
        with contextlib.suppress(MalformedError):
            decode(raw)
    for read in (messages.decode_request, messages.decode_response):
        with contextlib.suppress(messages.MalformedError):
            read(raw)


@given(
    ids,
    st.dictionaries(
        st.sampled_from(["LABELS", "SERVICE_ACCOUNT", "CLUSTER_ID", "GENERATOR", "x"]), json_values
    ),
)
def test_a_node_is_a_proxy_or_a_stranger(node_id: str, metadata: dict[str, Any]) -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url="t")
    request.node.id = node_id
    request.node.metadata.update(metadata)
    try:
        asked = codec.delta_request(request.SerializeToString())
        assert asked.node is not None
        found = proxy(asked.node)
    except (MalformedError, StrangerError):
        return
    assert found.pod
    assert found.namespace
    hash(found.labels)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_json_does_not_know_are_refused(number: float) -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url="t")
    request.node.metadata.update({"a": number})
    with pytest.raises(MalformedError, match="node's metadata"):
        codec.delta_request(request.SerializeToString())


@given(st.binary(max_size=3000), st.lists(st.binary(max_size=300), max_size=4))
def test_the_cas_messages_are_those_of_protobuf(csr: bytes, chain: list[bytes]) -> None:
    # A message of the library with the same fields on the wire: repeated text in field 1.
    made = field_mask_pb2.FieldMask()
    made.ParseFromString(messages.encode_response([it.hex().encode() for it in chain]))
    assert [bytes.fromhex(it) for it in made.paths] == chain
    request = wrappers_pb2.BytesValue(value=csr).SerializeToString()
    assert messages.decode_request(request) == (csr, 0)
    assert messages.decode_request(messages.encode_request(csr, 86_400)) == (csr, 86_400)
    assert messages.decode_response(messages.encode_response(chain)) == chain
