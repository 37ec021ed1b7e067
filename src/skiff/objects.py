"""What does an object say? Its key, owners, conditions and times; whether a selector means it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from skiff.api import Object

#: (namespace, name)
Key = tuple[str, str]


def key_of(obj: Object) -> Key:
    """(namespace, name)."""
    return (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def owners_of(obj: Object) -> list[Object]:
    """The ownerReferences, none when there are none."""
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Object) -> Object | None:
    """The one owner that manages the object."""
    return next((it for it in owners_of(obj) if it.get("controller")), None)


def version_of(obj: Object) -> int:
    """resourceVersion as a number; skiff's store counts."""
    text = obj["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdigit() else 0


def copied(value: Any) -> Any:
    """One's own deep copy of JSON, to be changed."""
    if isinstance(value, dict):
        return {key: copied(it) if isinstance(it, dict | list) else it for key, it in value.items()}
    if isinstance(value, list):
        return [copied(it) if isinstance(it, dict | list) else it for it in value]
    return value


def matches(selector: Object | None, labels: dict[str, str] | None) -> bool:
    """Whether a metav1.LabelSelector selects these labels; an absent selector selects nothing."""
    if selector is None:
        return False
    have = labels or {}
    if any(have.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(it, have) for it in selector.get("matchExpressions") or ())


def _meets(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


def selector_of(owner: Object) -> Object | None:
    """What it selects as a LabelSelector. That of a ReplicationController is plain labels, its template's if it has none."""
    selector: Object | None = owner["spec"].get("selector")
    if owner.get("kind") != "ReplicationController":
        return selector
    template = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    return {"matchLabels": labels} if (labels := selector or template) else None


def condition(obj: Object, type_: str) -> Object | None:
    """The condition of that type."""
    return next(
        (it for it in (obj.get("status") or {}).get("conditions") or () if it.get("type") == type_), None
    )


def finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def active(pod: Object) -> bool:
    """Counts towards what a controller wants."""
    return not finished(pod) and not pod["metadata"].get("deletionTimestamp")


def ready(pod: Object) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found.get("status") == "True"


def now() -> datetime:
    return datetime.now(UTC)


def stamp(time: datetime) -> str:
    """As metav1.Time writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text: str | None) -> datetime | None:
    """A metav1.Time or MicroTime; None when there is none or it is nonsense."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
