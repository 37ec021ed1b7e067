"""Is a webhook or a policy about this request? ``matchConditions``, which are all true or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skiff.admission.cel import aside
from skiff.admission.cel.program import CelError, compiled

#: What expressions of admission speak about.
VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_OF_HOOKS = ("object", "oldObject", "request")


def all_hold(
    conditions: Iterable[Mapping[str, Any]], data: dict[str, Any], variables: tuple[str, ...]
) -> bool:
    """Whether all are true; one that is false counts more than one that fails. CelError when that cannot be said."""
    failed = None
    for it in conditions:
        try:
            if compiled(it["expression"], variables)(data) is not True:
                return False
        except CelError as wrong:
            failed = failed or CelError(f"match condition '{it.get('name')}' failed: {wrong}")
    if failed:
        raise failed
    return True


async def hold(conditions: list[Mapping[str, Any]], request: Mapping[str, Any]) -> bool:
    """Those of a webhook, about what it would be asked."""
    about = {key: value for key, value in request.items() if key not in ("object", "oldObject")}
    data = {"object": request.get("object"), "oldObject": request.get("oldObject"), "request": about}
    if any(compiled(it["expression"], _OF_HOOKS).heavy(data) for it in conditions):
        return await aside.run(all_hold, conditions, data, _OF_HOOKS)
    return all_hold(conditions, data, _OF_HOOKS)


def wrong(
    conditions: Iterable[Mapping[str, Any]], path: str, variables: tuple[str, ...] = _OF_HOOKS
) -> list[tuple[str, str, str]]:
    """Those that are no expressions."""
    found = []
    for index, it in enumerate(conditions):
        text = str(it.get("expression") or "")
        try:
            compiled(text, variables)
        except CelError as said:
            at = f"{path}[{index}].expression"
            found.append(("FieldValueInvalid", f'Invalid value: "{text}": compilation failed: {said}', at))
    return found
