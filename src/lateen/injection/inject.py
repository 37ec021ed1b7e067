"""What does an injected pod look like? The pod and the template, put together; the same answer for a pod injected twice."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from lateen.envoy.wellknown import AGENT_PORT
from lateen.injection import annotations as asked
from lateen.injection import shape, template
from lateen.injection.decide import PROXY, REVISION, STATUS, injected
from lateen.injection.merge import laid_over
from lateen.injection.owner import owner_of
from lateen.injection.probes import rewritten
from lateen.injection.settings import InjectionSettings
from lateen.injection.template import INIT, USER, Injected
from lateen.names.owners import Owner

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
    about = _about(metadata, spec, settings, namespace, owner or owner_of(metadata))
    about, own, before = _rewritten(about, containers, inits, settings)
    _place(spec, about, own, before, settings)
    _surround(spec, about, settings)
    _mark(labels, annotations, about, settings)
    _note(annotations, spec, about, settings)
    return made


def _mapping(tree: Object, name: str) -> Object:
    """A part that is there from now on: users leave it out, or write null."""
    if tree.get(name) is None:
        tree[name] = {}
    found: Object = tree[name]
    return found


def _about(
    metadata: Object, spec: Object, settings: InjectionSettings, namespace: str, owner: Owner
) -> Injected:
    labels, annotations = metadata["labels"], metadata["annotations"]
    gateway = asked.template(annotations) == asked.GATEWAY
    native = asked.truth(annotations, "sidecar.istio.io/nativeSidecar", default=settings.native_sidecars)
    own = asked.proxy_config(annotations)
    config = _config(settings.proxy_config, own)
    port = _status_port(annotations, own, settings)
    if port and (port != AGENT_PORT or "statusPort" in config):
        config["statusPort"] = port
    grace_s = spec.get("terminationGracePeriodSeconds")
    return Injected(
        namespace, owner, labels, annotations, (), {}, _scraped(annotations, settings), config, port, gateway,
        native and not gateway, _DEFAULT_GRACE_S if grace_s is None else grace_s, _user(spec),
        spec.get("serviceAccountName") or "default",
    )  # fmt: skip


def _status_port(annotations: Object, own: Object, settings: InjectionSettings) -> int:
    """Of the agent, by the nearest who says it; 0 where nobody is to ask it."""
    if said := annotations.get(asked.STATUS_PORT, "").strip():
        return int(said)
    if own.get("statusPort"):
        return int(own["statusPort"])
    if not settings.asked_for_status:
        return 0
    return settings.status_port or int(settings.proxy_config.get("statusPort") or AGENT_PORT)


def _user(spec: Object) -> int:
    """Whose traffic is the proxy's. As in Istio, its group stays out of it: applications may share one.

    Root is not named while the proxy has a group of its own, for which capture looks, too.
    """
    said = _written(spec, PROXY).get("securityContext") or {}
    user, group = said.get("runAsUser"), said.get("runAsGroup")
    return USER if user is None or (user == 0 and group in (None, USER)) else int(user)


def _written(spec: Object, name: str) -> Object:
    """What a user wrote for a container of ours; the proxy's may be in either list."""
    inits = spec.get("initContainers") or []
    found = [*spec["containers"], *inits] if name == PROXY else inits
    return next((it for it in found if it["name"] == name), {})


def _config(mesh: Mapping[str, Any], own: Mapping[str, Any]) -> Object:
    """The pod's own words win; variables of both are kept."""
    variables = {**(mesh.get("proxyMetadata") or {}), **(own.get("proxyMetadata") or {})}
    return {**mesh, **own, **({"proxyMetadata": variables} if variables else {})}


def _rewritten(
    about: Injected, containers: list[Object], inits: list[Object], settings: InjectionSettings
) -> tuple[Injected, list[Object], list[Object]]:
    """The application's containers, asked by way of the agent; its own sidecars among the init containers too."""
    own = [it for it in containers if it["name"] != PROXY]
    mine = (PROXY, INIT) if about.captured else (PROXY,)
    before = [it for it in inits if it["name"] not in mine]
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
    spec: Object, about: Injected, own: list[Object], inits: list[Object], settings: InjectionSettings
) -> None:
    """Native: capture, proxy, then all else, so that the pod's init containers are part of the mesh.

    Otherwise the proxy runs only after all init containers: capture is last, so that these have a network. A held
    application starts after the proxy, which then is the first container.
    """
    made = _laid_over(template.proxy(about, settings), _written(spec, PROXY))
    capture = []
    if about.captured:
        capture = [_laid_over(template.init(about, settings), _written(spec, INIT))]
    if about.native:
        spec["initContainers"], spec["containers"] = [*capture, made, *inits], own
        return
    spec["containers"] = [made, *own] if about.held else [*own, made]
    if inits or capture:
        spec["initContainers"] = [*inits, *capture]


def _laid_over(made: Object, written: Object) -> Object:
    auto = written.get("image") == "auto"
    return laid_over(made, {key: it for key, it in written.items() if key != "image" or not auto})


def _surround(spec: Object, about: Injected, settings: InjectionSettings) -> None:
    held = {it.get("name") for it in spec.get("volumes") or ()}
    added = [it for it in template.volumes(about, settings) if it["name"] not in held]
    spec["volumes"] = [*added, *(spec.get("volumes") or [])]
    secrets = spec.get("imagePullSecrets") or []
    present = {it.get("name") for it in secrets}
    if more := [{"name": name} for name in settings.pull_secrets if name not in present]:
        spec["imagePullSecrets"] = [*secrets, *more]
    if about.gateway:
        spec["securityContext"] = laid_over(
            template.gateway_security(settings), spec.get("securityContext") or {}
        )


def _mark(labels: Object, annotations: Object, about: Injected, settings: InjectionSettings) -> None:
    """Labels and annotations by which the mesh, dashboards and people see that the pod is part of it."""
    workload = _label(about.owner.name)
    name = labels.get("app.kubernetes.io/name") or labels.get("app") or workload
    revision = labels.get("app.kubernetes.io/version") or labels.get("version") or "latest"
    labels.setdefault("service.istio.io/canonical-name", name)
    labels.setdefault("service.istio.io/canonical-revision", revision)
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
        "initContainers": [it["name"] for it in spec.get("initContainers") or () if it["name"] in (PROXY, INIT)] or None,
        "containers": [it["name"] for it in spec["containers"] if it["name"] == PROXY] or None,
        "volumes": [it["name"] for it in template.volumes(about, settings)],
        "imagePullSecrets": list(settings.pull_secrets) or None, "revision": settings.revision,
    }  # fmt: skip
    annotations[STATUS] = json.dumps(status, separators=(",", ":"))


def _label(text: str) -> str:
    """Names may be longer than values of labels."""
    return text[:_LONGEST_LABEL].rstrip("-_.")


def _merges(annotations: Mapping[str, str], settings: InjectionSettings) -> bool:
    """Not where the pod says that nobody is to scrape it: that holds for the proxy, too."""
    wanted = asked.truth(annotations, "prometheus.istio.io/merge-metrics", default=settings.prometheus_merge)
    return wanted and annotations.get("prometheus.io/scrape", "true").lower() in ("true", "t", "1")


def _scraped(annotations: Mapping[str, str], settings: InjectionSettings) -> dict[str, str]:
    """What the application itself wants scraped: the agent merges it."""
    if not _merges(annotations, settings) or annotations.get("prometheus.io/scrape") != "true":
        return {}
    found = {"scrape": "true", "path": annotations.get("prometheus.io/path", "/metrics")}
    return {**found, "port": annotations.get("prometheus.io/port", "80")}
