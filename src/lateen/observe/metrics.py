"""What does the control plane count? Its own metrics, under the names that Istio's dashboards ask for where they exist."""

from __future__ import annotations

import re

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from lateen import __version__

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SIZES = (1, 1e4, 1e6, 4e6, 1e7, 4e7)

BUILD = Gauge("istio_build", "Version of the component.", ["component", "tag"])
BUILD.labels("pilot", __version__).set(1)
INFO = Gauge("pilot_info", "Version of the control plane.", ["version"])
INFO.labels(__version__).set(1)

CONNECTED = Gauge("pilot_xds", "Number of endpoints connected to this pilot using XDS.", ["version"])
PUSHES = Counter("pilot_xds_pushes", "Answers sent to proxies, by type.", ["type"])
REJECTS = Counter("pilot_total_xds_rejects", "Answers that a proxy refused.", ["type"])
INTERNAL_ERRORS = Counter("pilot_total_xds_internal_errors", "Streams or views that failed: a bug.")
TURNED_AWAY = Counter("lateen_proxies_turned_away", "Streams that were refused, by gRPC status.", ["status"])
SIZE = Histogram("pilot_xds_config_size_bytes", "Bytes of one answer.", ["type"], buckets=_SIZES)
CONVERGENCE = Histogram(
    "pilot_proxy_convergence_time", "Seconds from a change to the moment a proxy was told.",
    buckets=(0.1, 0.5, 1, 3, 5, 10, 20, 30),
)  # fmt: skip
SERVICES = Gauge("pilot_services", "Services known.")
KUBERNETES_EVENTS = Counter("pilot_k8s_cfg_events", "Changes heard from Kubernetes.", ["type", "event"])
PROBLEMS = Gauge("lateen_objects_left_out", "Objects that are wrong, and not in force as written.", ["kind"])
UNREADABLE = Gauge("lateen_kinds_unreadable", "Kinds that Kubernetes does not let us list.", ["kind"])
APPLY_SECONDS = Histogram("lateen_apply_seconds", "Time to take one batch of changes in.", buckets=_QUICK)
VIEW_SECONDS = Histogram("lateen_view_seconds", "Time to bring one view up to date.", buckets=_QUICK)
VIEW_FAILURES = Counter("lateen_view_failures", "Views that could not be computed: a bug.")

#: Istio's counters whose names do not end in ``_total``, as its dashboards and alerts spell them.
_PLAIN = (
    "pilot_xds_pushes", "pilot_total_xds_rejects", "pilot_total_xds_internal_errors", "pilot_k8s_cfg_events",
    "citadel_server_csr_count", "citadel_server_success_cert_issuance_count",
    "citadel_server_authentication_failure_count", "citadel_server_csr_parsing_err_count",
    "citadel_server_csr_sign_err_count", "galley_validation_passed", "galley_validation_failed",
)  # fmt: skip
_SUFFIXED = re.compile(rf"^((?:# (?:HELP|TYPE) )?(?:{'|'.join(_PLAIN)}))_total\b".encode(), re.MULTILINE)
#: When each counter was made: nobody reads it, and the names would not match their metric.
_CREATED = re.compile(
    rf"^(?:# (?:HELP|TYPE) )?(?:{'|'.join(_PLAIN)})_created\b.*\n".encode(), re.MULTILINE
)  # fmt: skip


def exposed() -> bytes:
    """The page ``/metrics``. The library adds ``_total`` to every counter; Istio's keep the names they are known by."""
    return _SUFFIXED.sub(rb"\1", _CREATED.sub(b"", generate_latest()))
