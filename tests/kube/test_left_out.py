"""Whatever a server may leave out or send as null: every field of real objects, one after the other, before all who read.

The objects are what a real API server answers after an installation, with what controllers and kubelets write.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from lateen.api import reading, validate
from lateen.app import control_plane
from lateen.authority import store, tokens
from lateen.cli import connect, control_planes, kube_inject, pods
from lateen.compile.view import view
from lateen.controllers.trust_bundle import TrustBundle
from lateen.controllers.webhooks import WebhookBundles, probe
from lateen.discovery.source import Source
from lateen.incremental import Change
from lateen.injection.advice import advice
from lateen.injection.annotations import InjectionError
from lateen.injection.decide import decide
from lateen.injection.documents import inject_documents
from lateen.injection.inject import inject
from lateen.injection.settings import InjectionSettings
from lateen.install import apply, manifests
from lateen.install.apply import InstallError
from lateen.install.values import installation
from lateen.kube.client import KubeClient, KubeError
from lateen.kube.config import Connection
from lateen.names.keys import ObjectKey, ProxyKey
from lateen.pki.authority import RefusedError
from lateen.registry import endpoints, facts, services, workloads
from lateen.registry.facts import Proxy

pytestmark = pytest.mark.finding("real kubernetes 1")

META = {
    "namespace": "default", "uid": "u", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
    "labels": {"app": "web", "pod-template-hash": "1"}, "annotations": {"a": "b"}, "finalizers": ["x"],
    "managedFields": [{"manager": "m", "operation": "Apply"}],
}  # fmt: skip
OWNER = {"name": "web-1", "kind": "ReplicaSet", "apiVersion": "apps/v1", "uid": "u", "controller": True}
CONTAINER = {
    "name": "app", "image": "x", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
    "readinessProbe": {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}},
    "securityContext": {"runAsUser": 1337}, "env": [{"name": "A", "value": "b"}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}  # fmt: skip
POD_SPEC = {
    "containers": [CONTAINER], "initContainers": [{"name": "istio-proxy", "image": "x", "restartPolicy": "Always"}],
    "serviceAccountName": "web", "nodeName": "n", "securityContext": {"runAsUser": 1}, "volumes": [{"name": "v", "emptyDir": {}}],
    "imagePullSecrets": [{"name": "s"}], "hostNetwork": False, "terminationGracePeriodSeconds": 30,
}  # fmt: skip
READY = [{"type": "Ready", "status": "True", "reason": "r", "message": "m"}]
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {**META, "name": "web-1", "ownerReferences": [OWNER]}, "spec": POD_SPEC,
    "status": {
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": READY,
        "containerStatuses": [{"name": "app", "ready": True, "state": {"running": {}}}],
    },
}  # fmt: skip
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**META, "name": "web"},
    "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": POD_SPEC},
    },
    "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "conditions": READY},
}  # fmt: skip
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {**META, "name": "web"},
    "spec": {
        "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"], "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "http", "nodePort": 30000}],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.7"}]}},
}  # fmt: skip
SLICE = {
    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
    "metadata": {**META, "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
    "endpoints": [{
        "addresses": ["10.0.0.1"], "conditions": {"ready": True, "serving": True, "terminating": False}, "nodeName": "n", "zone": "z",
        "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "default"},
    }],
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}],
}  # fmt: skip
NAMESPACE = {
    "apiVersion": "v1", "kind": "Namespace", "metadata": {**META, "name": "default", "deletionTimestamp": None},
    "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active", "conditions": READY},
}  # fmt: skip
RULES = {"http": [{
    "name": "r", "match": [{"uri": {"prefix": "/"}, "headers": {"h": {"exact": "x"}}}], "timeout": "1s",
    "route": [{"destination": {"host": "web", "subset": "v1", "port": {"number": 80}}, "weight": 100}],
    "retries": {"attempts": 1, "retryOn": "5xx"}, "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 1}}},
}]}  # fmt: skip
ISTIO = [
    {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {**META, "name": "web"},
     "spec": {"hosts": ["web"], "gateways": ["mesh"], "exportTo": ["*"], **RULES}, "status": {"conditions": READY}},
    {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {**META, "name": "web"},
     "spec": {"host": "web", "subsets": [{"name": "v1", "labels": {"app": "web"}}], "exportTo": ["*"],
              "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}, "connectionPool": {"tcp": {"maxConnections": 1}},
                                "outlierDetection": {"consecutive5xxErrors": 1}, "tls": {"mode": "ISTIO_MUTUAL"}}}},
    {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {**META, "name": "web"},
     "spec": {"selector": {"app": "web"}, "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}},
    {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {**META, "name": "web"},
     "spec": {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}},
]  # fmt: skip
CHART = [it for part in manifests.components(installation("default")) for it in part.objects]
CRD = {**next(it for it in CHART if it["kind"] == "CustomResourceDefinition"), "status": {
    "conditions": [{"type": "Established", "status": "True", "reason": "r", "message": "m"}], "storedVersions": ["v1"],
}}  # fmt: skip
del CRD["spec"]  # nobody reads it, and it is long
WEBHOOKS = [it for it in CHART if it["kind"].endswith("WebhookConfiguration")]
MAPS = [it for it in CHART if it["kind"] == "ConfigMap"]
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {**META, "name": store.OWN},
    "type": "istio.io/ca-root",
}
SECRET["data"] = store._made("istio-system", "cluster.local")["data"]
REVIEW = {
    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
    "status": {"authenticated": True, "audiences": ["istio-ca"], "user": {
        "username": "system:serviceaccount:a:b", "uid": "u", "groups": ["g"],
        "extra": {"authentication.kubernetes.io/pod-name": ["p"]},
    }},
}  # fmt: skip


def without(obj: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object, with each of its fields absent, null, and empty. Kind, name and namespace are what every server says."""
    yield obj
    for path in _paths(obj):
        if path in (
            ("apiVersion",),
            ("kind",),
            ("metadata",),
            ("metadata", "name"),
            ("metadata", "namespace"),
        ):
            continue
        for how in ("absent", None, "empty"):
            made = copy.deepcopy(obj)
            place: Any = made
            for step in path[:-1]:
                place = place[step]
            value = place[path[-1]]
            if how == "absent":
                if isinstance(place, list):
                    continue
                del place[path[-1]]
            elif how is None:
                place[path[-1]] = None
            elif isinstance(value, dict | list):
                place[path[-1]] = type(value)()
            else:
                continue
            yield made


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, it in pairs:
        yield (*at, key)
        yield from _paths(it, (*at, key))


def every(*objects: dict[str, Any]) -> Any:
    return [it for one in objects for it in without(one)]


def test_the_control_planes_facts() -> None:
    """Decoding, indexes, the registry and the view of a sidecar and of a gateway."""
    changes: list[Change] = []
    source = Source(KubeClient(Connection("http://unused", None)), changes.extend, namespace="istio-system", config_map="istio")  # fmt: skip
    tables = {
        "Namespace": "namespaces",
        "Service": "services",
        "Pod": "pods",
        "EndpointSlice": "endpointslices",
    }
    world = [NAMESPACE, SERVICE, POD, SLICE, *ISTIO]
    for it in world:
        _table(source, it, tables).on_list([it])
    db = facts.new_database()
    sidecar, router = (
        ProxyKey("sidecar~10.0.0.1~web-1.default~x"),
        ProxyKey("router~10.0.0.1~web-1.default~x"),
    )
    for key, kind in ((sidecar, "sidecar"), (router, "router")):
        changes.append(Change(Proxy, key, Proxy(key, kind, "10.0.0.1", "default", "web-1")))
    db.apply(changes)
    assert view(db, sidecar) != view(db, router)
    for original in world:
        table = _table(source, original, tables)
        for it in without(original):
            changes.clear()
            table.on_event("MODIFIED", copy.deepcopy(it))
            db.apply(changes)
            workloads.described(db, ObjectKey("default", "web-1"))
            for key in services.keys(db):
                services.service(db, key)
                endpoints.endpoints(db, key, "http")
            view(db, sidecar)
            view(db, router)
        bugs = [
            str(one) for found in source.problems.values() for one in found if "could not be read" in str(one)
        ]
        assert not bugs
    for it in every(*MAPS):
        source._maps_listed([it])
        source._map_changed("MODIFIED", it)


def _table(source: Source, obj: dict[str, Any], tables: dict[str, str]) -> Any:
    plural = tables.get(obj["kind"]) or f"{obj['kind'].lower()}s"
    return next(table for (_, name), table in source.tables.items() if name == plural)


@pytest.mark.parametrize("original", ISTIO, ids=lambda it: str(it["kind"]))
def test_validation(original: dict[str, Any]) -> None:
    for it in without(original):
        list(validate.validate(it))


def test_injection() -> None:
    settings = InjectionSettings()
    plain = copy.deepcopy(POD)
    plain["spec"]["initContainers"] = [{"name": "first", "image": "x"}]  # type: ignore[index]
    injected = 0
    for it in every(POD, plain):
        decide(it, "default", settings)
        with suppress(InjectionError):  # a pod without containers is refused in words
            inject(it, settings, namespace="default")
            list(advice(it))
            injected += 1
    assert injected > 100
    for it in every(DEPLOYMENT):
        with suppress(InjectionError):
            list(inject_documents([it, {"kind": "List", "items": None}], settings, lambda *_: None))


def test_waiting_of_an_installation() -> None:
    for it in every(DEPLOYMENT, CRD, NAMESPACE):
        apply._is_ready(it)
        reading.holds(it, "Established")
        apply._why([*apply._trouble(it, "False", failure="ReplicaFailure"), *apply._trouble(it, "True")])
    assert apply._is_ready(DEPLOYMENT)


def test_the_authority() -> None:
    for it in every(SECRET):
        with suppress(RefusedError):
            store.read(it, store.OWN)
    for it in every(REVIEW):
        with suppress(tokens.NotAuthenticatedError):
            tokens.of_status(reading.part(it, "status"))
    for it in every(*MAPS):
        control_plane._trust_domain(it)


@asynccontextmanager
async def answering() -> AsyncIterator[tuple[KubeClient, list[Any]]]:
    """A server that answers whatever it is asked with the one thing in the list, and takes whatever it is given."""
    said: list[Any] = [{}]

    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(text=json.dumps(said[0] if request.method == "GET" else {}))

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with KubeClient(Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", None)) as client:
            yield client, said
    finally:
        await runner.cleanup()


async def told(use: Callable[[], Awaitable[Any]], *kinds: type[Exception]) -> None:
    """It works, or says in words what is wrong."""
    try:
        await use()
    except (connect.CommandError, KubeError, *kinds):
        pass


async def test_the_command_line() -> None:
    async with answering() as (client, said):
        for it in every(POD):
            said[0] = it
            await told(lambda: pods.sidecar_pod(client, "web-1", "default"))
            said[0] = {"items": [it]}
            await told(lambda: pods._nothing(client, "default", "web"))
            await told(lambda: control_planes.asked(client, "default", nothing))
        for it in every(DEPLOYMENT):
            said[0] = it
            await told(lambda: pods.sidecar_pod(client, "deploy/web", "default"))
        for it in every(*MAPS):
            said[0] = it
            await told(lambda: kube_inject._of_cluster(client, "istio-system", ""))
        for it in every(
            {"kind": "PodList", "metadata": {"continue": "", "resourceVersion": "1"}, "items": [POD, None]}
        ):
            said[0] = it
            await told(lambda: client.list("v1", "pods"))


async def nothing(_: control_planes.ControlPlane) -> None:
    """Asks nothing."""


async def test_installing() -> None:
    async with answering() as (client, said):
        [hooks] = [it for it in WEBHOOKS if it["kind"].startswith("Validating")]
        for it in every(hooks):
            said[0] = it
            await apply._kept(client, hooks)
        for it in every(NAMESPACE):
            said[0] = it
            await told(lambda: apply._removed(client, NAMESPACE, "x", lambda *_: None), InstallError)


async def test_the_controllers() -> None:
    async with answering() as (client, _):
        bundles = WebhookBundles(client, lambda: b"root", namespace="istio-system", service="istiod")
        for original in WEBHOOKS:
            key = f"{original['kind'].lower()}s/{reading.name(original)}"
            ears = bundles._ears(key.partition("/")[0])
            for it in without(original):
                ears.on_list([it])
                ears.on_event("MODIFIED", it)
                await bundles._mend(key)
                await told(functools.partial(bundles._insist, key))
                for hook in reading.parts(it, "webhooks"):
                    probe("istio-system", hook)
        trust = TrustBundle(client, lambda: b"root")
        maps = [{**it, "metadata": {**it["metadata"], "namespace": "default"}} for it in MAPS]
        for namespace in without(NAMESPACE):
            trust._namespaces_listed([namespace])
            trust._namespace_changed("MODIFIED", namespace)
        for it in every(*maps):
            trust._maps_listed([it])
            trust._map_changed("MODIFIED", it)
            await trust._mend("default")
