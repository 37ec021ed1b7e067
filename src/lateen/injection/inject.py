"""What does an injected pod look like? The pod and the template, put together; the same answer for a pod injected twice."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lateen.envoy.wellknown import AGENT_PORT
from lateen.injection import annotations as asked
from lateen.injection import shape, template
from lateen.injection.decide import PROXY, REVISION, STATUS, injected
from lateen.injection.owner import Owner, owner_of
from lateen.injection.probes import rewritten
from lateen.injection.settings import InjectionSettings
from lateen.injection.template import INIT, USER, Injected

Object = dict[str, Any]

_SCRAPE = ("prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path")
_LONGEST_LABEL = 63
_DEFAULT_GRACE_S = 30


def inject(
    pod: Mapping[str, Any], settings: InjectionSettings, *, namespace: str, owner: Owner | None = None
) -> Object:
    """The pod with its sidecar, or as a gateway when it asks for that template. InjectionError.

    ``owner`` is the workload of a pod template, which has no owner references yet.
    """
    made: Object = copy.deepcopy(dict(pod))
    if injected(made):
        return made
    shape.check(made)
    metadata, spec = _mapping(made, "metadata"), made["spec"]
    labels, annotations = _mapping(metadata, "labels"), _mapping(metadata, "annotations")
    asked.check(annotations)
    containers, inits = spec["containers"], spec.get("initContainers") or []
    written = next((it for it in [*containers, *inits] if it["name"] == PROXY), None)
    grace_s = spec.get("terminationGracePeriodSeconds")
    about = _about(labels, annotations, settings, namespace, owner or owner_of(metadata), grace_s)
    about, containers, inits = _rewritten(about, containers, inits, settings)
    _place(spec, _merged(template.proxy(about, settings), written or {}), about, containers, inits, settings)
    _surround(spec, annotations, settings)
    _mark(labels, annotations, about, settings)
    _note(annotations, spec, about, settings)
    return made


def advice(pod: Mapping[str, Any]) -> Iterator[str]:
    """What will surprise the author of a pod; told as warnings."""
    spec = pod.get("spec") or {}
    shared = (spec.get("securityContext") or {}).get("runAsUser")
    for it in spec.get("containers") or ():
        own = (it.get("securityContext") or {}).get("runAsUser", shared)
        if own == USER and it.get("name") != PROXY:
            yield (f"container {it.get('name')} runs as user {USER}, which is the proxy's: its traffic bypasses the "
                   "mesh; choose another runAsUser")  # fmt: skip


def _mapping(tree: Object, name: str) -> Object:
    """A part that is there from now on: users leave it out, or write null."""
    if tree.get(name) is None:
        tree[name] = {}
    found: Object = tree[name]
    return found


def _about(
    labels: Object, annotations: Object, settings: InjectionSettings, namespace: str, owner: Owner,
    grace_s: int | None,
) -> Injected:  # fmt: skip
    gateway = annotations.get(asked.TEMPLATES, "sidecar").strip() == "gateway"
    native = asked.truth(annotations, "sidecar.istio.io/nativeSidecar", default=settings.native_sidecars)
    config = _config(settings.proxy_config, asked.proxy_config(annotations))
    port = int(annotations.get(asked.STATUS_PORT) or config.get("statusPort") or AGENT_PORT)
    if port not in (0, AGENT_PORT):
        config["statusPort"] = port
    return Injected(
        namespace, owner, labels, annotations, (), {}, _scraped(annotations, settings), config, port, gateway,
        native and not gateway, _DEFAULT_GRACE_S if grace_s is None else grace_s,
    )  # fmt: skip


def _config(mesh: Mapping[str, Any], own: Mapping[str, Any]) -> Object:
    """The pod's own words win; variables of both are kept."""
    variables = {**(mesh.get("proxyMetadata") or {}), **(own.get("proxyMetadata") or {})}
    return {**mesh, **own, **({"proxyMetadata": variables} if variables else {})}


def _rewritten(
    about: Injected, containers: list[Object], inits: list[Object], settings: InjectionSettings
) -> tuple[Injected, list[Object], list[Object]]:
    """The application's containers, asked by way of the agent; its own sidecars among the init containers too."""
    own = [it for it in containers if it["name"] != PROXY]
    before = [it for it in inits if it["name"] not in (PROXY, INIT)]
    probers: Object = {}
    name = "sidecar.istio.io/rewriteAppHTTPProbers"
    if (
        asked.truth(about.annotations, name, default=settings.rewrite_probes)
        and about.status_port
        and not about.gateway
    ):
        pairs = [rewritten(it, about.status_port) for it in [*own, *before]]
        probers = {path: how for _, found in pairs for path, how in found.items()}
        own, before = [it for it, _ in pairs[: len(own)]], [it for it, _ in pairs[len(own) :]]
    return about._replace(containers=own, probers=probers), own, before


def _place(
    spec: Object,
    made: Object,
    about: Injected,
    own: list[Object],
    inits: list[Object],
    settings: InjectionSettings,
) -> None:
    """Native: capture, proxy, then all else, so that the pod's init containers are part of the mesh.

    Otherwise the proxy runs only after all init containers: capture is last, so that these have a network. A held
    application starts after the proxy, which then is the first container.
    """
    capture = [template.init(about, settings)] if about.captured else []
    if about.native:
        spec["initContainers"], spec["containers"] = [*capture, made, *inits], own
        return
    spec["containers"] = [made, *own] if about.held else [*own, made]
    if inits or capture:
        spec["initContainers"] = [*inits, *capture]


def _surround(spec: Object, annotations: Object, settings: InjectionSettings) -> None:
    held = {it.get("name") for it in spec.get("volumes") or ()}
    added = [it for it in template.volumes(annotations) if it["name"] not in held]
    spec["volumes"] = [*added, *(spec.get("volumes") or [])]
    secrets = spec.get("imagePullSecrets") or []
    present = {it.get("name") for it in secrets}
    if more := [{"name": name} for name in settings.pull_secrets if name not in present]:
        spec["imagePullSecrets"] = [*secrets, *more]


#: By what the items of a list of a container are told apart.
_KEYS = {"volumeMounts": "mountPath", "ports": "containerPort"}


def _merged(made: Object, written: Mapping[str, Any]) -> Object:
    """What a user wrote for the proxy's container goes over the template."""
    result = dict(made)
    for key, value in written.items():
        if key == "image" and value == "auto":
            continue
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = {**result[key], **value}
        elif (
            key in result and isinstance(value, list) and value and all(isinstance(it, dict) for it in value)
        ):
            theirs = {it.get(_KEYS.get(key, "name")) for it in value}
            result[key] = [
                *(it for it in result[key] if it.get(_KEYS.get(key, "name")) not in theirs),
                *value,
            ]
        elif value not in (None, [], {}):
            result[key] = value
    return result


def _mark(labels: Object, annotations: Object, about: Injected, settings: InjectionSettings) -> None:
    """Labels and annotations by which the mesh, dashboards and people see that the pod is part of it."""
    workload = _label(about.owner.name)
    name = labels.get("app.kubernetes.io/name") or labels.get("app") or workload
    revision = labels.get("app.kubernetes.io/version") or labels.get("version") or "latest"
    labels.setdefault("service.istio.io/canonical-name", name)
    labels.setdefault("service.istio.io/canonical-revision", revision)
    labels.setdefault("service.istio.io/workload-name", workload)
    if not about.gateway:  # a gateway's ports speak what its Gateway says
        labels.setdefault("security.istio.io/tlsMode", "istio")
    if settings.network:
        labels.setdefault("topology.istio.io/network", settings.network)
    if about.containers:
        main = about.containers[0]["name"]
        annotations.setdefault("kubectl.kubernetes.io/default-container", main)
        annotations.setdefault("kubectl.kubernetes.io/default-logs-container", main)
    if _merges(annotations, settings) and about.status_port:
        annotations |= dict(zip(_SCRAPE, ("true", str(about.status_port), "/stats/prometheus"), strict=True))
    for key, value in settings.added_annotations.items():
        annotations.setdefault(key, value)


def _note(annotations: Object, spec: Object, about: Injected, settings: InjectionSettings) -> None:
    """What was put in, as tools read it."""
    annotations[REVISION] = settings.revision
    status = {
        "initContainers": [it["name"] for it in spec.get("initContainers") or () if it["name"] in (PROXY, INIT)],
        "containers": [it["name"] for it in spec["containers"] if it["name"] == PROXY],
        "volumes": [it["name"] for it in template.volumes(annotations)],
        "imagePullSecrets": list(settings.pull_secrets) or None, "revision": settings.revision,
        **({"templates": ["gateway"]} if about.gateway else {}),
    }  # fmt: skip
    annotations[STATUS] = json.dumps(status, separators=(",", ":"))


def _label(text: str) -> str:
    """Names may be longer than values of labels."""
    return text[:_LONGEST_LABEL].rstrip("-_.")


def _merges(annotations: Mapping[str, str], settings: InjectionSettings) -> bool:
    return asked.truth(annotations, "prometheus.istio.io/merge-metrics", default=settings.prometheus_merge)


def _scraped(annotations: Mapping[str, str], settings: InjectionSettings) -> dict[str, str]:
    """What the application itself wants scraped: the agent merges it."""
    if not _merges(annotations, settings) or annotations.get("prometheus.io/scrape") != "true":
        return {}
    found = {"scrape": "true", "path": annotations.get("prometheus.io/path", "/metrics")}
    return {**found, "port": annotations.get("prometheus.io/port", "80")}
