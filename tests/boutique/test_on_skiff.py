"""Does the shop run on skiff without a mesh? Its manifests by the real kubectl, a purchase from outside the cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(
    0, str(Path(__file__).parents[1] / "skiff")
)  # for `from cluster import Cluster`: tests are no package

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "online-boutique"

BUY = """
import http.cookiejar, re, sys, urllib.parse, urllib.request

shop, jar = sys.argv[1], http.cookiejar.CookieJar()
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

def send(path, **form):
    with browser.open(shop + path, urllib.parse.urlencode(form).encode() or None, timeout=20) as page:
        return page.read().decode()

assert "/product/6E92ZMYYFZ" in send("/")
send("/cart", product_id="6E92ZMYYFZ", quantity="1")
print(re.search('id="order-id">([^<]+)<', send(
    "/cart/checkout", email="someone@example.com", street_address="1 Harbour Road", zip_code="94043", city="Port",
    state="CA", country="Land", credit_card_number="4432801561520454", credit_card_expiration_month="1",
    credit_card_expiration_year="2039", credit_card_cvv="672"))[1])
"""


def is_ready(pod: dict[str, Any]) -> bool:
    return any(it["type"] == "Ready" and it["status"] == "True" for it in pod["status"].get("conditions", ()))


@pytest.mark.root
def test_twelve_workloads_run_and_sell_at_the_load_balancers_address() -> None:
    from cluster import Cluster

    with Cluster() as cluster:
        cluster.start()
        cluster.kubectl("apply", "-f", str(EXAMPLES / "release" / "kubernetes-manifests.yaml"))
        cluster.until(
            lambda: len([it for it in cluster.objects("pods") if is_ready(it)]) == 12, "12 pods Ready", 120
        )
        again = cluster.kubectl("apply", "-f", str(EXAMPLES / "kubernetes-manifests.yaml")).stdout
        assert all(line.endswith("unchanged") for line in again.splitlines())
        (service,) = cluster.objects("service", "frontend-external")
        url = f"http://{service['status']['loadBalancer']['ingress'][0]['ip']}"
        order = cluster.python(BUY, url).stdout.strip()
        assert order in cluster.kubectl("logs", "deployment/emailservice").stdout
        cluster.until(
            lambda: (
                '"all_errors": 0' in cluster.kubectl("logs", "deployment/loadgenerator", "--tail=1").stdout
            ),
            "the customers' first report without an error",
        )
