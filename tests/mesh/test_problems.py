"""A user who asks the mesh what is wrong, instead of guessing."""

from __future__ import annotations

import json

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
