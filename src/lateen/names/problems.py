"""What is wrong, and where? Problems are values: they are reported, never raised."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Severity(enum.StrEnum):
    """How bad it is: an error is refused, left out, or makes requests fail; a warning is only told."""

    ERROR = "Error"
    WARNING = "Warning"


class Problem(NamedTuple):
    """Something wrong in an object. ``path`` is as users write it: ``spec.http[0].route[1].weight``."""

    kind: str
    namespace: str
    name: str
    path: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}: {f'{self.path}: ' if self.path else ''}{self.message}"
