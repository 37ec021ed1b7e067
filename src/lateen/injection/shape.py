"""Is this a pod at all? What injection reads of it, typed, so that a document which is none is refused with the place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from lateen.api.decode import explained
from lateen.injection.annotations import InjectionError


class _Part(msgspec.Struct, rename="camel"):
    """Fields that nobody here reads may be anything."""


class _Named(_Part):
    name: str


class _Port(_Part):
    container_port: int
    name: str | None = None
    protocol: str | None = None


class _SecurityContext(_Part):
    run_as_user: int | None = None
    run_as_group: int | None = None


class _Container(_Named):
    ports: list[_Port] | None = None
    security_context: _SecurityContext | None = None


class _Owner(_Named):
    api_version: str
    kind: str
    controller: bool | None = None


class _Metadata(_Part):
    name: str | None = None
    generate_name: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None


class _Spec(_Part):
    containers: Annotated[list[_Container], msgspec.Meta(min_length=1)]
    init_containers: list[_Container] | None = None
    volumes: list[_Named] | None = None
    image_pull_secrets: list[_Named] | None = None
    security_context: _SecurityContext | None = None
    termination_grace_period_seconds: int | None = None
    service_account_name: str | None = None


class _Pod(_Part):
    spec: _Spec
    metadata: _Metadata | None = None


def check(pod: Mapping[str, Any]) -> None:
    """InjectionError with the path of what cannot be."""
    try:
        msgspec.convert(pod, _Pod)
    except msgspec.ValidationError as wrong:
        message, path = explained(str(wrong), _Pod)
        raise InjectionError(f"{path or 'the pod'}: {message}") from wrong
