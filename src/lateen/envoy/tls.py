"""How is a connection secured? TLS contexts, with certificates from files that the agent keeps fresh."""

from __future__ import annotations

from collections.abc import Sequence

from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from lateen.envoy import wellknown
from lateen.envoy.sealing import Message, extension


def _secret(name: str) -> Message:
    source = {
        "path_config_source": {
            "path": wellknown.secret_path(name), "watched_directory": {"path": wellknown.SDS_FOLDER},
        },
        "resource_api_version": "V3",
    }  # fmt: skip
    return {"name": name, "sds_config": source}


def _mesh_context(alpn: Sequence[str], sans: Sequence[tuple[str, str]]) -> Message:
    """The workload's certificate, and peers whose URI matches one of ``sans``: (``exact`` or ``prefix``, text)."""
    return {
        "alpn_protocols": alpn,
        # Envoy's own default for clients ends at TLS 1.2.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [_secret(wellknown.WORKLOAD_SECRET)],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {kind: text}} for kind, text in sans],
            },
            "validation_context_sds_secret_config": _secret(wellknown.ROOT_SECRET),
        },
    }  # fmt: skip


def mesh_server(alpn: Sequence[str], trust_domains: Sequence[str]) -> Message:
    """A server that demands a certificate of one of these trust domains."""
    sans = [("prefix", f"spiffe://{it}/") for it in trust_domains]
    return extension(
        wellknown.TLS_SOCKET,
        tls_pb2.DownstreamTlsContext(
            require_client_certificate={"value": True}, common_tls_context=_mesh_context(alpn, sans)
        ),
    )


def mesh_client(sni: str, identities: Sequence[str], alpn: Sequence[str]) -> Message:
    """A client that shows the workload's certificate and expects one of these identities (any, if none)."""
    sans = [("exact", it) for it in identities]
    return extension(
        wellknown.TLS_SOCKET,
        tls_pb2.UpstreamTlsContext(sni=sni, common_tls_context=_mesh_context(alpn, sans)),
    )


def origin_client(
    sni: str, authority: str, certificate: tuple[str, str] | None, names: Sequence[str], alpn: Sequence[str]
) -> Message:
    """A client of a server outside the mesh: an authority's file (or none), and its own (chain, key), if any."""
    common = tls_pb2.CommonTlsContext(
        alpn_protocols=alpn,
        tls_params={"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
    )
    if authority:
        common.validation_context.trusted_ca.filename = authority
        for name in names:
            common.validation_context.match_typed_subject_alt_names.add(
                san_type="DNS", matcher={"exact": name}
            )
    if certificate:
        common.tls_certificates.add(
            certificate_chain={"filename": certificate[0]}, private_key={"filename": certificate[1]}
        )
    return extension(wellknown.TLS_SOCKET, tls_pb2.UpstreamTlsContext(sni=sni, common_tls_context=common))


def raw() -> Message:
    """No security."""
    return extension(wellknown.RAW_SOCKET, raw_buffer_pb2.RawBuffer())
