"""What do all objects have? Metadata, and how text becomes values at the door."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec

from lateen.names import durations
from lateen.names.keys import ObjectKey

#: Protobuf's numbers, as Istio's definitions have them.
Int32: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Uint32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Uint64: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
#: Text that says something if it is written at all.
Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


_LONGEST_DURATION = 64


class Duration:
    """A span of time in nanoseconds, written ``1.5s`` in objects."""

    __slots__ = ("nanoseconds",)

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and other.nanoseconds == self.nanoseconds

    def __hash__(self) -> int:
        return hash(self.nanoseconds)

    def __repr__(self) -> str:
        return f"Duration({durations.written(self.nanoseconds)})"

    @property
    def seconds(self) -> float:
        """For those who do not need it exact."""
        return self.nanoseconds / durations.SECOND


def from_text(kind: type, value: Any) -> Any:
    """msgspec's ``dec_hook``: our own types from what JSON has."""
    if kind is Duration:
        if not isinstance(value, str):
            raise TypeError(f"must be a duration in quotes, such as 1s, not {value!r:.30}")
        if len(value) > _LONGEST_DURATION:  # arithmetic with thousands of digits
            raise ValueError(f'"{value[:_LONGEST_DURATION]}..." is not a duration such as 1s, 100ms or 1h30m')
        return Duration(durations.parse(value))
    raise NotImplementedError(f"no reader for {kind}")


class Value(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Part of an object from outside: typed, frozen, named as in JSON."""

    #: Groups of fields (by their names in JSON) of which an object may have one.
    ONE_OF: ClassVar[tuple[tuple[str, ...], ...]] = ()


class Meta(Value, frozen=True):
    """The part of ``metadata`` that decides anything. resourceVersion and managedFields never become facts."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_timestamp: str = ""

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)


class Fact(Value, frozen=True):
    """An object as the database keeps it."""

    metadata: Meta = Meta()

    @property
    def key(self) -> ObjectKey:
        """Under which it lies in its table."""
        return self.metadata.key


class WorkloadSelector(Value, frozen=True):
    """``selector.matchLabels``: which workloads a policy is attached to; empty means all of its namespace."""

    match_labels: dict[str, str] = {}


class LabelSelector(Value, frozen=True):
    """Workloads by their labels, as networking's kinds write it."""

    labels: dict[str, str] = {}


class PolicyTarget(Value, frozen=True, kw_only=True):
    """``targetRefs``: the gateway or service which a policy is attached to instead of workloads."""

    group: Annotated[
        str, msgspec.Meta(pattern=r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    ] = ""
    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
    name: Text
    namespace: str = ""
