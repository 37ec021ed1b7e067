"""Which labels does something carry, and does a selector match them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

#: Sorted pairs, so that equal labels are equal values.
Labels: TypeAlias = tuple[tuple[str, str], ...]

NONE: Labels = ()


def of(labels: Mapping[str, str] | None) -> Labels:
    """Labels from a mapping."""
    return tuple(sorted((labels or {}).items()))


def get(labels: Labels, name: str, default: str = "") -> str:
    """The value of one label."""
    return next((value for key, value in labels if key == name), default)


def matches(selector: Labels, labels: Labels) -> bool:
    """Whether every pair of the selector is among the labels. An empty selector matches everything."""
    return set(selector) <= set(labels)


def text(labels: Labels) -> str:
    """``app=reviews,version=v1``."""
    return ",".join(f"{key}={value}" for key, value in labels)
