"""How is something wrong told? A path, a reason, and how bad it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from lateen.names.problems import Severity


class Finding(NamedTuple):
    """Something wrong in an object; ``path`` begins with ``spec`` or ``metadata``."""

    path: str
    message: str
    severity: Severity = Severity.ERROR


_PLAIN = re.compile(r"[-\w]+")

Findings: TypeAlias = Iterator[Finding]


#: A message says what is wrong; it does not repeat a megabyte that is.
_LONGEST = 400


def shown(text: str) -> str:
    """A path or message as it is told."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def warning(path: str, message: str) -> Finding:
    """What is accepted, and told."""
    return Finding(path, message, Severity.WARNING)


def entry(at: str, key: str) -> str:
    """The path of an entry of a map: ``labels.app``, or ``labels[example.com/app]`` where a dot would mislead."""
    return f"{at}.{key}" if _PLAIN.fullmatch(key) else f"{at}[{key}]"


def check(path: str, message: str) -> Findings:
    """A finding if there is a message: rules on texts answer with what is wrong, or with nothing."""
    if message:
        yield Finding(path, message)
