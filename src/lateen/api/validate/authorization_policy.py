"""Is this AuthorizationPolicy one that the mesh can honour?"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lateen.api.authorization import Action, AuthorizationPolicy, Condition, Operation, Rule, Source
from lateen.api.validate import shared, texts
from lateen.api.validate.finding import Finding, Findings, check, entry, warning

_DRY_RUN = "istio.io/dry-run"
_TEMPLATE = re.compile(r"\{\*\*?\}")
#: In a path template: variables with names, ``{}``, and stars without braces.
_NOT_IN_TEMPLATE = re.compile(r"\{\w+=\*\*?\}|\{\w*\}|/\*\*?|\*\*?/")
_PLAIN_KEYS = frozenset((
    "source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain", "request.auth.principal",
    "request.auth.audiences", "request.auth.presenter", "connection.sni",
))  # fmt: skip
_MAP_KEYS = ("request.headers", "request.auth.claims", "experimental.envoy.filters.")
_ADDRESS_KEYS = frozenset(("source.ip", "remote.ip", "destination.ip"))
#: Fields which can be told from a connection alone; the others need HTTP.
_OF_CONNECTIONS = (
    "principals", "not_principals", "namespaces", "not_namespaces", "ip_blocks", "not_ip_blocks", "remote_ip_blocks",
    "not_remote_ip_blocks", "service_accounts", "not_service_accounts", "trust_domains", "not_trust_domains",
)  # fmt: skip


def authorization_policy(it: AuthorizationPolicy) -> Findings:
    """``spec`` of an AuthorizationPolicy, and its annotation for trial runs."""
    spec = it.spec
    yield from shared.attachment(spec.selector, spec.target_ref, spec.target_refs)
    yield from _dry_run(it)
    if not spec.rules and spec.action in (Action.DENY, Action.CUSTOM):
        yield Finding(
            "spec.rules",
            f"{spec.action} without rules never matches: add an empty rule {{}} to match all requests",
        )
    if spec.action is Action.CUSTOM and not (spec.provider and spec.provider.name):
        yield Finding(
            "spec.provider.name" if spec.provider else "spec.provider",
            "is required for CUSTOM: name an extension provider of the mesh",
        )
    if spec.provider is not None and spec.action is not Action.CUSTOM:
        yield Finding("spec.provider", f"is for CUSTOM only, not for {spec.action}")
    for index, rule in enumerate(spec.rules):
        at = f"spec.rules[{index}]"
        yield from _rule(rule, at)
        if spec.action is Action.CUSTOM:
            yield from _custom(rule, at)
        if spec.action is Action.DENY and _http_only(rule):
            yield warning(at, "denies all traffic to TCP ports in its scope, because it has only attributes of HTTP: "
                              "name the ports in to.operation.ports")  # fmt: skip


def _dry_run(it: AuthorizationPolicy) -> Findings:
    said = it.metadata.annotations.get(_DRY_RUN)
    if said is None:
        return
    at = entry("metadata.annotations", _DRY_RUN)
    if it.spec.action not in (Action.ALLOW, Action.DENY):
        yield Finding(at, f"is for ALLOW and DENY only, not for {it.spec.action}")
    elif said.lower() not in ("true", "false", "t", "f", "1", "0"):
        yield Finding(at, f'"{said}" is neither true nor false')


def _rule(it: Rule, at: str) -> Findings:
    for index, origin in enumerate(it.from_):
        place = f"{at}.from[{index}].source"
        if origin.source is None or origin.source == Source():
            yield Finding(place, "must not be empty: to match every source leave out from")
        else:
            yield from _source(origin.source, place)
    for index, to in enumerate(it.to):
        place = f"{at}.to[{index}].operation"
        if to.operation is None or to.operation == Operation():
            yield Finding(place, "must not be empty: to match every operation leave out to")
        else:
            yield from _operation(to.operation, place)
    for index, condition in enumerate(it.when):
        yield from _condition(condition, f"{at}.when[{index}]")


def _source(it: Source, at: str) -> Findings:
    lists = {name: getattr(it, name) for name in it.__struct_fields__}
    for name, values in lists.items():
        yield from check(f"{at}.{_camel(name)}", texts.empty_values(values))
    for name in ("ip_blocks", "not_ip_blocks", "remote_ip_blocks", "not_remote_ip_blocks"):
        yield from _each(lists[name], f"{at}.{_camel(name)}", texts.subnet)
    accounts = it.service_accounts or it.not_service_accounts
    if accounts and (it.namespaces or it.not_namespaces or it.principals or it.not_principals):
        yield Finding(at, "Cannot set serviceAccounts with namespaces or principals: both name the caller")
    for name in ("service_accounts", "not_service_accounts"):
        yield from _each(lists[name], f"{at}.{_camel(name)}", _account)


def _account(text: str) -> str:
    return "" if text.count("/") <= 1 and "*" not in text else f'"{text}" is not a name or namespace/name'


def _operation(it: Operation, at: str) -> Findings:
    for name in it.__struct_fields__:
        yield from check(f"{at}.{_camel(name)}", texts.empty_values(getattr(it, name)))
    yield from _each(it.ports, f"{at}.ports", texts.port_text)
    yield from _each(it.not_ports, f"{at}.notPorts", texts.port_text)
    yield from _each(it.paths, f"{at}.paths", _path)
    yield from _each(it.not_paths, f"{at}.notPaths", _path)


def _path(text: str) -> str:
    if _TEMPLATE.search(text) and _NOT_IN_TEMPLATE.search(text):
        return f'"{text}" is not a path template: use {{*}} for one part and {{**}} for any number, without names'
    return ""


def _each(values: Iterable[str], at: str, rule: texts.Rule) -> Findings:
    for index, value in enumerate(values):
        if value:
            yield from check(f"{at}[{index}]", rule(value))


def _condition(it: Condition, at: str) -> Findings:
    if not it.key:
        yield Finding(f"{at}.key", "must not be empty")
        return
    if not it.values and not it.not_values:
        yield Finding(at, f"values or notValues is required for {it.key}")
    yield from check(f"{at}.key", _key(it.key))
    for name, values in (("values", it.values), ("notValues", it.not_values)):
        yield from check(f"{at}.{name}", texts.empty_values(values))
        if it.key in _ADDRESS_KEYS:
            yield from _each(values, f"{at}.{name}", texts.subnet)
        if it.key == "destination.port":
            yield from _each(values, f"{at}.{name}", texts.port_text)


def _key(key: str) -> str:
    if key in _PLAIN_KEYS or key in _ADDRESS_KEYS or key == "destination.port":
        return ""
    if key.startswith(_MAP_KEYS):
        inside = key.partition("[")[2]
        return (
            ""
            if key.endswith("]") and len(inside) > 1
            else f'"{key}" must be of the form {key.partition("[")[0]}[name]'
        )
    return f'unknown attribute "{key}"'


def _custom(it: Rule, at: str) -> Findings:
    """An external authorizer is asked before identities are known."""
    for index, origin in enumerate(it.from_):
        for name in (
            "namespaces",
            "not_namespaces",
            "principals",
            "not_principals",
            "request_principals",
            "not_request_principals",
        ):
            if origin.source is not None and getattr(origin.source, name):
                yield Finding(f"{at}.from[{index}].source.{_camel(name)}", "is not supported with CUSTOM")
    for index, condition in enumerate(it.when):
        if condition.key in ("source.namespace", "source.principal") or condition.key.startswith(
            "request.auth."
        ):
            yield Finding(f"{at}.when[{index}].key", f"{condition.key} is not supported with CUSTOM")


def _http_only(it: Rule) -> bool:
    origins = [one.source for one in it.from_ if one.source]
    operations = [one.operation for one in it.to if one.operation]
    if operations:
        return not any(one.ports or one.not_ports for one in operations)
    return bool(origins) and not any(getattr(one, name) for one in origins for name in _OF_CONNECTIONS)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(it.title() for it in rest)
