"""Is this WasmPlugin one that the mesh can honour?"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from lateen.api.extensions import EnvValueSource, PluginMatch, VMConfig, WasmPlugin
from lateen.api.validate import shared, texts
from lateen.api.validate.finding import Finding, Findings, check

_SCHEMES = ("", "file", "http", "https", "oci")


def wasm_plugin(it: WasmPlugin) -> Findings:
    """``spec`` of a WasmPlugin."""
    spec = it.spec
    yield from shared.attachment(spec.selector, spec.target_ref, spec.target_refs)
    yield from check("spec.url", module_url(spec.url))
    yield from ports(spec.match)
    if spec.vm_config is not None:
        yield from machine(spec.vm_config, "spec.vmConfig")


def ports(matches: Sequence[PluginMatch]) -> Findings:
    """``match``: each port of an entry once."""
    for index, match in enumerate(matches):
        numbers: set[int] = set()
        for number, port in enumerate(match.ports):
            if port.number in numbers:
                yield Finding(f"spec.match[{index}].ports[{number}]", f'Duplicate value: "{port.number}"')
            numbers.add(port.number)


def module_url(text: str) -> str:
    """Where a module is: an image without a scheme, or a URL."""
    try:
        found = urlsplit(text)
    except ValueError as wrong:
        return f'"{text}" is not a URL: {wrong}'
    if found.scheme not in _SCHEMES:
        # without a scheme it is an image: registry:5000/name
        registry, _, rest = text.partition("/")
        if not (rest and registry.rpartition(":")[2].isdigit()):
            return f'"{text}": url must have schema one of [http, https, file, oci]'
    if not found.scheme and texts.fqdn(text.partition("/")[0].partition(":")[0]):
        return f'"{text}": url must have schema one of [http, https, file, oci]'
    return ""


def machine(it: VMConfig, at: str) -> Findings:
    """``vmConfig``."""
    names: set[str] = set()
    for index, variable in enumerate(it.env):
        place = f"{at}.env[{index}]"
        if variable.name in names:
            yield Finding(f"{place}.name", f'Duplicate value: "{variable.name}"')
        names.add(variable.name)
        if variable.value and variable.value_from is not EnvValueSource.INLINE:
            yield Finding(f"{place}.value", "value may only be set when valueFrom is INLINE")
