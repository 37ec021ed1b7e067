"""Can every rule of a VirtualService be reached? Those behind one that takes all their requests cannot: a warning.

Whether one condition covers another can only be seen pair by pair. So much comparing is done, and no more: with about
two hundred conditions all pairs are looked at; of those that come later only equal ones are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from lateen.api.networking import HTTPMatchRequest, HTTPRoute, L4Route, StringMatch
from lateen.api.validate.finding import Findings, warning

#: Comparisons of single fields for one object.
_MOST_COMPARED = 40_000


class _Earlier:
    """Conditions of earlier rules, and how much comparing is left."""

    def __init__(self) -> None:
        self._left = _MOST_COMPARED
        self._by_text: dict[bytes, int] = {}
        self._all: list[tuple[int, HTTPMatchRequest, int]] = []

    def covering(self, match: HTTPMatchRequest) -> int | None:
        """The first rule that takes all requests of a condition, as far as that is looked at."""
        equal = self._by_text.get(_written(match))
        own = _size(match)
        for index, other, size in self._all:
            if equal is not None and index >= equal:
                break
            self._left -= min(own, size)
            if self._left < 0:
                break
            if covers(other, match):
                return index
        return equal

    def add(self, index: int, match: HTTPMatchRequest) -> None:
        """What only the named parts of a rule is left out of the comparison."""
        self._by_text.setdefault(_written(match), index)
        if self._left > 0:
            self._all.append((index, match, _size(match)))


def _written(it: HTTPMatchRequest) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(it, name="", stat_prefix=""), order="sorted")


def _size(it: HTTPMatchRequest) -> int:
    return (
        1
        + len(it.headers)
        + len(it.query_params)
        + len(it.without_headers)
        + len(it.source_labels)
        + len(it.gateways)
    )


def http(routes: Sequence[HTTPRoute]) -> Findings:
    """Rules and single conditions which an earlier one leaves nothing for."""
    earlier, all_before = _Earlier(), None
    for index, route in enumerate(routes):
        at = f"spec.http[{index}]"
        if all_before is not None:
            yield warning(
                at, f"is never reached: {_called(routes, all_before)} has no match and takes all requests"
            )
            continue
        if not route.match:
            all_before = index
        covered = [earlier.covering(match) for match in route.match]
        for number, by in enumerate(covered):
            if by is not None:
                yield warning(
                    f"{at}.match[{number}]",
                    f"is never used: {_called(routes, by)} takes these requests before",
                )
        if covered and None not in covered:
            yield warning(at, "is never reached: earlier rules take all its requests")
        for match in route.match:
            earlier.add(index, match)


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
        and _contained(one.without_headers, other.without_headers)
        and one.port in (0, other.port)
        and _contained(one.source_labels, other.source_labels)
        and one.source_namespace in ("", other.source_namespace)
        and (not one.gateways or (bool(other.gateways) and set(other.gateways) <= set(one.gateways)))
    )


def _contained(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return len(one) <= len(other) and all(
        name in other and value == other[name] for name, value in one.items()
    )


def _all_implied(one: Mapping[str, StringMatch], other: Mapping[str, StringMatch]) -> bool:
    return len(one) <= len(other) and all(
        name in other and _implied(match, other[name]) for name, match in one.items()
    )


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
    seen: set[bytes] = set()
    all_taken = False
    for index, route in enumerate(routes):
        at = f"{field}[{index}]"
        if all_taken:
            yield warning(at, "is never reached: an earlier rule has no match and takes all connections")
            continue
        all_taken = not route.match
        for number, match in enumerate(route.match):
            written = msgspec.json.encode(match, order="sorted")
            if written in seen:
                yield warning(
                    f"{at}.match[{number}]", "is never used: an earlier rule has the same condition"
                )
            seen.add(written)
