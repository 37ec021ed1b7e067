"""What will surprise the author of a pod, in sentences: warnings of the webhook, and of ``lateen kube-inject``."""

from __future__ import annotations

import difflib
import ipaddress
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from lateen.injection import annotations as asked
from lateen.injection.annotations import READINESS, TRAFFIC
from lateen.injection.decide import PROXY
from lateen.injection.template import USER

#: Istio's annotations of pods that nothing here acts on, and what to do instead.
_IDLE: Mapping[str, str] = {
    "sidecar.istio.io/bootstrapOverride": "the bootstrap cannot be replaced",
    "sidecar.istio.io/discoveryAddress": f"use discoveryAddress in {asked.PROXY_CONFIG}",
    "sidecar.istio.io/controlPlaneAuthPolicy": "the control plane is always called by TLS",
    "sidecar.istio.io/enableCoreDump": "",
    "sidecar.istio.io/extraStatTags": "",
    "sidecar.istio.io/proxyImageType": "use sidecar.istio.io/proxyImage",
    "sidecar.istio.io/statsHistogramBuckets": "",
    "sidecar.istio.io/statsFlushInterval": "",
    "sidecar.istio.io/statsEvictionInterval": "",
    "sidecar.istio.io/statsCompression": "",
    f"{READINESS}/applicationPorts": "",
}
#: Those that act, or are written by injectors.
_HEEDED = frozenset({
    "sidecar.istio.io/inject", "sidecar.istio.io/status", "sidecar.istio.io/proxyImage", "proxy.istio.io/overrides",
    *(f"sidecar.istio.io/statsInclusion{it}" for it in ("Prefixes", "Suffixes", "Regexps")), *asked.RULES,
})  # fmt: skip
#: Domains in which a name that nobody knows is a mistake.
_DOMAINS = (
    "sidecar.istio.io/", "proxy.istio.io/", "inject.istio.io/", "prometheus.istio.io/", "status.sidecar.istio.io/",
    f"{READINESS}/", f"{TRAFFIC}/",
)  # fmt: skip
_LONGEST_NAME = 64
#: Of a sort.
_MOST = 20


def advice(pod: Mapping[str, Any]) -> Iterator[str]:
    """About a pod that ``inject`` took, as its author wrote it."""
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    for some in (_of_users(spec), _of_annotations(annotations), _of_ranges(annotations)):
        yield from itertools.islice(some, _MOST)
    for it in asked.findings(annotations)[:_MOST]:
        yield f"annotation {asked.PROXY_CONFIG}: {it.path}: {it.message}"


def _of_users(spec: Mapping[str, Any]) -> Iterator[str]:
    shared = (spec.get("securityContext") or {}).get("runAsUser")
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    users = {it.get("name"): (it.get("securityContext") or {}).get("runAsUser") for it in containers}
    proxys = users.get(PROXY) or USER
    for it in spec.get("containers") or ():
        name = it.get("name")
        own = shared if users[name] is None else users[name]
        if own == proxys and name != PROXY:
            yield (f"container {name} runs as user {proxys}, which is the proxy's: its traffic bypasses the "
                   "mesh; choose another runAsUser")  # fmt: skip


def _of_annotations(annotations: Mapping[str, str]) -> Iterator[str]:
    for name in annotations:
        if name in _IDLE:
            more = f": {_IDLE[name]}" if _IDLE[name] else ""
            yield f"annotation {name} has no effect in this release{more}"
        elif name.startswith(_DOMAINS) and name not in _HEEDED:
            near = difflib.get_close_matches(name, _HEEDED, n=1) if len(name) <= _LONGEST_NAME else []
            yield f"annotation {name} is unknown{f': did you mean {near[0]}?' if near else ''}"


def _of_ranges(annotations: Mapping[str, str]) -> Iterator[str]:
    for name in (f"{TRAFFIC}/includeOutboundIPRanges", f"{TRAFFIC}/excludeOutboundIPRanges"):
        for it in str(annotations.get(name, "")).split(","):
            if ":" in it and ipaddress.ip_network(it.strip(), strict=False).version == 6:
                yield f"annotation {name}: {it.strip()} has no effect: IPv6 is not captured"
