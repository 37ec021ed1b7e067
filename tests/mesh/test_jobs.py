"""A Job whose container ends its sidecar itself, as it had to before Kubernetes knew sidecars."""

from __future__ import annotations

import json

import pytest

from lateen.demo import steps
from lateen.demo.commands import Machine

pytestmark = [pytest.mark.mesh, pytest.mark.root]

ENDS = """
import time, urllib.request as u
for _ in range(120):
    try:
        u.urlopen("http://127.0.0.1:15021/healthz/ready"); break
    except Exception:
        time.sleep(0.5)
u.urlopen(u.Request("http://localhost:%s/quitquitquit", method="POST"))
"""


@pytest.mark.finding("mesh M8")
@pytest.mark.parametrize("port", [15000, 15020])
def test_a_job_that_ends_its_sidecar_is_complete(machine: Machine, port: int) -> None:
    name = f"ends-{port}"
    job = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"annotations": {"sidecar.istio.io/nativeSidecar": "false"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "python:3", "args": ["-c", ENDS % port]}]},
        }},
    }  # fmt: skip
    path = machine.home / f"{name}.json"
    path.write_text(json.dumps(job))
    machine.kubectl("apply", "-f", str(path))
    try:
        steps.until(lambda: bool(_conditions(machine, name)), within_s=120)
        assert "Complete" in _conditions(machine, name)
    finally:
        machine.kubectl("delete", "job", name)


def _conditions(machine: Machine, job: str) -> list[str]:
    (found,) = [it for it in machine.objects("jobs") if it["metadata"]["name"] == job]
    return [it["type"] for it in found["status"].get("conditions", []) if it["status"] == "True"]
