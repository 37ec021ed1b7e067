"""What does an injected pod look like? The pod and the template, put together; the same answer for a pod injected twice."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import yaml

from lateen.injection import template
from lateen.injection.decide import REVISION, STATUS
from lateen.injection.probes import rewritten
from lateen.injection.settings import InjectionSettings
from lateen.injection.template import PROXY, Injected

Object = dict[str, Any]

TEMPLATES = "inject.istio.io/templates"
_SCRAPE = ("prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path")


def inject(pod: Mapping[str, Any], settings: InjectionSettings, *, namespace: str) -> Object:
    """The pod with its sidecar, or as a gateway when it asks for that template."""
    made: Object = copy.deepcopy(dict(pod))
    metadata = made.setdefault("metadata", {})
    if STATUS in (metadata.get("annotations") or {}):
        return made
    labels, annotations = metadata.setdefault("labels", {}), metadata.setdefault("annotations", {})
    gateway = annotations.get(TEMPLATES, "sidecar") == "gateway"
    spec = made["spec"]
    own = [it for it in spec["containers"] if it["name"] != PROXY]
    probers: Object = {}
    if (
        settings.rewrite_probes
        and annotations.get("sidecar.istio.io/rewriteAppHTTPProbers") != "false"
        and not gateway
    ):
        pairs = [rewritten(it) for it in own]
        own = [it for it, _ in pairs]
        probers = {path: how for _, found in pairs for path, how in found.items()}
    workload, owner = _workload(metadata, namespace)
    about = Injected(
        namespace, workload, owner, labels, annotations, own, probers, _scraped(annotations, settings),
        _proxy_config(annotations, settings),
    )  # fmt: skip
    _place(spec, about, settings, own, gateway=gateway)
    _mark(labels, annotations, spec, settings, workload, gateway=gateway)
    return made


def _place(
    spec: Object, about: Injected, settings: InjectionSettings, own: list[Any], *, gateway: bool
) -> None:
    native = settings.native_sidecars and not gateway
    native = {"true": True, "false": False}.get(
        about.annotations.get("sidecar.istio.io/nativeSidecar", ""), native
    ) and not gateway
    made = template.proxy(about, settings, "router" if gateway else "sidecar", native=native)
    places = [spec["containers"], spec.get("initContainers") or []]
    written = next((it for place in places for it in place if it["name"] == PROXY), None)
    if written is not None:
        made = _merged(made, written)
    inits = [it for it in spec.get("initContainers") or [] if it["name"] not in (PROXY, template.INIT)]
    before = [] if gateway else [template.init(about, settings)]
    if native:
        spec["initContainers"], spec["containers"] = [*before, made, *inits], own
    else:
        # A held application starts after the proxy: then the proxy is the first container.
        first = bool(about.proxy_config.get("holdApplicationUntilProxyStarts")) or not own
        spec["containers"] = [made, *own] if first else [*own, made]
        if before or inits:
            spec["initContainers"] = [*before, *inits]
    held = {it["name"] for it in spec.get("volumes") or ()}
    spec["volumes"] = [
        *(it for it in template.volumes() if it["name"] not in held),
        *(spec.get("volumes") or []),
    ]


def _merged(made: Object, written: Mapping[str, Any]) -> Object:
    """What a user wrote for the proxy's container goes over the template."""
    result = dict(made)
    for key, value in written.items():
        if key == "image" and value == "auto":
            continue
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = {**result[key], **value}
        elif (
            isinstance(value, list)
            and isinstance(result.get(key), list)
            and value
            and isinstance(value[0], dict)
        ):
            named = "mountPath" if key == "volumeMounts" else "containerPort" if key == "ports" else "name"
            theirs = {it.get(named) for it in value}
            result[key] = [*(it for it in result[key] if it.get(named) not in theirs), *value]
        elif value not in (None, [], {}):
            result[key] = value
    return result


def _mark(
    labels: Object,
    annotations: Object,
    spec: Object,
    settings: InjectionSettings,
    workload: str,
    *,
    gateway: bool,
) -> None:
    """Labels and annotations by which the mesh, dashboards and people see that the pod is part of it."""
    name = labels.get("app.kubernetes.io/name") or labels.get("app") or workload
    revision = labels.get("app.kubernetes.io/version") or labels.get("version") or "latest"
    labels.setdefault("service.istio.io/canonical-name", name)
    labels.setdefault("service.istio.io/canonical-revision", revision)
    labels.setdefault("service.istio.io/workload-name", workload)
    labels.setdefault("security.istio.io/tlsMode", "istio")
    labels.setdefault(REVISION, settings.revision)
    main = next((it["name"] for it in spec["containers"] if it["name"] != PROXY), PROXY)
    annotations.setdefault("kubectl.kubernetes.io/default-container", main)
    annotations.setdefault("kubectl.kubernetes.io/default-logs-container", main)
    if settings.prometheus_merge and annotations.get("prometheus.istio.io/merge-metrics") != "false":
        annotations |= dict(zip(_SCRAPE, ("true", "15020", "/stats/prometheus"), strict=True))
    status = {
        "initContainers": [it["name"] for it in spec.get("initContainers") or () if it["name"] in (PROXY, template.INIT)],
        "containers": [it["name"] for it in spec["containers"] if it["name"] == PROXY],
        "volumes": [it["name"] for it in template.volumes()], "revision": settings.revision,
        **({"templates": ["gateway"]} if gateway else {}),
    }  # fmt: skip
    annotations[STATUS] = json.dumps(status, separators=(",", ":"))


def _scraped(annotations: Mapping[str, str], settings: InjectionSettings) -> dict[str, str]:
    """What the application itself wants scraped: the agent merges it."""
    if not settings.prometheus_merge or annotations.get("prometheus.io/scrape") != "true":
        return {}
    found = {"scrape": "true", "path": annotations.get("prometheus.io/path", "/metrics")}
    return {**found, "port": annotations.get("prometheus.io/port", "80")}


def _proxy_config(annotations: Mapping[str, str], settings: InjectionSettings) -> dict[str, Any]:
    try:
        own = yaml.safe_load(annotations.get("proxy.istio.io/config", "")) or {}
    except yaml.YAMLError:
        own = {}
    return {**settings.proxy_config, **(own if isinstance(own, dict) else {})}


def _workload(metadata: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    """(name, owner) of what made the pod: a Deployment is recognised by the hash in its ReplicaSet's name."""
    owner = next((it for it in metadata.get("ownerReferences") or () if it.get("controller")), None)
    labels = metadata.get("labels") or {}
    if owner is None:
        name = metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-")
        return name, f"kubernetes://apis/v1/namespaces/{namespace}/pods/{name}"
    name, kind, version = owner["name"], owner["kind"].lower() + "s", owner["apiVersion"]
    suffix = f"-{labels.get('pod-template-hash')}"
    if kind == "replicasets" and name.endswith(suffix):
        name, kind = name.removesuffix(suffix), "deployments"
    return name, f"kubernetes://apis/{version}/namespaces/{namespace}/{kind}/{name}"
