"""Is this object one that the mesh can honour? Istio's rules, by kind; the answer to admission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.api.decode import KINDS, decode, kind_of
from lateen.names.problems import Problem


def validate(document: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with an object, all of it, in the order of its fields. Never raises."""
    if kind_of(document) not in KINDS:
        return []
    found = decode(document)
    return [found] if isinstance(found, Problem) else []
