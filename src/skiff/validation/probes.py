"""How may a container be asked for its health, and told to begin and end? Probes and lifecycle hooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.problems import (
    between,
    each,
    entries,
    forbidden,
    invalid,
    listed,
    not_negative,
    one_of,
    part,
    required,
    text,
)  # fmt: skip

_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def probes(it: dict[str, Any], path: str) -> Iterator[Problem]:
    """The three probes of a container."""
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe, where = it.get(field), f"{path}.{field}"
        if not isinstance(probe, dict):
            continue
        yield from _handler(probe, where, ("exec", "httpGet", "tcpSocket", "grpc"))
        for number in _NUMBERS:
            yield from not_negative(f"{where}.{number}", probe.get(number))
        grace = probe.get("terminationGracePeriodSeconds")
        if field == "readinessProbe":
            if grace is not None:
                said = "must not be set for readinessProbes"
                yield invalid(f"{where}.terminationGracePeriodSeconds", grace, said)
            continue
        if grace is not None and grace <= 0:
            yield invalid(f"{where}.terminationGracePeriodSeconds", grace, "must be greater than 0")
        if (probe.get("successThreshold") or 1) != 1:
            yield invalid(f"{where}.successThreshold", probe["successThreshold"], "must be 1")


def lifecycle(it: dict[str, Any], path: str, grace_s: int) -> Iterator[Problem]:
    """``postStart`` and ``preStop``."""
    hooks = part(it, "lifecycle")
    for field in ("postStart", "preStop"):
        if isinstance(hook := hooks.get(field), dict):
            where = f"{path}.lifecycle.{field}"
            yield from _handler(hook, where, ("exec", "httpGet", "tcpSocket", "sleep"))
            if isinstance(hook.get("sleep"), dict):
                seconds = hook["sleep"].get("seconds") or 0
                if not 0 <= seconds <= grace_s:
                    said = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
                    yield invalid(f"{where}.sleep.seconds", seconds, said)
    yield from one_of(f"{path}.lifecycle.stopSignal", hooks.get("stopSignal"), _SIGNALS)


def _handler(it: dict[str, Any], path: str, known: tuple[str, ...]) -> Iterator[Problem]:
    given = [field for field in known if isinstance(it.get(field), dict)]
    if not given:
        yield required(path, "must specify a handler type")
    for field in given[1:]:
        yield forbidden(f"{path}.{field}", "may not specify more than 1 handler type")
    for field in given:
        yield from _HANDLERS[field](it[field], f"{path}.{field}")


def _exec(it: dict[str, Any], path: str) -> Iterator[Problem]:
    if not listed(it, "command"):
        yield required(f"{path}.command")


def _http(it: dict[str, Any], path: str) -> Iterator[Problem]:
    if not text(it, "path"):
        yield required(f"{path}.path")
    yield from _port(it, path)
    yield from one_of(f"{path}.scheme", it.get("scheme"), ("HTTP", "HTTPS"))
    for where, header in entries(it, "httpHeaders", path):
        yield from each(f"{where}.name", text(header, "name"), names.header(text(header, "name")))


def _port(it: dict[str, Any], path: str) -> Iterator[Problem]:
    yield from port_or_name(f"{path}.port", it.get("port"))


def port_or_name(path: str, port: Any) -> Iterator[Problem]:
    """A number, or the name of a container's port."""
    if isinstance(port, str):
        yield from each(path, port, names.port_name(port))
    else:
        yield from between(path, port or 0, 1, 65535)


def _grpc(it: dict[str, Any], path: str) -> Iterator[Problem]:
    yield from between(f"{path}.port", it.get("port") or 0, 1, 65535)


def _sleep(_it: dict[str, Any], _path: str) -> Iterator[Problem]:
    return iter(())


_HANDLERS = {"exec": _exec, "httpGet": _http, "tcpSocket": _port, "grpc": _grpc, "sleep": _sleep}
_SIGNALS = tuple(
    f"SIG{it}"
    for it in (
        "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP"
        " TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"
        + "".join(f" RTMIN+{it} RTMAX-{it}" for it in range(1, 16))
    ).split()
)  # fmt: skip
