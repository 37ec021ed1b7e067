"""Rows read from an Envoy config dump."""

from __future__ import annotations

from lateen.cli import envoy_dump as dump
from lateen.cli import envoy_listeners

CONFIG = {
    "configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "static_clusters": [{"cluster": {"name": "prometheus_stats", "type": "STATIC"}}],
            "dynamic_active_clusters": [
                {
                    "cluster": {
                        "name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS",
                        "metadata": {"filter_metadata": {"istio": {"config": "/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews"}}},
                    }
                }
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners": [
                {
                    "active_state": {
                        "listener": {
                            "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
                            "filter_chains": [
                                {
                                    "filter_chain_match": {"destination_port": 9080, "transport_protocol": "tls", "application_protocols": ["istio-http/1.1"]},
                                    "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {"stat_prefix": "x", "cluster": "inbound|9080||"}}],
                                }
                            ],
                        }
                    }
                }
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
            "dynamic_endpoint_configs": [
                {
                    "endpoint_config": {
                        "cluster_name": "outbound|9080||reviews",
                        "endpoints": [{"lb_endpoints": [{"health_status": "HEALTHY", "endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 9080}}}}]}],
                    }
                }
            ],
        },
    ]
}  # fmt: skip


def test_a_cluster_is_shown_with_the_rule_that_shaped_it() -> None:
    static, reviews = sorted(dump.clusters(CONFIG), key=lambda it: it["type"], reverse=True)
    assert dump.cluster_row(reviews) == (
        "reviews.default.svc.cluster.local",
        "9080",
        "v1",
        "outbound",
        "EDS",
        "reviews.default",
    )
    assert dump.cluster_row(static) == ("prometheus_stats", "-", "-", "-", "STATIC", "")
    assert dump.cluster_matches(reviews, fqdn="", port=9080, subset="v1", direction="outbound")
    assert not dump.cluster_matches(reviews, fqdn="", port=9080, subset="v2", direction="")


def test_a_chain_is_shown_with_match_and_destination() -> None:
    [it] = envoy_listeners.listeners(CONFIG)
    assert envoy_listeners.listener_rows(it) == [
        ("0.0.0.0", "15006", "Trans: tls; App: istio-http/1.1; Addr: *:9080", "Cluster: inbound|9080||")
    ]


def test_endpoints_are_listed_by_cluster() -> None:
    assert [row for row, _ in dump.endpoints(CONFIG)] == [
        ("10.0.0.1:9080", "HEALTHY", "", "outbound|9080||reviews")
    ]
