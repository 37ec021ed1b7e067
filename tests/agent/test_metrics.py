"""The page for Prometheus: Istio's names and labels, every family once, and nothing broken by a broken application."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lateen.agent import metrics, scraping, settings
from lateen.agent.metrics import MalformedError
from lateen.names.metrics import Workload

OWN = Workload("cart-v1", "shop", "cart", "v1", "Kubernetes")
PRINCIPAL = "spiffe://cluster.local/ns/shop/sa/cart"


def tags(*, k: str = "d|http|mutual_tls", p: str = "CN=x,description=web-v1|shop|web|v1|Kubernetes", f: str = "-",
         c: str = "200") -> str:  # fmt: skip
    return f'k="{k}",p="{p}",dp="spiffe://cluster.local/ns/shop/sa/web",s="cart.shop.svc.cluster.local|cart|shop",f="{f}",c="{c}"'


ENVOY = f"""# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{{cluster="a"}} 1
# TYPE envoy_istio_requests_total counter
envoy_istio_requests_total{{{tags()}}} 3
envoy_istio_requests_total{{{tags(c="503", f="UH")}}} 1

# TYPE envoy_istio_request_duration_milliseconds histogram
envoy_istio_request_duration_milliseconds_bucket{{{tags()},le="0.5"}} 1
envoy_istio_request_duration_milliseconds_bucket{{{tags()},le="+Inf"}} 3
envoy_istio_request_duration_milliseconds_sum{{{tags()}}} 10.5
envoy_istio_request_duration_milliseconds_count{{{tags()}}} 3
# TYPE envoy_server_live gauge
envoy_server_live{{}} 1
"""


def expanded(text: str) -> str:
    return metrics.written(metrics.expanded(text, OWN, PRINCIPAL)).decode()


def families(text: str) -> dict[str, object]:
    """By another's parser, which is strict about the form."""
    return {it.name: it for it in text_string_to_metric_families(text)}


def test_istios_names_and_labels() -> None:
    page = expanded(ENVOY)
    line = next(
        it
        for it in page.splitlines()
        if it.startswith("istio_requests_total{") and 'response_code="200"' in it
    )
    for label in (
        'reporter="destination"', 'source_workload="web-v1"', 'source_workload_namespace="shop"',
        'source_principal="spiffe://cluster.local/ns/shop/sa/web"', 'destination_workload="cart-v1"',
        f'destination_principal="{PRINCIPAL}"', 'destination_service="cart.shop.svc.cluster.local"',
        'destination_canonical_service="cart"', 'request_protocol="http"', 'connection_security_policy="mutual_tls"',
    ):  # fmt: skip
        assert label in line
    assert line.endswith("} 3")
    assert "envoy_istio" not in page


def test_the_page_is_valid_and_keeps_envoys_own() -> None:
    found = families(expanded(ENVOY))
    assert set(found) == {
        "envoy_cluster_upstream_rq", "istio_requests", "istio_request_duration_milliseconds", "envoy_server_live",
    }  # fmt: skip
    samples = found["istio_request_duration_milliseconds"].samples  # type: ignore[attr-defined]
    assert [(it.name.rpartition("_")[2], it.labels.get("le"), it.value) for it in samples] == [
        ("bucket", "0.5", 1), ("bucket", "+Inf", 3), ("sum", None, 10.5), ("count", None, 3),
    ]  # fmt: skip


def test_series_that_labels_do_not_tell_apart_are_one() -> None:
    # Strangers: one without a certificate, one whose certificate says nothing.
    text = "# TYPE envoy_istio_requests_total counter\n"
    for peer in ("-", "", "CN=other"):
        text += f"envoy_istio_requests_total{{{tags(p=peer)}}} 2\n"
    lines = [it for it in expanded(text).splitlines() if not it.startswith("#")]
    assert len(lines) == 1
    assert lines[0].endswith("} 6")


def test_quotes_survive() -> None:
    page = expanded(
        "# TYPE envoy_istio_requests_total counter\n"
        f"envoy_istio_requests_total{{{tags(f=chr(92) + chr(34) + chr(92) * 2)}}} 1\n"
    )
    found = families(page)["istio_requests"].samples[0]  # type: ignore[attr-defined]
    assert found.labels["response_flags"] == '"\\'


APPLICATION = """# HELP shop_orders_total Orders.
# TYPE shop_orders_total counter
shop_orders_total{item="a,b=\\"c\\"}",} 5 1700000000000
# TYPE shop_size summary
shop_size{quantile="0.5"} NaN
shop_size_sum 1e9
shop_size_count 3
# some remark
untyped_thing 1
# TYPE istio_requests_total counter
istio_requests_total{reporter="forged"} 99
# TYPE shop_orders_total counter
shop_orders_total{item="d"} 6
# EOF
"""


def test_the_applications_families_follow_once_each() -> None:
    page = metrics.written(metrics.expanded(ENVOY, OWN, PRINCIPAL), metrics.families(APPLICATION)).decode()
    kinds = re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)
    assert len(kinds) == len(set(kinds))
    assert "forged" not in page
    assert page.index('shop_orders_total{item="d"} 6') < page.index("# TYPE shop_size")
    assert {"shop_orders", "shop_size", "untyped_thing"} <= set(families(page))


@pytest.mark.parametrize("text", [
    "<html>", "a{b} 1", 'a{b="c} 1', "a", "a one", '1a{b="c"} 1', 'a{b="c"} 1 2 3 4', "a{} }1",
])  # fmt: skip
def test_what_is_no_metric_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(MalformedError):
        metrics.families(f"good 1\n{text}\n")


def test_a_large_page_is_expanded_without_waiting_for_it() -> None:
    lines = ["# TYPE envoy_istio_request_bytes histogram"]
    for peer in range(200):
        packed = tags(p=f"w{peer}|shop|w{peer}|v1|Kubernetes", k="s|grpc|unknown")
        lines += [f'envoy_istio_request_bytes_bucket{{{packed},le="{bound}"}} {bound}' for bound in range(20)]
    page = expanded("\n".join(lines))
    assert page.count("istio_request_bytes_bucket{") == 4000


@pytest.mark.parametrize("patience", ["nan", "inf", "1e300", "-1", "0", "soon", "0.5"])
async def test_the_page_is_there_whatever_patience_is_claimed(patience: str) -> None:
    environment = {
        "POD_NAME": "a", "POD_NAMESPACE": "b", "INSTANCE_IP": "10.0.0.1", "PROXY_CONFIG": '{"proxyAdminPort": 1}',
    }  # fmt: skip
    it = scraping.Scraping(settings.from_environment("sidecar", "", environment))
    page = await it.page({"x-prometheus-scrape-timeout-seconds": patience}, None)
    assert page.status == 200
    assert b'istio_agent_scrape_failures_total{type="envoy"} 1' in page.body
