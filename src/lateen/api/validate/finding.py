"""How is something wrong told? A path, a reason, and how bad it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from lateen.names.problems import Severity


class Finding(NamedTuple):
    """Something wrong in an object; ``path`` begins with ``spec`` or ``metadata``."""

    path: str
    message: str
    severity: Severity = Severity.ERROR


Findings: TypeAlias = Iterator[Finding]


def warning(path: str, message: str) -> Finding:
    """What is accepted, and told."""
    return Finding(path, message, Severity.WARNING)


def check(path: str, message: str) -> Findings:
    """A finding if there is a message: rules on texts answer with what is wrong, or with nothing."""
    if message:
        yield Finding(path, message)
