"""What may webhooks, definitions, requests for certificates and leases be?

Definitions of custom kinds are checked where they are served (``apiserver.custom``); here is what needs no schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.metadata import selector
from skiff.validation.problems import (
    duplicate,
    each,
    entries,
    forbidden,
    invalid,
    listed,
    one_of,
    part,
    required,
    text,
    texts,
)  # fmt: skip

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")


def mutating(obj: Object, _old: Object | None) -> Iterator[Problem]:
    yield from _hooks(obj)
    for where, it in entries(obj, "webhooks", ""):
        again = it.get("reinvocationPolicy")
        yield from one_of(f"{where}.reinvocationPolicy", again, ("IfNeeded", "Never"))


def validating(obj: Object, _old: Object | None) -> Iterator[Problem]:
    yield from _hooks(obj)


def _hooks(obj: Object) -> Iterator[Problem]:
    seen: set[str] = set()
    for where, it in entries(obj, "webhooks", ""):
        name = text(it, "name")
        yield from _qualified_name(f"{where}.name", name)
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        yield from _hook(it, where)


def _qualified_name(path: str, name: str) -> Iterator[Problem]:
    if not name:
        yield required(path)
        return
    wrong = list(names.subdomain(name))
    yield from each(path, name, wrong)
    if not wrong and len(name.split(".")) < 3:
        yield invalid(path, name, "should be a domain with at least three segments separated by dots")


def _hook(it: dict[str, Any], path: str) -> Iterator[Problem]:
    versions = texts(it, "admissionReviewVersions")
    if not versions:
        yield required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1")
    elif not {"v1", "v1beta1"} & set(versions):
        said = "must include at least one of v1, v1beta1"
        yield invalid(f"{path}.admissionReviewVersions", versions, said)
    for index, one in enumerate(versions):
        yield from each(f"{path}.admissionReviewVersions[{index}]", one, names.old_label(one))
        if one in versions[:index][:32]:
            yield invalid(f"{path}.admissionReviewVersions[{index}]", one, "duplicate version")
    effects = it.get("sideEffects")
    yield from one_of(f"{path}.sideEffects", effects, ("None", "NoneOnDryRun"), needed=True)
    yield from one_of(f"{path}.failurePolicy", it.get("failurePolicy"), ("Fail", "Ignore"))
    yield from one_of(f"{path}.matchPolicy", it.get("matchPolicy"), ("Equivalent", "Exact"))
    seconds = it.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        yield invalid(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    for where, rule in entries(it, "rules", path):
        yield from _rule(rule, where)
    for field in ("namespaceSelector", "objectSelector"):
        yield from selector(part(it, field), f"{path}.{field}")
    yield from client(part(it, "clientConfig"), f"{path}.clientConfig")
    seen: set[str] = set()
    for where, condition in entries(it, "matchConditions", path):
        name = text(condition, "name")
        yield from each(f"{where}.name", name, names.qualified(name))
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        if not text(condition, "expression").strip():
            yield required(f"{where}.expression")


def _rule(it: dict[str, Any], path: str) -> Iterator[Problem]:
    for field, single in (
        ("apiGroups", False),
        ("apiVersions", True),
        ("resources", True),
        ("operations", True),
    ):
        values = texts(it, field)
        if not values:
            yield required(f"{path}.{field}")
        if len(values) > 1 and "*" in values and field != "resources":
            said = "if '*' is present, must not specify other " + _words(field)
            yield invalid(f"{path}.{field}", values, said)
        if single and field != "operations":
            yield from (required(f"{path}.{field}[{index}]") for index, one in enumerate(values) if not one)
    for index, one in enumerate(texts(it, "operations")):
        yield from one_of(f"{path}.operations[{index}]", one, _OPERATIONS, needed=True)
    resources = texts(it, "resources")
    if "*/*" in resources and len(resources) > 1:
        said = "if '*/*' is present, must not specify other resources"
        yield invalid(f"{path}.resources", resources, said)
    yield from one_of(f"{path}.scope", it.get("scope"), ("*", "Cluster", "Namespaced"))


def _words(field: str) -> str:
    return {"apiGroups": "API groups", "apiVersions": "API versions", "operations": "operations"}[field]


def client(it: dict[str, Any], path: str) -> Iterator[Problem]:
    """Where a webhook is: a URL, or a Service."""
    url, service = it.get("url"), it.get("service")
    if (url is None) == (not isinstance(service, dict)):
        yield required(path, "exactly one of url or service is required")
    elif isinstance(url, str):
        yield from _url(f"{path}.url", url)
    if isinstance(service, dict):
        for field in ("name", "namespace"):
            if not text(service, field):
                yield required(f"{path}.service.{field}", f"service {field} is required")
        if (place := text(service, "path")) and not place.startswith("/"):
            yield invalid(f"{path}.service.path", place, "must start with a '/'")
        port = service.get("port")
        if port is not None and not 1 <= port <= 65535:
            yield invalid(
                f"{path}.service.port", port, "port is not valid: must be between 1 and 65535, inclusive"
            )


def _url(path: str, url: str) -> Iterator[Problem]:
    form = "; desired format: https://host[/path]"
    try:
        found = urlsplit(url)
        _ = found.port
    except ValueError as wrong:
        yield required(path, f"url must be a valid URL: {wrong}{form}")
        return
    if found.scheme != "https":
        yield invalid(path, found.scheme, f"'https' is the only allowed URL scheme{form}")
    if not found.hostname:
        yield invalid(path, found.hostname or "", f"host must be specified{form}")
    if found.username is not None:
        yield invalid(path, found.username, f"user information is not permitted in the URL{form}")
    if found.fragment:
        yield invalid(path, found.fragment, f"fragments are not permitted in the URL{form}")
    if found.query:
        yield invalid(path, found.query, f"query parameters are not permitted in the URL{form}")


def definition(obj: Object, old: Object | None) -> Iterator[Problem]:
    """A CustomResourceDefinition: its names and versions."""
    spec = part(obj, "spec")
    group = text(spec, "group")
    yield from each("spec.group", group, names.subdomain(group))
    if group and "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    yield from one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"), needed=True)
    called = part(spec, "names")
    for field, needed in (("plural", True), ("singular", True), ("kind", True), ("listKind", False)):
        found = text(called, field)
        if found:
            yield from each(f"spec.names.{field}", found, names.old_label(found.lower()))
        elif needed:
            yield required(f"spec.names.{field}")
    for field in ("shortNames", "categories"):
        for index, it in enumerate(texts(called, field)):
            yield from each(f"spec.names.{field}[{index}]", it, names.old_label(it))
    if text(called, "kind") and called.get("kind") == called.get("listKind"):
        yield invalid("spec.names.listKind", called["listKind"], "kind and listKind may not be the same")
    yield from _versions(spec)
    conversion = part(spec, "conversion")
    sort = text(conversion, "strategy")
    yield from one_of("spec.conversion.strategy", sort, ("None", "Webhook"))
    if sort == "Webhook":
        hook = part(conversion, "webhook")
        yield from client(part(hook, "clientConfig"), "spec.conversion.webhook.clientConfig")
        if not texts(hook, "conversionReviewVersions"):
            yield required("spec.conversion.webhook.conversionReviewVersions")
    elif conversion.get("webhook") is not None:
        yield forbidden("spec.conversion.webhook", "should not be set when strategy is not set to Webhook")
    if old is not None:
        before = part(old, "spec")
        for path in ("group", "scope", "names.kind", "names.plural"):
            yield from _lasting(spec, before, path)


def _lasting(spec: dict[str, Any], before: dict[str, Any], path: str) -> Iterator[Problem]:
    outer, _, inner = path.rpartition(".")
    new, old = (part(it, outer) if outer else it for it in (spec, before))
    if new.get(inner) != old.get(inner):
        yield invalid(f"spec.{path}", new.get(inner), "field is immutable")


def _versions(spec: dict[str, Any]) -> Iterator[Problem]:
    if not listed(spec, "versions"):
        yield required("spec.versions", "must have at least one version")
    seen: set[str] = set()
    for where, it in entries(spec, "versions", "spec"):
        name = text(it, "name")
        yield from each(f"{where}.name", name, names.old_label(name))
        if name in seen:
            yield invalid("spec.versions", name, "must contain unique version names")
        seen.add(name)
        if not isinstance(part(it, "schema").get("openAPIV3Schema"), dict):
            yield required(f"{where}.schema.openAPIV3Schema", "schemas are required")


def lease(obj: Object, _old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    for field, least in (("leaseDurationSeconds", 1), ("leaseTransitions", 0)):
        value = spec.get(field)
        if value is not None and value < least:
            said = "must be greater than 0" if least else "must be greater than or equal to 0"
            yield invalid(f"spec.{field}", value, said)
