"""May the pod get traffic? When Envoy lives and has once been told what to do, until it is drained."""

from __future__ import annotations

from lateen.agent import admin

#: A dot stands for itself nearly enough, and needs no quoting in a URL.
_PATTERN = (
    "^(server.state|listener_manager.workers_started|(cluster_manager.cds|listener_manager.lds).update_)"
)
_LIVE = 0


class Readiness:
    """Remembers that it was ready: later only draining takes it away, for Envoy itself is on the path of the question."""

    def __init__(self, admin_port: int) -> None:
        self._admin_port = admin_port
        self.ever = False
        self.running = False
        self.draining = False

    async def missing(self) -> str:
        """What stands in the way, in words; nothing when ready."""
        if self.draining:
            return "the proxy is draining"
        if not self.running:
            return "the proxy has no certificate yet, so it is not started"
        if self.ever:
            return ""
        try:
            found = await admin.figures(self._admin_port, _PATTERN)
        except OSError as wrong:
            return f"Envoy does not answer: {wrong or type(wrong).__name__}"
        said = _missing(found)
        self.ever = not said
        return said


def _missing(found: dict[str, int]) -> str:
    """Istio's conditions (pilot-agent's probe of the same name)."""
    for kind, part in (("clusters", "cluster_manager.cds"), ("listeners", "listener_manager.lds")):
        if not found.get(f"{part}.update_success"):
            rejected = found.get(f"{part}.update_rejected", 0)
            return f"config not received from the control plane: no {kind} yet ({rejected} rejected)"
    if not found.get("listener_manager.workers_started"):
        return "Envoy's workers have not started"
    if (state := found.get("server.state", -1)) != _LIVE:
        return f"Envoy is not live: its state is {state}"
    return ""
