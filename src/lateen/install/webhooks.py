"""When does the API server ask the control plane? Injection of pods, validation of Istio's objects.

The selectors are Istio's: the namespace's ``istio-injection`` label wins over ``istio.io/rev``, a pod may opt out with
``sidecar.istio.io/inject: "false"``. The control plane fills in ``caBundle`` (another field manager owns it), so a
second installation does not touch it.

When there is no control plane, validation is passed over (``failurePolicy: Ignore``): an installation that is not
finished must not refuse the world's objects. The control plane makes it ``Fail`` once it is reached
(``lateen.controllers.webhooks``). Injection is ``Fail`` from the start, as Istio's: its selectors choose only pods that
asked for the mesh, and a pod without the sidecar it asked for would speak in the clear, and would stay so.
"""

from __future__ import annotations

from typing import Any

from lateen.injection.decide import INJECT, REVISION, SPARED
from lateen.install.values import Installation

Object = dict[str, Any]

_NAMESPACE = "istio-injection"


def _in(key: str, *values: str) -> Object:
    return {"key": key, "operator": "In", "values": list(values)}


def _not_in(key: str, *values: str) -> Object:
    return {"key": key, "operator": "NotIn", "values": list(values)}


def _absent(key: str) -> Object:
    return {"key": key, "operator": "DoesNotExist"}


def mutating(it: Installation, labels: dict[str, str], service: str) -> list[Object]:
    """MutatingWebhookConfiguration ``istio-sidecar-injector[-<revision>]-<namespace>``."""
    revision = it.revision or "default"
    hooks = [
        ("rev.namespace.", [_in(REVISION, revision), _absent(_NAMESPACE)], [_not_in(INJECT, "false")]),
        (
            "rev.object.",
            [_absent(REVISION), _absent(_NAMESPACE)],
            [_not_in(INJECT, "false"), _in(REVISION, revision)],
        ),
    ]
    if not it.revision:
        hooks += [
            ("namespace.", [_in(_NAMESPACE, "enabled")], [_not_in(INJECT, "false")]),
            (
                "object.",
                [_absent(_NAMESPACE), _absent(REVISION)],
                [_in(INJECT, "true"), _absent(REVISION)],
            ),
        ]
    if it.values["sidecarInjectorWebhook"]["enableNamespacesByDefault"] and not it.revision:
        spared = _not_in("kubernetes.io/metadata.name", *SPARED)
        hooks.append(
            (
                "auto.",
                [_absent(_NAMESPACE), _absent(REVISION), spared],
                [_absent(INJECT), _absent(REVISION)],
            )
        )
    name = it.named("istio-sidecar-injector")
    if it.namespace != "istio-system":
        name += f"-{it.namespace}"
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name, "labels": {**labels, "app": "sidecar-injector"}},
            "webhooks": [_injector(it, service, *hook) for hook in hooks],
        }
    ]


def _injector(
    it: Installation, service: str, prefix: str, namespaces: list[Object], pods: list[Object]
) -> Object:
    return {
        "name": f"{prefix}sidecar-injector.istio.io",
        "clientConfig": {
            "service": {"name": service, "namespace": it.namespace, "path": "/inject", "port": 443}
        },
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        ],
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": pods},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10,
    }


def validating(it: Installation, labels: dict[str, str], service: str) -> list[Object]:
    """ValidatingWebhookConfiguration ``istio-validator[-<revision>]-<namespace>``; Lateen refuses what it cannot honour.

    Its ``failurePolicy`` is for the first installation: later ones leave it as the control plane has set it.
    """
    name = f"{it.named('istio-validator')}-{it.namespace}"
    groups = ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"]
    selector = {"objectSelector": {"matchExpressions": [_in(REVISION, it.revision)]}} if it.revision else {}
    hook: Object = {
        "name": "rev.validation.istio.io",
        "clientConfig": {
            "service": {"name": service, "namespace": it.namespace, "path": "/validate", "port": 443}
        },
        "rules": [
            {
                "apiGroups": groups,
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["*"],
            }
        ],
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10,
        **selector,
    }
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name, "labels": {**labels, "app": "istiod", "istio": "istiod"}},
            "webhooks": [hook],
        }
    ]
