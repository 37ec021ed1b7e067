"""Can every rule of a VirtualService be reached? Those behind one that takes all their requests cannot: a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from lateen.api.networking import HTTPMatchRequest, HTTPRoute, L4Route, StringMatch
from lateen.api.validate.finding import Findings, warning


def http(routes: Sequence[HTTPRoute]) -> Findings:
    """Rules and single conditions which an earlier one leaves nothing for."""
    earlier: list[tuple[int, HTTPMatchRequest]] = []
    for index, route in enumerate(routes):
        at = f"spec.http[{index}]"
        if (all_before := next((n for n in range(index) if not routes[n].match), None)) is not None:
            yield warning(
                at, f"is never reached: {_called(routes, all_before)} has no match and takes all requests"
            )
            continue
        covered = [next((n for n, other in earlier if covers(other, match)), None) for match in route.match]
        for number, by in enumerate(covered):
            if by is not None:
                yield warning(
                    f"{at}.match[{number}]",
                    f"is never used: {_called(routes, by)} takes these requests before",
                )
        if covered and None not in covered:
            yield warning(at, "is never reached: earlier rules take all its requests")
        earlier += [(index, match) for match in route.match]


def _called(routes: Sequence[HTTPRoute], index: int) -> str:
    return f'rule "{routes[index].name}"' if routes[index].name else f"spec.http[{index}]"


def covers(one: HTTPMatchRequest, other: HTTPMatchRequest) -> bool:
    """Whether every request that ``other`` takes is taken by ``one``; False when that cannot be seen."""
    if one.ignore_uri_case != other.ignore_uri_case and one.uri is not None:
        return False
    texts = ("uri", "scheme", "method", "authority")
    return (
        all(_implied(getattr(one, name), getattr(other, name)) for name in texts)
        and _all_implied(one.headers, other.headers)
        and _all_implied(one.query_params, other.query_params)
        and one.without_headers.items() <= _frozen(other.without_headers)
        and one.port in (0, other.port)
        and one.source_labels.items() <= other.source_labels.items()
        and one.source_namespace in ("", other.source_namespace)
        and (not one.gateways or (bool(other.gateways) and set(other.gateways) <= set(one.gateways)))
    )


def _frozen(pairs: Mapping[str, StringMatch]) -> set[tuple[str, StringMatch]]:
    return set(pairs.items())


def _all_implied(one: Mapping[str, StringMatch], other: Mapping[str, StringMatch]) -> bool:
    return all(name in other and _implied(match, other[name]) for name, match in one.items())


def _implied(one: StringMatch | None, other: StringMatch | None) -> bool:
    if one is None or one == StringMatch():
        return True
    if other is None:
        return False
    if one.prefix is not None:
        text = other.exact if other.exact is not None else other.prefix
        return text is not None and text.startswith(one.prefix)
    return one == other


def l4(routes: Sequence[L4Route], field: str) -> Findings:
    """The same for TCP and TLS, as far as conditions are equal."""
    seen: list[bytes] = []
    for index, route in enumerate(routes):
        at = f"{field}[{index}]"
        if any(not other.match for other in routes[:index]):
            yield warning(at, "is never reached: an earlier rule has no match and takes all connections")
            continue
        for number, match in enumerate(route.match):
            written = msgspec.json.encode(match)
            if written in seen:
                yield warning(
                    f"{at}.match[{number}]", "is never used: an earlier rule has the same condition"
                )
            seen.append(written)
