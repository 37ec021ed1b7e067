"""Filters of a user's own, in WebAssembly or Lua: TrafficExtension (extensions.istio.io), which follows WasmPlugin.

https://istio.io/latest/docs/reference/config/proxy_extensions/v1alpha1/traffic_extension/
"""

from __future__ import annotations

import enum
from typing import Annotated, Any

from msgspec import Meta, field

from lateen.api.extensions import FailStrategy, PluginMatch, PluginType, PullPolicy, VMConfig
from lateen.api.meta import Fact, Int32, PolicyTarget, Text, Value, WorkloadSelector


class ExecutionPhase(enum.StrEnum):
    """Where in the chain of filters an extension stands."""

    UNSPECIFIED = "UNSPECIFIED"
    UNSPECIFIED_PHASE = "UNSPECIFIED_PHASE"  # as WasmPlugin says it
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class WasmConfig(Value, frozen=True, kw_only=True):
    """A module of WebAssembly, as WasmPlugin has it."""

    url: Text
    sha256: Annotated[str, Meta(pattern=r"(^$|^[a-f0-9]{64}$)")] = ""
    image_pull_policy: PullPolicy = PullPolicy.UNSPECIFIED_POLICY
    image_pull_secret: Annotated[str, Meta(min_length=1, max_length=253)] = ""
    verification_key: str = ""
    plugin_config: dict[str, Any] = {}
    plugin_name: Annotated[str, Meta(min_length=1, max_length=256)] = ""
    fail_strategy: FailStrategy = FailStrategy.FAIL_CLOSE
    vm_config: VMConfig | None = None
    type: PluginType = PluginType.UNSPECIFIED_PLUGIN_TYPE


class LuaConfig(Value, frozen=True, kw_only=True):
    """A script, which defines ``envoy_on_request``, ``envoy_on_response`` or both."""

    inline_code: Annotated[str, Meta(min_length=1, max_length=65536)]


class TrafficExtensionSpec(Value, frozen=True):
    """``spec`` of a TrafficExtension."""

    ONE_OF = (("selector", "targetRefs"), ("wasm", "lua"))

    selector: WorkloadSelector | None = None
    target_refs: Annotated[list[PolicyTarget], Meta(max_length=16)] = []
    phase: ExecutionPhase = ExecutionPhase.UNSPECIFIED
    priority: Int32 | None = None
    match: list[PluginMatch] = []
    wasm: WasmConfig | None = None
    lua: LuaConfig | None = None


class TrafficExtension(Fact, frozen=True, kw_only=True):
    """A filter, and where it stands."""

    spec: TrafficExtensionSpec = field(default_factory=TrafficExtensionSpec)
