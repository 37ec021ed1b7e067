"""Bounds of one object, well above what people write: whoever may apply an object decides what looking at it costs.

All rules run in time that grows with the size of the object; these bounds keep the size itself, and what an object
becomes once it is compiled, within what every proxy can be sent. Counted on the document, before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.api.networking import VirtualService
from lateen.api.validate.finding import Finding, Findings, entry

#: Entries of any map, and of a list that has maps in it (routes, rules, ports, endpoints).
MOST_ENTRIES = 5_000
#: Entries of a list of texts or numbers (hosts, addresses).
MOST_WORDS = 20_000
#: Values in the whole object.
MOST_VALUES = 100_000
#: Characters of all regular expressions: looking at them takes longest, and Envoy keeps a program for each.
MOST_EXPRESSIONS = 100_000
#: Lists and maps inside one another; Istio's deepest field is at twelve, and EnvoyFilter holds Envoy's own.
DEEPEST = 100
#: Fields of which each entry costs every proxy much more than a line.
_HOLD_EXPRESSIONS = ("regex", "match", "proxyVersion", "proxy_version")
_FEWER = {"spec.subsets": 1_000, "spec.servers": 1_000}
#: A virtual host of Envoy repeats all routes of its VirtualService.
MOST_ROUTES = 50_000


def bounds(document: Mapping[str, Any]) -> Findings:
    """The first bound that an object breaks, if any."""
    rest: list[tuple[Any, str, int]] = [
        (document.get("spec"), "spec", 1),
        (_metadata(document), "metadata", 1),
    ]
    seen = expressions = 0
    while rest:
        it, at, depth = rest.pop()
        if not isinstance(it, Mapping | list):
            continue
        seen += len(it)
        if len(it) > (most := _most(it, at)):
            yield Finding(at, f"has {len(it)} entries: at most {most} are taken; split the object")
            return
        if seen > MOST_VALUES:
            yield Finding("spec", f"has more than {MOST_VALUES} values: split the object")
            return
        expressions += _expressions(it) if isinstance(it, Mapping) else 0
        if expressions > MOST_EXPRESSIONS:
            yield Finding(
                "spec",
                f"has regular expressions of more than {MOST_EXPRESSIONS} characters: split the object",
            )
            return
        if depth > DEEPEST:
            yield Finding(at, f"is nested more than {DEEPEST} deep")
            return
        inside = (
            ((entry(at, str(name)), one) for name, one in it.items())
            if isinstance(it, Mapping)
            else ((f"{at}[{index}]", one) for index, one in enumerate(it))
        )
        rest += ((one, place, depth + 1) for place, one in inside if isinstance(one, Mapping | list))


def _expressions(it: Mapping[Any, Any]) -> int:
    return sum(len(text) for name in _HOLD_EXPRESSIONS if isinstance(text := it.get(name), str))


def _metadata(document: Mapping[str, Any]) -> Any:
    found = document.get("metadata")
    wanted = ("labels", "annotations")
    return {name: found.get(name) for name in wanted} if isinstance(found, Mapping) else None


def _most(it: Any, at: str) -> int:
    plain = isinstance(it, list) and not any(isinstance(one, Mapping | list) for one in it)
    return MOST_WORDS if plain else _FEWER.get(at, MOST_ENTRIES)


def routes(it: VirtualService) -> Findings:
    """Hosts times conditions: what the object becomes in every proxy."""
    conditions = sum(max(1, len(route.match)) for route in it.spec.http)
    made = max(1, len(it.spec.hosts)) * conditions
    if made > MOST_ROUTES:
        yield Finding(
            "spec", f"{len(it.spec.hosts)} hosts with {conditions} conditions of http make {made} routes in every proxy: "
                    f"at most {MOST_ROUTES} are taken; split the object by hosts"
        )  # fmt: skip
