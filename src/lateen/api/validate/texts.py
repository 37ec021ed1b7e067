"""Is this text a host, a label, a port, a header? Each rule answers with what is wrong, or with "".

The rules are Istio's (https://istio.io/latest/docs/reference/config/) and, for names, RFC 1123 and Kubernetes'.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from lateen.api.meta import Duration
from lateen.names.ports import Protocol

#: Text -> what is wrong with it, or "".
Rule: TypeAlias = Callable[[str], str]

_LABEL = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
_FIRST_LABEL = re.compile(r"\*|(\*-?)?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
_TAG = re.compile(r"[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
_HEADER = re.compile(r"[-_A-Za-z0-9]+")
_LINE_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: ``%START_TIME(%Y)%``: what stands in brackets may have percent signs of its own.
_PLACEHOLDER = re.compile(r"%%|%[A-Za-z_][\w.]*\((?:[^)]|\)(?![%:]))*\)(?::\d+)?%|%[A-Za-z_][^%(]*%")
#: A host that Istio's AUTO_PASSTHROUGH makes: ``outbound_.80_._.web.default.svc.cluster.local``.
_GENERATED = re.compile(r"outbound_\.[0-8]")
_MILLISECOND = 10**6
_LONGEST_PARAMETER = 1024

#: ``appProtocol`` words that Istio's ports may have, in lower case.
PROTOCOLS = {it.value.lower(): it for it in Protocol if it is not Protocol.AUTO} | {
    "http_proxy": Protocol.HTTP
}


def dns_label(name: str) -> str:
    """One part of a host name."""
    if _LABEL.fullmatch(name) and len(name) <= 63:
        return ""
    return f'"{name}" is not a DNS label: use at most 63 letters, digits and dashes, beginning and ending with a letter or digit'


def _length(name: str) -> str:
    if not name:
        return "a host name cannot be empty"
    return "" if len(name) <= 255 else f'"{name}" is longer than 255 characters'


def fqdn(name: str) -> str:
    """A host name without wildcard; a final dot is allowed."""
    return _length(name) or _labels(name, name)


def _labels(rest: str, whole: str) -> str:
    parts = rest.removesuffix(".").split(".")
    if parts[-1].isdigit():
        return f'"{whole}" is not a host name: its last part cannot be a number'
    for part in parts:
        if dns_label(part):
            return f'"{whole}" is not a host name: its part {dns_label(part)}'
    return ""


def wildcard_domain(name: str) -> str:
    """A host name whose first part may be, or begin with, ``*``."""
    if wrong := _length(name):
        return wrong
    first, dot, rest = name.partition(".")
    if not _FIRST_LABEL.fullmatch(first) or len(first) > 63:
        return f'"{name}" is not a host name: a wildcard * may stand only at its beginning'
    return _labels(rest, name) if dot else ""


def is_generated(name: str) -> bool:
    """Whether it is a name of SNI that clusters call each other by."""
    return _GENERATED.match(name) is not None


def partial_wildcard(name: str) -> str:
    """``*-foo.com`` is understood by nobody."""
    if "*" in name and name != "*" and not name.startswith("*."):
        return f'"{name}" has a partial wildcard: write * or *.example.com'
    return ""


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def address(text: str) -> str:
    """An IP address."""
    return "" if is_address(text) else f'"{text}" is not an IP address'


def subnet(text: str) -> str:
    """An IP address, or a range such as ``10.0.0.0/8``."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f'"{text}" is not an IP address or a range of addresses such as 10.0.0.0/8'
    return ""


def unix_socket(path: str) -> str:
    """What follows ``unix://``: an absolute path of a file, or ``@name``."""
    if path.startswith("@"):
        return ""
    if not path.startswith("/"):
        return f'"{path}" must be an absolute path such as unix:///run/app.sock, or an abstract socket such as unix://@app'
    return f'"{path}" is a directory: name the socket in it' if path.endswith("/") else ""


def port(number: int) -> str:
    """1 to 65535."""
    return "" if 1 <= number <= 65535 else f"{number} is not a port: use 1-65535"


def port_text(text: str) -> str:
    """A port written as text, as AuthorizationPolicy has them."""
    return (
        ""
        if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535
        else f'"{text}" is not a port: use 0-65535'
    )


def protocol(name: str) -> str:
    """One of the protocols Istio knows, whatever its case."""
    if name.lower() in PROTOCOLS:
        return ""
    return (
        f'unknown protocol "{name}": use HTTP, HTTPS, GRPC, GRPC-Web, HTTP2, TCP, TLS, Mongo, Redis or MySQL'
    )


def duration(it: Duration) -> str:
    """Envoy counts milliseconds."""
    if it.nanoseconds < _MILLISECOND:
        return "must be a valid duration greater than 1ms"
    return "must be whole milliseconds" if it.nanoseconds % _MILLISECOND else ""


def header_name(name: str) -> str:
    """A header that a condition or an answer names."""
    if _HEADER.fullmatch(name):
        return ""
    return (
        f'"{name}" is not a header name: use letters, digits, - and _'
        if name
        else "a header name cannot be empty"
    )


def header_value(value: str) -> str:
    """What is put into a header; Envoy reads ``%...%`` in it, and ``%%`` is one percent sign."""
    if _LINE_BREAKS.search(value):
        return "a header's value cannot contain line breaks or other control characters"
    at = value.find("%")
    while (
        at >= 0
    ):  # the first that begins nothing ends the search: each may be looked at to the end of the text
        if not (found := _PLACEHOLDER.match(value, at)):
            return f'"{value}" has a single %: write %% for a percent sign, or %WORD% for a value of Envoy\'s'
        at = value.find("%", found.end())
    return ""


def one_line(text: str) -> str:
    """What becomes a part of a request's or an answer's head."""
    return "cannot contain line breaks or other control characters" if _LINE_BREAKS.search(text) else ""


def parameter_name(name: str) -> str:
    """A parameter of a query, as Envoy takes it."""
    if not name or len(name.encode()) > _LONGEST_PARAMETER:
        return f"the name of a parameter has 1 to {_LONGEST_PARAMETER} bytes"
    return one_line(name)


def label(key: str, value: str) -> str:
    """A label as Kubernetes allows it."""
    prefix, slash, name = key.rpartition("/")
    if not _TAG.fullmatch(name) or len(name) > 63 or (slash and fqdn(prefix)):
        return f'"{key}" is not the key of a label'
    if value and (not _TAG.fullmatch(value) or len(value) > 63):
        return f'"{value}" is not the value of a label: use at most 63 letters, digits, -, _ and .'
    return ""


def labels(pairs: Mapping[str, str]) -> str:
    """The first that is wrong."""
    return next((wrong for key, value in pairs.items() if (wrong := label(key, value))), "")


def empty_values(values: Iterable[str]) -> str:
    """Lists of alternatives have no empty one."""
    return "an empty value matches nothing: remove it" if "" in values else ""
