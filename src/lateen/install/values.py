"""What may be chosen at installation? Profiles, and the settings that ``--set`` changes.

The names are those of Istio's operator file and Helm values as far as Lateen honours them, so that habits carry over.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from lateen import __version__
from lateen.api import mesh_config
from lateen.api.lenient import HOLDS
from lateen.api.validate.finding import Finding
from lateen.api.validate.unknown import UNKNOWN
from lateen.injection import values as helm
from lateen.names.problems import Severity

#: The settings every profile starts from. Keys are what ``--set`` names.
DEFAULTS: dict[str, Any] = {
    "hub": "lateen",
    "tag": __version__,
    "revision": "",
    "namespace": "istio-system",
    "meshConfig": {
        "trustDomain": "cluster.local",
        "enableAutoMtls": True,
        "enablePrometheusMerge": True,
        "defaultConfig": {"holdApplicationUntilProxyStarts": False},
    },
    "values": {
        "global": {
            "clusterName": "Kubernetes",
            "meshID": "cluster.local",
            "network": "",
            "logging": {"level": "info"},
            "proxy": {
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"cpu": "2000m", "memory": "1024Mi"},
                },
                "logLevel": "warning",
                "autoInject": "enabled",
            },
        },
        "sidecarInjectorWebhook": {"enableNamespacesByDefault": False, "rewriteAppHTTPProbe": True},
        "pilot": {
            # 1 GiB for two reviews of the worst kind at once, which are bounded, and 1 GiB for about a thousand proxies.
            "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
            "env": {},
            "grpcAddr": "",  # xDS in the clear, for whoever asks: closed
        },
    },
    "components": {"pilot": True, "ingressGateway": True},
}

PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    "minimal": {"components": {"ingressGateway": False}},
    "demo": {
        "meshConfig": {"accessLogFile": "/dev/stdout"},
        "values": {
            "global": {"proxy": {"resources": {"requests": {"cpu": "10m", "memory": "40Mi"}}}},
            "pilot": {"resources": {"requests": {"cpu": "10m", "memory": "100Mi"}}, "grpcAddr": ":15010"},
        },
    },
}


class ValuesError(ValueError):
    """A profile or setting that makes no sense; the message says which and what would."""


@dataclass(frozen=True)
class Installation:
    """Everything an installation is made from."""

    profile: str
    tree: Mapping[str, Any] = field(repr=False)
    #: What has no effect, in sentences.
    told: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        return str(self.tree["namespace"])

    @property
    def revision(self) -> str:
        return str(self.tree["revision"])

    @property
    def mesh_config(self) -> Mapping[str, Any]:
        """As chosen; proxies find this control plane, whatever its revision and namespace."""
        address = f"{self.named('istiod')}.{self.namespace}.svc:15012"
        own = {"rootNamespace": self.namespace, "defaultConfig": {"discoveryAddress": address}}
        return merged(own, self.tree["meshConfig"])

    @property
    def values(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.tree["values"]
        return found

    def named(self, name: str) -> str:
        """Resources of a revision carry its name: ``istiod-canary``."""
        return f"{name}-{self.revision}" if self.revision else name

    def image(self, name: str) -> str:
        """``lateen/pilot:0.1.0``."""
        return f"{self.tree['hub']}/{name}:{self.tree['tag']}"

    def has(self, component: str) -> bool:
        """Whether a component (pilot, ingressGateway) is part of it."""
        return bool(self.tree["components"].get(component))


def installation(profile: str = "default", settings: Iterable[str] = ()) -> Installation:
    """The values of a profile with ``path=value`` settings laid over; raises ValuesError with what would be right.

    ``profile=demo`` among the settings chooses the profile, as istioctl's users write it.
    """
    settings = list(settings)
    chosen = [it.removeprefix("profile=") for it in settings if it.startswith("profile=")]
    profile = chosen[-1] if chosen else profile
    if profile not in PROFILES:
        raise ValuesError(f'unknown profile "{profile}": there are {", ".join(sorted(PROFILES))}')
    tree = merged(DEFAULTS, PROFILES[profile])
    for setting in settings:
        if setting.startswith("profile="):
            continue
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ValuesError(
                f'"{setting}" is not of the form path=value, such as meshConfig.accessLogFile=/dev/stdout'
            )
        _set(tree, path, _scalar(text))
    _unite(tree)
    told = [
        *_checked("meshConfig", mesh_config.read_document(tree["meshConfig"]).problems),
        *_checked("values", helm.read(tree["values"]).told),
    ]
    return Installation(profile, tree, tuple(told))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged, everything else is replaced."""
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        result[key] = (
            merged(result[key], value)
            if isinstance(value, Mapping) and isinstance(result.get(key), dict)
            else value
        )
    return result


def _checked(root: str, found: Iterable[Finding]) -> Iterator[str]:
    """What the control plane would not take, or does not know, is refused before it is written; the rest is told."""
    for it in found:
        if it.severity is Severity.ERROR or it.message.startswith(UNKNOWN):
            raise ValuesError(f"{root}.{it.path}: {it.message.partition(HOLDS)[0]}")
        yield f"{root}.{it.path} {it.message}"


#: Settings that Helm's users know by another name.
_SAME = {
    "hub": ("global", "hub"),
    "tag": ("global", "tag"),
    "namespace": ("global", "istioNamespace"),
    "revision": ("revision",),
}


def _unite(tree: dict[str, Any]) -> None:
    """What is said by its name in Helm's values is said."""
    for name, (*parents, last) in _SAME.items():
        place = tree["values"]
        for it in parents:
            place = place[it]
        if said := place.get(last):
            if tree[name] not in (DEFAULTS[name], said):
                path = ".".join(["values", *parents, last])
                raise ValuesError(
                    f"{name} is {tree[name]!r}, and {path} is {said!r}: they are the same setting"
                )
            tree[name] = said


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    roots = set(DEFAULTS)
    first = parents[0] if parents else last
    if first not in roots:
        raise ValuesError(f'unknown setting "{path}": a path starts with one of {", ".join(sorted(roots))}')
    if first == "components" and parents and (len(parents) > 1 or last not in tree[first]):
        raise ValuesError(
            f'"{path}": the components are {", ".join(sorted(tree[first]))}, each true or false'
        )
    place = tree
    for part in parents:
        nested = place.setdefault(part, {})
        if not isinstance(nested, dict):
            raise ValuesError(f'"{path}": {part} is a value ({nested!r}), not a group of settings')
        place = nested
    if isinstance(place.get(last), dict) and not isinstance(value, dict):
        raise ValuesError(f'"{path}" is a group of settings: {", ".join(sorted(place[last]))}')
    place[last] = value


def _scalar(text: str) -> Any:
    """As YAML; what JSON does not have, such as a date, is a text."""
    try:
        found = yaml.safe_load(text) if text else ""
        json.dumps(found)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        return text
    return found
