"""Pods as authors write them, and settings as an installation gives them."""

from __future__ import annotations

import json
from typing import Any

from lateen.injection.inject import inject
from lateen.injection.settings import InjectionSettings, read
from lateen.install import manifests
from lateen.install.values import installation

Object = dict[str, Any]


def installed(*values: str, profile: str = "default") -> InjectionSettings:
    """Values -> ConfigMaps -> settings, as the control plane reads them."""
    it = installation(profile, values)
    maps = {one["metadata"]["name"]: one["data"] for one in manifests.pilot(it) if one["kind"] == "ConfigMap"}
    suffix = f"-{it.revision}" if it.revision else ""
    return read(maps[f"istio-sidecar-injector{suffix}"], maps[f"istio{suffix}"]).settings


def pod(annotations: Object | None = None, container: Object | None = None, **spec: Any) -> Object:
    return {
        "metadata": {"generateName": "web-", "annotations": annotations or {}, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "shop/web", **(container or {})}], **spec},
    }


def with_proxy(**proxy: Any) -> Object:
    it = pod()
    it["spec"]["containers"].append({"name": "istio-proxy", "image": "auto", **proxy})
    return it


def done(it: Object, *values: str) -> Object:
    return inject(it, installed(*values), namespace="shop")


def named(made: Object, name: str) -> Object:
    (found,) = [
        it
        for it in [*made["spec"].get("initContainers", ()), *made["spec"]["containers"]]
        if it["name"] == name
    ]
    return found


def option(made: Object, name: str) -> str:
    """Of the command line of capture."""
    args = named(made, "istio-init")["args"]
    return args[args.index(name) + 1] if name in args else ""


def environment(made: Object) -> dict[str, str]:
    return {it["name"]: it["value"] for it in named(made, "istio-proxy")["env"] if "value" in it}


def config(made: Object) -> Object:
    return json.loads(environment(made)["PROXY_CONFIG"])
