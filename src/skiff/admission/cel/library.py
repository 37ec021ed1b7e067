"""Which functions do expressions have? CEL's own, its extensions and those of Kubernetes, in one environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel

from skiff.admission.cel import kubernetes as k8s
from skiff.admission.cel import strings

Type = cel.Type
_S, _I, _B, _D, _ANY = Type.STRING, Type.INT, Type.BOOL, Type.DOUBLE, Type.DYN
_LIST, _STRINGS = Type.List(Type.DYN), Type.List(Type.STRING)
_EXTENSIONS = "extensions:\n  - name: optional\n  - name: two-var-comprehensions\n  - name: sets\n"
_CAPTURES = "extensions:\n  - name: optional\n  - name: regex\n"


@cache
def _finder(one: bool) -> Any:
    inside = cel.NewEnv(config=cel.NewEnvConfigFromYaml(_CAPTURES), variables={"text": _S, "pattern": _S})
    return inside.compile(
        "regex.extract(text, pattern).orValue('')" if one else "regex.extractAll(text, pattern)"
    )


def _found(one: bool, text: str, pattern: str) -> Any:
    said = _finder(one).eval(data={"text": text, "pattern": without_groups(pattern)})
    if said.type() == Type.ERROR:
        raise ValueError(str(said.value()))
    return said.plain_value()


def find(text: str, pattern: str) -> str:
    """The first part that matches, else "". By RE2, whose time no pattern can blow up."""
    found: str = _found(True, text, pattern)
    return found


def find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    """All parts that match, or the first so many."""
    found: list[str] = _found(False, text, pattern) if most else []
    return found if most < 0 else found[:most]


def without_groups(pattern: str) -> str:
    """The same pattern without groups that capture: the library would answer these instead of the whole match."""
    made, at, inside = [], 0, False
    while at < len(pattern):
        it = pattern[at]
        if it == "\\":
            made.append(pattern[at : at + 2])
            at += 2
            continue
        if it == "[" and not inside:
            inside = True
            after = pattern[at + 1 : at + 3]  # a bracket that comes first is one of the characters
            taken = 2 if after[:1] == "]" else 3 if after == "^]" else 1
            made.append(pattern[at : at + taken])
            at += taken
            continue
        inside = inside and it != "]"
        named = pattern.startswith(("(?P<", "(?<"), at)
        if it == "(" and not inside and (named or not pattern.startswith("(?", at)):
            made.append("(?:")
            at = pattern.find(">", at) + 1 if named and ">" in pattern[at:] else at + 1
            continue
        made.append(it)
        at += 1
    return "".join(made)


#: (result, parameters, function) of functions that are called on a value.
_Form = tuple[Any, list[Any], Callable[..., Any]]
_MEMBERS: dict[str, list[_Form]] = {
    "charAt": [(_S, [_S, _I], strings.char_at)],
    "indexOf": [(_I, [_ANY, _ANY], strings.index_of), (_I, [_S, _S, _I], strings.index_of)],
    "lastIndexOf": [(_I, [_ANY, _ANY], strings.last_index_of), (_I, [_S, _S, _I], strings.last_index_of)],
    "lowerAscii": [(_S, [_S], strings.lower_ascii)], "upperAscii": [(_S, [_S], strings.upper_ascii)],
    "trim": [(_S, [_S], strings.trim)], "reverse": [(_S, [_S], strings.reverse)],
    "replace": [(_S, [_S, _S, _S], strings.replace), (_S, [_S, _S, _S, _I], strings.replace)],
    "split": [(_STRINGS, [_S, _S], strings.split), (_STRINGS, [_S, _S, _I], strings.split)],
    "substring": [(_S, [_S, _I], strings.substring), (_S, [_S, _I, _I], strings.substring)],
    "join": [(_S, [_LIST], strings.join), (_S, [_LIST, _S], strings.join)],
    "format": [(_S, [_S, _LIST], strings.format_)],
    "find": [(_S, [_S, _S], find)],
    "findAll": [(_STRINGS, [_S, _S], find_all),
                (_STRINGS, [_S, _S, _I], find_all)],
    "isSorted": [(_B, [_LIST], k8s.is_sorted)], "sum": [(_ANY, [_LIST], k8s.sum_)], "min": [(_ANY, [_LIST], k8s.min_)],
    "max": [(_ANY, [_LIST], k8s.max_)],
    "sign": [(_I, [_ANY], k8s.sign)], "isInteger": [(_B, [_ANY], k8s.is_integer)], "asInteger": [(_I, [_ANY], k8s.as_integer)],
    "asApproximateFloat": [(_D, [_ANY], k8s.as_float)],
    "add": [(_ANY, [_ANY, _ANY], k8s.add)], "sub": [(_ANY, [_ANY, _ANY], k8s.sub)],
    "compareTo": [(_I, [_ANY, _ANY], k8s.compare)], "isLessThan": [(_B, [_ANY, _ANY], k8s.is_less_than)],
    "isGreaterThan": [(_B, [_ANY, _ANY], k8s.is_greater_than)],
    "family": [(_I, [_ANY], k8s.family)], "isUnspecified": [(_B, [_ANY], k8s.is_unspecified)],
    "isLoopback": [(_B, [_ANY], k8s.is_loopback)], "isLinkLocalMulticast": [(_B, [_ANY], k8s.is_link_local_multicast)],
    "isLinkLocalUnicast": [(_B, [_ANY], k8s.is_link_local_unicast)], "isGlobalUnicast": [(_B, [_ANY], k8s.is_global_unicast)],
    "containsIP": [(_B, [_ANY, _ANY], k8s.contains_ip)], "containsCIDR": [(_B, [_ANY, _ANY], k8s.contains_cidr)],
    "prefixLength": [(_I, [_ANY], k8s.prefix_length)], "masked": [(_ANY, [_ANY], k8s.masked)], "ip": [(_ANY, [_ANY], k8s.ip)],
    "getScheme": [(_S, [_ANY], k8s.get_scheme)], "getHost": [(_S, [_ANY], k8s.get_host)],
    "getHostname": [(_S, [_ANY], k8s.get_hostname)], "getPort": [(_S, [_ANY], k8s.get_port)],
    "getEscapedPath": [(_S, [_ANY], k8s.get_escaped_path)], "getQuery": [(Type.Map(_S, _STRINGS), [_ANY], k8s.get_query)],
    "major": [(_I, [_ANY], k8s.major)], "minor": [(_I, [_ANY], k8s.minor)], "patch": [(_I, [_ANY], k8s.patch)],
}  # fmt: skip
#: The same of functions that stand alone.
_FUNCTIONS: dict[str, list[_Form]] = {
    "strings.quote": [(_S, [_S], strings.quote)],
    "quantity": [(_ANY, [_S], k8s.quantity)], "isQuantity": [(_B, [_S], k8s.is_quantity)],
    "ip": [(_ANY, [_S], k8s.ip)], "isIP": [(_B, [_S], k8s.is_ip)], "ip.isCanonical": [(_B, [_S], k8s.is_canonical)],
    "cidr": [(_ANY, [_S], k8s.cidr)], "isCIDR": [(_B, [_S], k8s.is_cidr)],
    "url": [(_ANY, [_S], k8s.url)], "isURL": [(_B, [_S], k8s.is_url)],
    "semver": [(_ANY, [_S], k8s.semver), (_ANY, [_S, _B], k8s.semver)],
    "isSemver": [(_B, [_S], k8s.is_semver), (_B, [_S, _B], k8s.is_semver)],
}  # fmt: skip


@cache
def _kubernetes() -> Any:
    named: dict[str, list[Any]] = {}
    for member, table in ((True, _MEMBERS), (False, _FUNCTIONS)):
        for name, forms in table.items():
            for number, (result, parameters, function) in enumerate(forms):
                key = f"{name}_{'on' if member else 'of'}_{number}"
                named.setdefault(name, []).append(cel.Overload(key, result, parameters, member, function))
    return cel.CelExtension("kubernetes", [cel.FunctionDecl(name, forms) for name, forms in named.items()])


def environment(variables: Mapping[str, Any], pool: Any = None) -> Any:
    """Where expressions about these variables (name -> type) are compiled; ``pool`` holds the messages types refer to."""
    given = {} if pool is None else {"descriptor_pool": pool}
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_EXTENSIONS),
        variables=dict(variables),
        extensions=[_kubernetes()],
        **given,
    )
