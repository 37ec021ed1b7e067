"""A control plane that starts anew says the same: versions are digests of contents, whatever the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import json, random, sys
from lateen.compile.view import view
from lateen.names.keys import ProxyKey
from lateen.testing.mesh import changed, endpoint_slice, mesh, pod, router, service, sidecar
documents = [
    *(pod(f"p{n}", f"10.0.1.{n}", f"app{n % 7}", version=f"v{n % 3}", ports={"http": 8080}) for n in range(1, 40)),
    *(service(f"app{n}", {"http": 80, "grpc": 7070, "tcp-x": 9000 + n, "any": 7500}, f"10.96.0.{n}") for n in range(7)),
    *(endpoint_slice(f"app{n}", {"http": 80, "grpc": 7070}, *((f"p{m}", f"10.0.1.{m}") for m in range(1, 40) if m % 7 == n))
      for n in range(7)),
    *sys.stdin.read().split("---"),
]
random.Random(int(sys.argv[1])).shuffle(documents)
db = mesh(*documents)
proxies = [sidecar("p1", "10.0.1.1", app="app1"), router("p2", "10.0.1.2", {"app": "app2"}, namespace="default")]
db.apply(proxies)
print(json.dumps([{kind: {name: it.version for name, it in found.items()} for kind, found in view(db, one.key).items()}
                  for one in proxies], sort_keys=True))
"""

RULES = """
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {name: a}
spec: {hosts: [app1, app2], http: [{route: [{destination: {host: app1, subset: v1}, weight: 10}, {destination: {host: app2}, weight: 90}]}]}
---
kind: DestinationRule
apiVersion: networking.istio.io/v1
metadata: {name: b}
spec: {host: app1, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
kind: Gateway
apiVersion: networking.istio.io/v1
metadata: {name: g}
spec: {selector: {app: app2}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
kind: MeshConfig
accessLogFile: /dev/stdout
"""


def versions(seed: int) -> list[dict[str, dict[str, str]]]:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed)], input=RULES, capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )  # fmt: skip
    found: list[dict[str, dict[str, str]]] = json.loads(said.stdout)
    return found


def test_neither_the_process_nor_the_order_of_objects_changes_a_version() -> None:
    first = versions(1)
    assert all(len(resources) > 0 for view in first for resources in view.values())
    assert versions(2) == first
    assert versions(3) == first
