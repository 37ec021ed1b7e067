"""Which texts are names? Of objects, labels, ports, variables, keys and hosts.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/#syntax-and-character-set
Each function answers what is wrong with a text, in the words that Kubernetes uses; nothing when it is right.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from functools import lru_cache

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_OLD_LABEL = "[a-z]([-a-z0-9]*[a-z0-9])?"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_KEY = "[-._a-zA-Z0-9]+"
_PERCENT = "[0-9]+%"
_HEADER = "[-A-Za-z0-9]+"


def _told(said: str, form: str, *examples: str) -> str:
    shown = " or ".join(f"'{it}', " for it in examples)
    return f"{said} (e.g. {shown}regex used for validation is '{form}')"


_LETTERS = "must consist of lower case alphanumeric characters"
_ENDS = "must start and end with an alphanumeric character"
LABEL_SAID = _told(f"a lowercase RFC 1123 label {_LETTERS} or '-', and {_ENDS}", _LABEL, "my-name", "123-abc")
SUBDOMAIN_SAID = _told(
    f"a lowercase RFC 1123 subdomain {_LETTERS}, '-' or '.', and {_ENDS}", _SUBDOMAIN, "example.com"
)
_OLD_LABEL_SAID = _told(
    f"a DNS-1035 label {_LETTERS} or '-', start with an alphabetic character, and end with an alphanumeric character",
    _OLD_LABEL, "my-name", "abc-123",
)  # fmt: skip
_VALUE_SAID = _told(
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and {_ENDS}",
    _VALUE, "MyValue", "my_value", "12345",
)  # fmt: skip
_QUALIFIED_SAID = _told(
    f"must consist of alphanumeric characters, '-', '_' or '.', and {_ENDS}", _QUALIFIED, "MyName", "my.name", "123-abc"
)  # fmt: skip
_KEY_SAID = _told(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'", _KEY, "key.name", "KEY_NAME", "key-name"
)  # fmt: skip
_PERCENT_SAID = _told(
    "a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%"
)
_HEADER_SAID = _told(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name"
)
ADDRESS_SAID = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_SAID = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _at_most(text: str, most: int, what: str = "") -> Iterator[str]:
    if len(text) > most:
        yield f"{what}must be no more than {most} characters"


def label(text: str) -> Iterator[str]:
    """Of a namespace, a container, a volume."""
    yield from _at_most(text, 63)
    if not re.fullmatch(_LABEL, text):
        yield LABEL_SAID


def old_label(text: str) -> Iterator[str]:
    """A label that begins with a letter: DNS-1035."""
    yield from _at_most(text, 63)
    if not re.fullmatch(_OLD_LABEL, text):
        yield _OLD_LABEL_SAID


def subdomain(text: str) -> Iterator[str]:
    """Of most objects."""
    yield from _at_most(text, 253)
    if not re.fullmatch(_SUBDOMAIN, text):
        yield SUBDOMAIN_SAID


def wildcard(text: str) -> Iterator[str]:
    """``*.example.com``."""
    yield from _at_most(text, 253)
    if not re.fullmatch(rf"\*\.{_SUBDOMAIN}", text):
        said = f"a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which {_LETTERS}"
        yield _told(
            f"{said}, '-' or '.' and end with an alphanumeric character",
            rf"\*\.{_SUBDOMAIN}",
            "*.example.com",
        )


def segment(text: str) -> Iterator[str]:
    """Part of a path: names of roles and events."""
    if text in (".", ".."):
        yield f"may not be '{text}'"
    for it in ("/", "%"):
        if it in text:
            yield f"may not contain '{it}'"


@lru_cache(4096)
def qualified(text: str) -> tuple[str, ...]:
    """Keys of labels and annotations, finalizers, resources: ``example.com/name``. Few of them come over and over."""
    return tuple(_qualified(text))


def _qualified(text: str) -> Iterator[str]:
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        said = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        yield f"a qualified name {_QUALIFIED_SAID} {said}"
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        yield from (f"prefix part {it}" for it in subdomain(prefix))
    if not name:
        yield "name part must be non-empty"
    yield from _at_most(name, 63, "name part ")
    if not re.fullmatch(_QUALIFIED, name):
        yield f"name part {_QUALIFIED_SAID}"


@lru_cache(4096)
def label_value(text: str) -> tuple[str, ...]:
    found = list(_at_most(text, 63))
    return tuple(found if re.fullmatch(_VALUE, text) else [*found, _VALUE_SAID])


def port_name(text: str) -> Iterator[str]:
    """Of a container's port: what IANA calls a service name."""
    yield from _at_most(text, 15)
    if not re.fullmatch("[-a-z0-9]+", text):
        yield "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", text):
        yield "must contain at least one letter (a-z)"
    if "--" in text:
        yield "must not contain consecutive hyphens"
    if text.startswith("-") or text.endswith("-"):
        yield "must not begin or end with a hyphen"


def variable(text: str) -> Iterator[str]:
    """Of the environment."""
    if not re.fullmatch("[ -<>-~]+", text):
        yield "a valid environment variable name must consist only of printable ASCII characters other than '='"


def key(text: str) -> Iterator[str]:
    """Of a ConfigMap or a Secret: it becomes the name of a file."""
    yield from _at_most(text, 253)
    if not re.fullmatch(_KEY, text):
        yield _KEY_SAID
    if text in (".", ".."):
        yield f"must not be '{text}'"
    elif text.startswith(".."):
        yield "must not start with '..'"


def percent(text: str) -> Iterator[str]:
    if not re.fullmatch(_PERCENT, text, re.ASCII):
        yield _PERCENT_SAID


def header(text: str) -> Iterator[str]:
    if not re.fullmatch(_HEADER, text):
        yield _HEADER_SAID


def address(text: str) -> Iterator[str]:
    if packed_address(text) is None:
        yield ADDRESS_SAID


def network(text: str) -> Iterator[str]:
    if parsed_network(text) is None:
        yield CIDR_SAID


def packed_address(text: str) -> bytes | None:
    """The four or sixteen bytes of an address, a tenth of the work of an object of it."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def parsed_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def parsed_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Bits behind the prefix are tolerated, as they are there."""
    place, slash, size = text.partition("/")
    if not slash or not re.fullmatch("[0-9]{1,3}", size) or parsed_address(place) is None:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
