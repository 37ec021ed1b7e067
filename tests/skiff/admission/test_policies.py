"""ValidatingAdmissionPolicies and the conditions of webhooks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from skiff.apiserver import context
from skiff.kinds import (
    CONFIG_MAPS,
    NAMESPACES,
    SECRETS,
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
    VALIDATING_WEBHOOKS,
)  # fmt: skip

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = pytest.mark.finding("issue 7 part 5")

RULES = [
    {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE", "DELETE"],
        "resources": ["configmaps"],
    }
]


def policy(
    served: Served, *validations: dict[str, Any], name: str = "p", rules: Any = None, **spec: Any
) -> Any:
    made = {"matchConstraints": {"resourceRules": rules or RULES}, "validations": list(validations), **spec}
    return served.made(VALIDATING_POLICIES, {"metadata": {"name": name}, "spec": made})


def bind(served: Served, *actions: str, name: str = "b", of: str = "p", **spec: Any) -> Any:
    made = {"policyName": of, "validationActions": list(actions or ("Deny",)), **spec}
    return served.made(VALIDATING_POLICY_BINDINGS, {"metadata": {"name": name}, "spec": made})


def config(name: str = "c", labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels or {}}, "data": data}


def test_a_bound_policy_denies(served: Served) -> None:
    policy(served, {"expression": "object.data.size() <= 1"})
    served.made(CONFIG_MAPS, config("free", a="1", b="2"))  # no binding, no policy
    bind(served)
    refused = served.refused(lambda: served.made(CONFIG_MAPS, config(a="1", b="2")))
    message = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: object.data.size() <= 1"
    assert (refused.code, refused.reason) == (422, "Invalid")
    assert refused.message == f'configmaps "c" is forbidden: {message}'
    assert refused.status()["details"]["causes"] == [{"message": message}]
    served.made(CONFIG_MAPS, config(a="1"))
    served.made(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "1", "b": "2"}})


@pytest.mark.parametrize(
    ("validation", "code", "said"),
    [
        ({"expression": "false", "message": "never"}, 422, "denied request: never"),
        ({"expression": "false", "messageExpression": "'no ' + object.metadata.name", "message": "plain"}, 422, "denied request: no c"),
        ({"expression": "false", "messageExpression": "object.nope", "message": "plain"}, 422, "denied request: plain"),
        ({"expression": "false", "reason": "Forbidden"}, 403, "failed expression: false"),
        ({"expression": "object.spec.replicas > 1"}, 422, "expression 'object.spec.replicas > 1' resulted in error: no such key: spec"),
        ({"expression": "request.operation == 'UPDATE'"}, 422, "failed expression"),
        ({"expression": "namespaceObject.metadata.name != 'default'"}, 422, "failed expression"),
        ({"expression": "oldObject != null"}, 422, "failed expression"),
        ({"expression": "request.resource.resource != 'configmaps' || request.userInfo.username == 'x'"}, 422, "failed expression"),
        ({"expression": "variables.big < 1"}, 422, "failed expression"),
        ({"expression": "!variables.list.exists(it, it == 'a')"}, 422, "failed expression"),
        ({"expression": "variables.broken == 1"}, 422, 'composited variable "broken" fails to evaluate: no such key: nope'),
    ],
)  # fmt: skip
def test_validations(served: Served, validation: dict[str, Any], code: int, said: str) -> None:
    variables = [
        {"name": "list", "expression": "object.data.map(key, key)"}, {"name": "big", "expression": "variables.list.size()"},
        {"name": "broken", "expression": "object.nope"},
    ]  # fmt: skip
    policy(served, validation, variables=variables)
    bind(served)
    refused = served.refused(lambda: served.made(CONFIG_MAPS, config(a="1")))
    assert refused.code == code
    assert said in refused.message


def test_updates_and_deletes(served: Served) -> None:
    policy(served, {"expression": "request.operation != 'UPDATE' || object.data == oldObject.data", "message": "data stays"},
           {"expression": "request.operation != 'DELETE' || !has(oldObject.metadata.labels.keep)", "message": "kept"})  # fmt: skip
    bind(served)
    made = served.made(CONFIG_MAPS, config(labels={"keep": "yes"}, a="1"))
    assert (
        "data stays" in served.refused(lambda: served.put(CONFIG_MAPS, {**made, "data": {"a": "2"}})).message
    )
    assert "kept" in served.refused(lambda: served.run(served.delete(CONFIG_MAPS, "default", "c"))).message


def test_warnings_conditions_and_what_failure_means(served: Served) -> None:
    policy(served, {"expression": "object.nope == 1"}, name="p", failurePolicy="Ignore")
    bind(served)
    policy(
        served,
        {"expression": "false", "message": "hm"},
        name="warns",
        matchConditions=[{"name": "named", "expression": "object.metadata.name.startsWith('w')"}],
    )
    bind(served, "Warn", "Audit", name="w", of="warns")
    told: list[str] = []
    token = context.WARNINGS.set(told)
    served.made(CONFIG_MAPS, config("other"))
    served.made(CONFIG_MAPS, config("w1"))
    context.WARNINGS.reset(token)
    assert told == ["Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'w': hm"]
    policy(
        served,
        {"expression": "true"},
        name="broken",
        matchConditions=[{"name": "bad", "expression": "object.nope == 1"}],
    )
    bind(served, name="x", of="broken")
    assert (
        "match condition 'bad' failed: no such key: nope"
        in served.refused(lambda: served.made(CONFIG_MAPS, config("z"))).message
    )


def test_who_is_matched(served: Served) -> None:
    rules = [{**RULES[0], "resourceNames": ["named"]}, {**RULES[0], "resources": ["secrets"]}]
    policy(served, {"expression": "false"}, rules=rules)
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
    bind(
        served, matchResources={"namespaceSelector": selector, "objectSelector": {"matchLabels": {"a": "b"}}}
    )
    served.namespace("other")
    served.made(CONFIG_MAPS, config("free", labels={"a": "b"}))
    served.made(CONFIG_MAPS, config("named"))
    served.made(
        CONFIG_MAPS,
        {**config("named", labels={"a": "b"}), "metadata": {"name": "named", "labels": {"a": "b"}}},
        "other",
    )
    served.run(served.delete(CONFIG_MAPS, "default", "named"))
    served.refused(lambda: served.made(CONFIG_MAPS, config("named", labels={"a": "b"})))
    served.refused(lambda: served.made(SECRETS, {"metadata": {"name": "s", "labels": {"a": "b"}}}))


def test_params(served: Served) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    rules = [{**RULES[0], "resources": ["secrets"]}]
    policy(served, {"expression": "object.data.size() <= int(params.data.most)"}, rules=rules, paramKind=kind)
    bind(served, paramRef={"name": "limits", "parameterNotFoundAction": "Deny"})

    def secret(*keys: str) -> Any:
        return served.made(
            SECRETS, {"metadata": {"name": "s" + "".join(keys)}, "data": dict.fromkeys(keys, "YQ==")}
        )

    assert (
        "no params found for policy binding with `Deny` parameterNotFoundAction"
        in served.refused(lambda: secret("a")).message
    )
    served.made(CONFIG_MAPS, config("limits", most="1"))
    secret("a")
    assert "failed expression" in served.refused(lambda: secret("a", "b")).message
    bind(
        served,
        name="many",
        paramRef={"selector": {"matchLabels": {"role": "limit"}}, "parameterNotFoundAction": "Allow"},
    )
    served.made(CONFIG_MAPS, config("none", labels={"role": "limit"}, most="0"))
    assert "binding 'many'" in served.refused(lambda: secret("c")).message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"validations": [{"expression": "object."}]}, "spec.validations[0].expression: Invalid value: \"object.\": compilation failed"),
        ({"validations": [{"expression": ""}]}, "expression is not specified"), ({"validations": []}, "validations or auditAnnotations must be non-empty"),
        ({"validations": [{"expression": "authorizer.path('/x').check('get').allowed()"}]}, "authorizer is not supported by this server"),
        ({"validations": [{"expression": "true", "reason": "Why"}]}, 'Unsupported value: "Why"'), ({"matchConstraints": {}}, "spec.matchConstraints.resourceRules: Required value"),
        ({"validations": [{"expression": "variables.nope"}]}, "undefined field 'nope'"), ({"variables": [{"name": "a", "expression": "variables.a"}]}, "undefined field 'a'"),
        ({"variables": [{"name": "a-b", "expression": "1"}]}, "not a valid CEL identifier"), ({"matchConditions": [{"name": "a", "expression": "1 +"}]}, "spec.matchConditions[0].expression"),
        ({"validations": [{"expression": "true"}] * 65}, "must have at most 64 items"),
    ],
)  # fmt: skip
def test_policies_that_are_none(served: Served, spec: dict[str, Any], said: str) -> None:
    refused = served.refused(lambda: policy(served, {"expression": "true"}, **spec))
    assert refused.code == 422
    assert said in refused.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"validationActions": []}, "spec.validationActions: Required value"), ({"validationActions": ["Deny", "Warn"]}, "must not contain both Deny and Warn"),
        ({"validationActions": ["Shout"]}, 'Unsupported value: "Shout"'), ({"paramRef": {}}, "one of name or selector must be specified"), ({"policyName": ""}, "spec.policyName: Required value"),
    ],
)  # fmt: skip
def test_bindings_that_are_none(served: Served, spec: dict[str, Any], said: str) -> None:
    made = {"policyName": "p", "validationActions": ["Deny"], **spec}
    refused = served.refused(
        lambda: served.made(VALIDATING_POLICY_BINDINGS, {"metadata": {"name": "b"}, "spec": made})
    )
    assert said in refused.message


def test_policies_are_never_about_policies_and_none_runs_long(served: Served) -> None:
    everything = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]
    double = [
        {"name": "v0", "expression": "object.data.a"},
        *({"name": f"v{n}", "expression": f"variables.v{n - 1} + variables.v{n - 1}"} for n in range(1, 60)),
    ]
    policy(served, {"expression": "variables.v59 != ''"}, rules=everything, variables=double)
    bind(served)
    begun = time.perf_counter()
    assert (
        "actual cost limit exceeded"
        in served.refused(lambda: served.made(CONFIG_MAPS, config(a="x" * 1000))).message
    )
    assert time.perf_counter() - begun < 30
    served.refused(lambda: served.made(NAMESPACES, {"metadata": {"name": "n"}}))
    served.run(served.delete(VALIDATING_POLICY_BINDINGS, "", "b"))
    served.made(CONFIG_MAPS, config(a="x"))


def test_conditions_of_webhooks_are_expressions(served: Served) -> None:
    hook = {"name": "a.example.com", "clientConfig": {"url": "https://127.0.0.1:1"}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "matchConditions": [{"name": "x", "expression": "request.kind.kind +"}]}  # fmt: skip
    refused = served.refused(
        lambda: served.made(VALIDATING_WEBHOOKS, {"metadata": {"name": "h"}, "webhooks": [hook]})
    )
    assert "webhooks[0].matchConditions[0].expression" in refused.message
