"""Is this object one that the mesh can honour? Istio's rules, a file for each kind; admission and the registry ask here.

Three questions, each with paths: can it be decoded (``lateen.api.decode``: types, choices, what is required), has it
fields nobody knows (``unknown``), and do its fields make sense together (the file of its kind).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from lateen.api.decode import KINDS, STORED, kind_of
from lateen.api.meta import Fact
from lateen.api.validate.authorization_policy import authorization_policy
from lateen.api.validate.decoding import decoded
from lateen.api.validate.destination_rule import destination_rule
from lateen.api.validate.envoy_filter import envoy_filter
from lateen.api.validate.finding import Finding, Findings, entry, shown
from lateen.api.validate.gateway import gateway
from lateen.api.validate.limits import bounds
from lateen.api.validate.peer_authentication import peer_authentication
from lateen.api.validate.proxy_config import proxy_config
from lateen.api.validate.request_authentication import request_authentication
from lateen.api.validate.service_entry import service_entry
from lateen.api.validate.sidecar import sidecar
from lateen.api.validate.telemetry import telemetry
from lateen.api.validate.traffic_extension import traffic_extension
from lateen.api.validate.unknown import unknown
from lateen.api.validate.virtual_service import virtual_service
from lateen.api.validate.wasm_plugin import wasm_plugin
from lateen.api.validate.workloads import workload_entry, workload_group
from lateen.names.problems import Problem, Severity

#: Errors, and warnings, of one object.
MOST_TOLD = 50
_DRY_RUN = "istio.io/dry-run"

RULES: Mapping[str, Callable[[Any], Findings]] = {
    "AuthorizationPolicy": authorization_policy,
    "DestinationRule": destination_rule,
    "EnvoyFilter": envoy_filter,
    "Gateway": gateway,
    "PeerAuthentication": peer_authentication,
    "ProxyConfig": proxy_config,
    "RequestAuthentication": request_authentication,
    "ServiceEntry": service_entry,
    "Sidecar": sidecar,
    "Telemetry": telemetry,
    "TrafficExtension": traffic_extension,
    "VirtualService": virtual_service,
    "WasmPlugin": wasm_plugin,
    "WorkloadEntry": workload_entry,
    "WorkloadGroup": workload_group,
}


def validate(document: Mapping[str, Any], *, strict: bool = True) -> list[Problem]:
    """What is wrong with an object, and what is worth a warning. Never raises; a kind that is not Istio's is fine.

    ``strict`` is for those who write: a field that nobody knows is an error then, for most are misspelt. An object which
    is there all the same has the meaning of the fields that are known.
    """
    kind = kind_of(document)
    table = KINDS.get(kind) or STORED.get(kind)
    if table is None or table.__name__ not in RULES:
        return []
    if broken := _told(bounds(document), document):
        return broken
    problems, fact = decoded(document)
    taken = tuple(it.path for it in problems)
    severity = Severity.ERROR if strict else Severity.WARNING
    found = chain(
        (it for it in _rules(fact) if not (taken and it.path.startswith(taken))) if fact is not None else (),
        unknown(document, table, severity),
    )
    return [*problems, *_told(found, document)]


def _rules(fact: Fact) -> Findings:
    yield from RULES[type(fact).__name__](fact)
    if _DRY_RUN in fact.metadata.annotations and type(fact).__name__ != "AuthorizationPolicy":
        yield Finding(entry("metadata.annotations", _DRY_RUN), "is for AuthorizationPolicy only: remove it")


def _told(findings: Iterator[Finding], document: Mapping[str, Any]) -> list[Problem]:
    """As many as someone reads: beyond that warnings are left out, and after so many errors the rest is not looked at."""
    metadata = document.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    namespace, name = str(named.get("namespace") or ""), str(named.get("name") or "")
    told: list[Problem] = []
    left = {Severity.ERROR: MOST_TOLD, Severity.WARNING: MOST_TOLD}
    for it in findings:
        if left[it.severity]:
            left[it.severity] -= 1
            told.append(
                Problem(
                    str(document.get("kind")), namespace, name, shown(it.path), shown(it.message), it.severity
                )
            )
            if not left[Severity.ERROR]:
                break
    return told
