"""Rules of a TrafficExtension."""

from __future__ import annotations

from lateen.api.traffic_extension import TrafficExtension
from lateen.api.validate import shared
from lateen.api.validate.finding import Finding, Findings, check
from lateen.api.validate.wasm_plugin import machine, module_url, ports

_HANDLERS = ("envoy_on_request", "envoy_on_response")


def traffic_extension(it: TrafficExtension) -> Findings:
    """``spec`` of a TrafficExtension."""
    spec = it.spec
    yield from shared.attachment(spec.selector, None, spec.target_refs)
    if spec.wasm is None and spec.lua is None:
        yield Finding("spec", "exactly one of wasm or lua must be set")
    yield from ports(spec.match)
    if spec.wasm is not None:
        yield from check("spec.wasm.url", module_url(spec.wasm.url))
        if spec.wasm.vm_config is not None:
            yield from machine(spec.wasm.vm_config, "spec.wasm.vmConfig")
    if spec.lua is not None and not any(name in spec.lua.inline_code for name in _HANDLERS):
        yield Finding(
            "spec.lua.inlineCode", f"defines neither {_HANDLERS[0]} nor {_HANDLERS[1]}: it would never run"
        )
