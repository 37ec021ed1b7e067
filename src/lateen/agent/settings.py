"""What is this agent told? Its environment and the pod's own files, parsed once.

Variables, files and fields are Istio's (``lateen.injection.template`` writes them; so may any other injector).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from lateen import __version__
from lateen.envoy import wellknown
from lateen.names import durations
from lateen.names.identity import Identity
from lateen.names.metrics import Workload

TOKEN = "/var/run/secrets/tokens/istio-token"  # noqa: S105 - a path
ROOTS = "/var/run/secrets/istio/root-cert.pem"
POD_INFO = "/etc/istio/pod"
FOLDER = "/etc/istio/proxy"

SIDECAR, ROUTER = "sidecar", "router"
_META = "ISTIO_META_"
_LINE = re.compile(r'^([^=]+)="((?:[^"\\]|\\.)*)"$', re.MULTILINE)
_ESCAPES = {"n": "\n"}
_INCLUSIONS = ("Prefixes", "Suffixes", "Regexps")


class SettingsError(ValueError):
    """The agent cannot start; the message says which variable is wrong and what is expected."""


class Address(NamedTuple):
    """A host and port as written in one text."""

    host: str
    port: int


class Scrape(NamedTuple):
    """Where the application shows its own metrics."""

    port: int
    path: str


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """The part of Istio's ProxyConfig that an agent acts on. Times are in seconds."""

    discovery: Address
    concurrency: int
    binary: str = ""
    folder: str = FOLDER
    drain_s: int = 45
    termination_drain_s: float = 5.0
    status_port: int = wellknown.AGENT_PORT
    admin_port: int = wellknown.ADMIN_PORT
    #: Patterns of Envoy's StringMatcher, for statistics to keep besides the usual.
    stats: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about one pod."""

    kind: str
    pod: str
    namespace: str
    service_account: str
    address: str
    domain: str
    authority: Address
    proxy: ProxyConfig
    #: For how long certificates are asked for, seconds.
    life_s: int = 24 * 3600
    trust_domain: str = "cluster.local"
    cluster: str = "Kubernetes"
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    probers: Mapping[str, Any] = field(default_factory=dict)
    scrape: Scrape | None = None
    #: How long the kubelet waits between its order to end and killing, seconds.
    grace_s: float = math.inf
    #: It ends after the application (a native sidecar), not together with it.
    native: bool = False
    exit_on_zero_connections: bool = False

    @property
    def node_id(self) -> str:
        return f"{self.kind}~{self.address}~{self.pod}.{self.namespace}~{self.domain}"

    @property
    def identity(self) -> Identity:
        return Identity(self.trust_domain, self.namespace, self.service_account)

    @property
    def workload(self) -> Workload:
        """Who this is in metrics: what the CA writes into its certificate."""
        name = str(self.metadata.get("WORKLOAD_NAME") or self.pod)
        canonical = self._label("service.istio.io/canonical-name", "app.kubernetes.io/name", "app") or name
        revision = self._label("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
        return Workload(name, self.namespace, canonical, revision or "latest", self.cluster)

    def _label(self, *names: str) -> str:
        return next((self.labels[it] for it in names if self.labels.get(it)), "")


def from_environment(
    kind: str, domain: str, said: Mapping[str, str], labels: str = "", annotations: str = ""
) -> Settings:
    """The settings; ``labels`` and ``annotations`` are the texts of the downward API's files. SettingsError."""
    if kind not in (SIDECAR, ROUTER):
        raise SettingsError(f'"proxy {kind}" is unknown: it is "proxy sidecar" or "proxy router"')
    proxy = _proxy_config(kind, _json(said, "PROXY_CONFIG", {}))
    if kept := _patterns(_matcher(pairs(annotations))):
        proxy = replace(proxy, stats=(*proxy.stats, *kept))
    authority = said.get("CA_ADDR", "")
    namespace = _needed(said, "POD_NAMESPACE")
    probers = _json(said, "ISTIO_KUBE_APP_PROBERS", {})
    return Settings(
        kind=kind, pod=_needed(said, "POD_NAME"), namespace=namespace,
        service_account=said.get("SERVICE_ACCOUNT") or "default", address=_needed(said, "INSTANCE_IP"),
        domain=domain or f"{namespace}.svc.cluster.local",
        authority=_address("CA_ADDR", authority) if authority else proxy.discovery, proxy=proxy,
        life_s=round(_seconds("SECRET_TTL", said.get("SECRET_TTL"), 24 * 3600)),
        trust_domain=said.get("TRUST_DOMAIN") or "cluster.local",
        cluster=said.get(f"{_META}CLUSTER_ID") or "Kubernetes", labels=pairs(labels),
        metadata=_metadata(said, pairs(labels), pairs(annotations)),
        probers=probers, scrape=_scrape(said),
        grace_s=_seconds("LATEEN_GRACE_PERIOD", said.get("LATEEN_GRACE_PERIOD"), math.inf),
        native=said.get("ISTIO_NATIVE_SIDECAR") == "true",
        exit_on_zero_connections=said.get("EXIT_ON_ZERO_ACTIVE_CONNECTIONS") == "true",
    )  # fmt: skip


def pairs(text: str) -> dict[str, str]:
    """The lines ``key="value"`` in which the downward API writes labels and annotations."""
    return {
        it[1]: re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), it[2])
        for it in _LINE.finditer(text)
    }


def _needed(said: Mapping[str, str], name: str) -> str:
    if not (value := said.get(name, "")):
        raise SettingsError(f"the variable {name} is missing: the injector sets it from the pod's own fields")
    return value


def _json(said: Mapping[str, str], name: str, default: Any) -> Any:
    try:
        found = json.loads(said.get(name) or "null")
    except ValueError as wrong:
        raise SettingsError(f"the variable {name} is not JSON: {wrong}") from wrong
    if found is not None and not isinstance(found, type(default)):
        raise SettingsError(f"the variable {name} is not a JSON {type(default).__name__}")
    return default if found is None else found


def _address(name: str, text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(
            f'{name} is "{text}": it is of the form host:port, like istiod.istio-system.svc:15012'
        )
    return Address(host.strip("[]"), int(port))


def _seconds(name: str, text: Any, default: float) -> float:
    try:
        return durations.parse(str(text)) / durations.SECOND if text else default
    except ValueError as wrong:
        raise SettingsError(f"{name}: {wrong}") from wrong


def _proxy_config(kind: str, said: Mapping[str, Any]) -> ProxyConfig:
    def seconds(name: str, default: float) -> float:
        return _seconds(f"PROXY_CONFIG: {name}", said.get(name), default)

    def number(name: str, default: int, largest: int = 2**31 - 1) -> int:
        value = default if said.get(name) is None else said[name]
        if isinstance(value, bool) or not str(value).isdecimal() or int(value) > largest:
            raise SettingsError(f"PROXY_CONFIG: {name} is {value!r}: it is a number up to {largest}")
        return int(value)

    address = str(said.get("discoveryAddress") or "istiod.istio-system.svc:15012")
    return ProxyConfig(
        discovery=_address("PROXY_CONFIG: discoveryAddress", address),
        # Istio's default: two threads beside an application; a gateway has the node's cores.
        concurrency=number("concurrency", 2 if kind == SIDECAR else 0),
        binary=str(said.get("binaryPath") or ""), folder=str(said.get("configPath") or FOLDER),
        drain_s=round(seconds("drainDuration", 45)), termination_drain_s=seconds("terminationDrainDuration", 5),
        status_port=number("statusPort", 0, 65535) or wellknown.AGENT_PORT,
        admin_port=number("proxyAdminPort", 0, 65535) or wellknown.ADMIN_PORT,
        stats=_patterns(said.get("proxyStatsMatcher")),
    )  # fmt: skip


def _patterns(matcher: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(matcher, Mapping):
        return ()
    return (
        *({"prefix": str(it)} for it in matcher.get("inclusionPrefixes") or ()),
        *({"suffix": str(it)} for it in matcher.get("inclusionSuffixes") or ()),
        *({"safe_regex": {"regex": str(it)}} for it in matcher.get("inclusionRegexps") or ()),
    )


def _matcher(annotations: Mapping[str, str]) -> dict[str, list[str]]:
    """The older form of ``proxyStatsMatcher``: lists with commas."""
    words = {
        f"inclusion{it}": annotations.get(f"sidecar.istio.io/statsInclusion{it}", "") for it in _INCLUSIONS
    }
    return {name: [it.strip() for it in text.split(",") if it.strip()] for name, text in words.items()}


def _scrape(said: Mapping[str, str]) -> Scrape | None:
    it = _json(said, "ISTIO_PROMETHEUS_ANNOTATIONS", {})
    if str(it.get("scrape")) != "true" or not str(it.get("port", "80")).isdigit():
        return None
    return Scrape(int(it.get("port", 80)), "/" + str(it.get("path") or "/metrics").lstrip("/"))


def _metadata(
    said: Mapping[str, str], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    """Envoy's node metadata: everything in ISTIO_META_ variables, and who the pod is."""
    found: dict[str, Any] = {
        name.removeprefix(_META): value for name, value in said.items() if name.startswith(_META) and value
    }
    if "POD_PORTS" in found:
        found["POD_PORTS"] = _json(said, f"{_META}POD_PORTS", [])
    return {
        "ISTIO_VERSION": __version__, "PROXY_CONFIG": _json(said, "PROXY_CONFIG", {}), **found,
        "NAME": said.get("POD_NAME", ""), "NAMESPACE": said.get("POD_NAMESPACE", ""),
        "SERVICE_ACCOUNT": said.get("SERVICE_ACCOUNT") or "default", "INSTANCE_IPS": said.get("INSTANCE_IP", ""),
        "LABELS": dict(labels), "ANNOTATIONS": dict(annotations),
    }  # fmt: skip
