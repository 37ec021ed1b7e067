"""What do NetworkPolicies become? The rules as text, and whether the kernel takes them whatever users write."""

from __future__ import annotations

import re
import subprocess
import time
from typing import Any

import pytest

from skiff.api import Object
from skiff.net.policies import EMPTY, World, ruleset

pytestmark = [pytest.mark.finding("issue 7 part 5"), pytest.mark.finding("skiff input 5")]


def pod(address: str, app: str, namespace: str = "a", **spec: Any) -> Object:
    ports = [{"containerPort": 8080, "name": "web"}]
    shape = {"containers": [{"name": "main", "ports": ports}], **spec}
    return {
        "metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
        "spec": shape,
        "status": {"podIP": address},
    }


def policy(namespace: str = "a", name: str = "p", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


NAMESPACES = [{"metadata": {"name": name, "labels": {"team": name}}} for name in "ab"]
PODS = [
    pod("10.0.0.1", "web"),
    pod("10.0.0.2", "db"),
    pod("10.0.1.1", "web", "b"),
    pod("10.9.9.9", "host", hostNetwork=True),
]


def rules(*policies: Object, way: str = "ingress") -> list[str]:
    text = ruleset(policies, World(PODS, NAMESPACES))
    return re.findall(r"\n(ip .*return)", text.partition(f"chain {way} {{")[2].partition("drop")[0])


DB = {"matchLabels": {"app": "db"}}
TO_DB = "ip daddr { 10.0.0.2 }"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [f"{TO_DB} return"]),
        ({"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}, [f"{TO_DB} ip saddr {{ 10.0.0.1 }} return"]),
        ({"from": [{"podSelector": {}}]}, [f"{TO_DB} ip saddr {{ 10.0.0.1, 10.0.0.2 }} return"]),
        ({"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}, [f"{TO_DB} ip saddr {{ 10.0.1.1 }} return"]),
        ({"from": [{"namespaceSelector": {}, "podSelector": DB}]}, [f"{TO_DB} ip saddr {{ 10.0.0.2 }} return"]),
        ({"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}, []),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
         [f"{TO_DB} ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 return"]),
        ({"from": [{"ipBlock": {"cidr": "2001:db8::/32"}}, {"ipBlock": {"cidr": "} drop"}}]}, []),
        ({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 5, "endPort": 9}, {"protocol": "SCTP"}, {"port": "web"}]},
         [f"{TO_DB} {it} return" for it in ("tcp dport 80", "udp dport 53", "tcp dport 5-9", "meta l4proto sctp",
                                            "meta l4proto tcp ip daddr . th dport { 10.0.0.2 . 8080 }")]),
        ({"ports": [{"port": "none"}, {"port": 0}, {"port": 10**9}, {"protocol": "} drop"}]}, []),
    ],
)  # fmt: skip
def test_what_may_come_in(rule: Object, expected: list[str]) -> None:
    assert rules(policy(podSelector=DB, ingress=[rule])) == expected


def test_who_is_closed_and_who_stays_open() -> None:
    text = ruleset([policy(podSelector=DB)], World(PODS, NAMESPACES))
    assert "ip daddr { 10.0.0.2 } jump ingress" in text
    assert "jump egress" not in text
    text = ruleset(
        [policy(egress=[{"ports": [{"port": "web"}], "to": [{"podSelector": DB}]}])], World(PODS, NAMESPACES)
    )
    assert "ip saddr { 10.0.0.1, 10.0.0.2 } jump egress" in text
    assert "10.9.9.9" not in text
    assert "ip daddr . th dport { 10.0.0.2 . 8080 }" in text
    assert (
        ruleset([policy("nowhere")], World(PODS, NAMESPACES)) == ruleset([], World(PODS, NAMESPACES)) == EMPTY
    )


@pytest.mark.root
def test_the_kernel_takes_them() -> None:
    peers = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "1.2.3.4/32"]}}, {"podSelector": {}}]
    ports = [
        {"port": 80},
        {"port": "web"},
        {"port": 1, "endPort": 65535, "protocol": "UDP"},
        {"protocol": "SCTP"},
    ]
    one = policy(
        policyTypes=["Ingress", "Egress"],
        ingress=[{"from": peers, "ports": ports}, {}],
        egress=[{"to": peers, "ports": ports}],
    )
    more = [pod(f"10.2.0.{n}", "web") for n in range(250)]
    text = ruleset([one, policy("b", podSelector=DB)], World([*PODS, *more], NAMESPACES))
    said = subprocess.run(
        ["unshare", "--net", "nft", "-f", "-"],
        input=text * 2 + EMPTY,
        text=True,
        capture_output=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr


def test_a_hundred_policies_for_a_thousand_pods() -> None:
    pods = [pod(f"10.1.{n // 250}.{n % 250}", f"app{n % 50}") for n in range(1000)]
    many = [
        policy(
            name=str(n),
            podSelector={"matchLabels": {"app": f"app{n % 50}"}},
            ingress=[{"from": [{"podSelector": {}}]}],
        )
        for n in range(100)
    ]
    begun = time.process_time()
    text = ruleset(many, World(pods, NAMESPACES))
    assert time.process_time() - begun < 5
    assert len(text.splitlines()) > 100
    assert len(text) < 200_000, "a set of many pods is written once"
