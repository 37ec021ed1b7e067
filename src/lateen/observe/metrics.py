"""What does the control plane count? Its own metrics, under the names that Istio's dashboards ask for where they exist."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from lateen import __version__

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

BUILD = Gauge("istio_build", "Version of the component.", ["component", "tag"])
BUILD.labels("pilot", __version__).set(1)

CONNECTED = Gauge("pilot_xds", "Number of endpoints connected to this pilot using XDS.", ["version"])
PUSHES = Counter("pilot_xds_pushes", "Answers sent to proxies, by type.", ["type"])
REJECTS = Counter("pilot_total_xds_rejects", "Answers that a proxy refused.", ["type"])
SIZE = Histogram(
    "pilot_xds_config_size_bytes", "Bytes of one answer.", ["type"], buckets=(1e3, 1e4, 1e5, 1e6, 4e6, 1e7)
)
KUBERNETES_EVENTS = Counter("pilot_k8s_cfg_events", "Changes heard from Kubernetes.", ["type", "event"])
PROBLEMS = Gauge("lateen_objects_left_out", "Objects that could not be decoded.", ["kind"])
APPLY_SECONDS = Histogram("lateen_apply_seconds", "Time to take one batch of changes in.", buckets=_QUICK)
VIEW_SECONDS = Histogram("lateen_view_seconds", "Time to bring one view up to date.", buckets=_QUICK)
VIEW_FAILURES = Counter("lateen_view_failures", "Views that could not be computed: a bug.")
