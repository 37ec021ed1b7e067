"""A user who asks the mesh what is wrong, instead of guessing."""

from __future__ import annotations

import json
import re

import pytest

from lateen.demo import steps
from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]

IDLE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-all, namespace: default}
spec: {}
"""

#: The mistakes that people make; each object is right alone, so nothing refuses it.
BROKEN = """
apiVersion: v1
kind: Namespace
metadata: {name: broken}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: broken}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: app, image: busybox, command: [sleep, "100000"], ports: [{name: http, containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: broken}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}, {name: http-more, port: 81, targetPort: htpp}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: broken}
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: first, namespace: broken}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /a}}]
    route: [{destination: {host: weeb}}]
  - match: [{uri: {prefix: /b}}]
    route: [{destination: {host: web, subset: v3, port: {number: 80}}}]
  - match: [{uri: {prefix: /c}}]
    route: [{destination: {host: web, subset: v2, port: {number: 80}}}]
  - route: [{destination: {host: web, port: {number: 8081}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: second, namespace: broken}
spec:
  hosts: [web]
  http: [{route: [{destination: {host: web}}]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: broken}
spec:
  selector: {istio: ingresgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: third, namespace: broken}
spec:
  hosts: [shop.example]
  gateways: [entrence]
  http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
"""

#: (severity, object, field, what is said): with what was meant, where that can be known.
SAID = {
    ("Error", "VirtualService first.broken", "spec.http[0].route[0].destination.host"): "did you mean web?",
    (
        "Error",
        "VirtualService first.broken",
        "spec.http[1].route[0].destination.subset",
    ): "DestinationRule broken/web defines v1, v2",
    (
        "Error",
        "VirtualService first.broken",
        "spec.http[3].route[0].destination.port.number",
    ): "it has 80 (http), 81 (http-more)",
    (
        "Warning",
        "VirtualService first.broken",
        "spec.http[2].route[0].destination.subset",
    ): "selects none of the pods of Service broken/web",
    ("Error", "Service web.broken", "spec.ports[1].targetPort"): "did you mean http?",
    (
        "Warning",
        "VirtualService second.broken",
        "spec.hosts[0]",
    ): "VirtualService broken/first routes web.broken.svc.cluster.local",
    ("Warning", "Gateway entrance.broken", "spec.selector"): "did you mean istio=ingressgateway?",
    ("Error", "VirtualService third.broken", "spec.gateways[0]"): "did you mean entrance?",
}


@pytest.mark.finding("newcomer D.2.2")
@pytest.mark.finding("newcomer D.2.3")
@pytest.mark.finding("newcomer D.2.4")
@pytest.mark.finding("newcomer D.2.12")
@pytest.mark.finding("newcomer D.2.14")
def test_what_leads_nowhere_is_named_by_the_command_line(machine: Machine) -> None:
    path = machine.home / "broken.yaml"
    path.write_text(BROKEN)

    def said() -> dict[tuple[str, ...], str]:
        lines = machine.result("lateen", "problems", "-n", "broken", check=False).stdout.splitlines()[1:]
        rows = [re.split(r" {2,}", it.strip(), maxsplit=3) for it in lines]
        return {tuple(it[:3]): it[3] for it in rows if len(it) == 4}

    try:
        machine.kubectl("apply", "-f", str(path))
        machine.kubectl(
            "wait", "-n", "broken", "--for=condition=Available", "deployment/web", "--timeout=60s"
        )
        steps.until(lambda: said().keys() == SAID.keys(), within_s=30)
        found = said()
        assert {it: words for it, words in SAID.items() if words not in found[it]} == {}
        assert machine.result("lateen", "problems", check=False).returncode == 79
    finally:
        machine.kubectl("delete", "namespace", "broken")
    steps.until(lambda: machine.result("lateen", "problems", check=False).returncode == 0, within_s=30)


@pytest.mark.finding("newcomer D.2.13")
@pytest.mark.finding("mesh M12")
def test_a_policy_without_effect_is_told_at_apply_and_by_the_command_line(machine: Machine) -> None:
    path = machine.home / "idle.yaml"
    path.write_text(IDLE)
    try:
        said = machine.kubectl_result("apply", "-f", str(path)).stderr
        assert "Warning" in said
        assert "no effect" in said
        steps.until(lambda: "deny-all" in machine.lateen("problems"), within_s=20)
        found = json.loads(machine.lateen("problems", "-n", "default", "-o", "json"))
        assert [it["severity"] for it in found if it["name"] == "deny-all"] == ["Warning"]
        assert "deny-all" not in machine.lateen("problems", "-n", "kube-system")
        foot = machine.result("lateen", "proxy-status", "-A").stderr
        assert '"lateen problems" lists them' in foot
    finally:
        machine.kubectl("delete", "-f", str(path))
