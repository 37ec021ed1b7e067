"""Is this Telemetry one that the mesh can honour?"""

from __future__ import annotations

from lateen.api.telemetry import MetricsOverride, TagOperation, Telemetry, Tracing
from lateen.api.validate import cel, shared
from lateen.api.validate.finding import Finding, Findings, check, entry, warning


def telemetry(it: Telemetry) -> Findings:
    """``spec`` of a Telemetry."""
    spec = it.spec
    yield from shared.attachment(spec.selector, spec.target_ref, spec.target_refs)
    if len(spec.tracing) > 1:
        yield warning("spec.tracing", "only the first entry has an effect")
    for index, tracing in enumerate(spec.tracing):
        yield from _tracing(tracing, f"spec.tracing[{index}]")
    for index, metrics in enumerate(spec.metrics):
        for number, override in enumerate(metrics.overrides):
            yield from _override(override, f"spec.metrics[{index}].overrides[{number}]")
    for index, logging in enumerate(spec.access_logging):
        if logging.filter is not None:
            wrong = cel.expression(logging.filter.expression) if logging.filter.expression else ""
            required = "" if logging.filter.expression else "is required; without it leave out filter"
            yield from check(f"spec.accessLogging[{index}].filter.expression", required or wrong)


def _tracing(it: Tracing, at: str) -> Findings:
    if len(it.providers) > 1:
        yield warning(f"{at}.providers", "only the first provider has an effect")
    for name, tag in it.custom_tags.items():
        if not name:
            yield Finding(f"{at}.customTags", "the name of a tag cannot be empty")
        if not (tag.literal or tag.environment or tag.header or tag.formatter):
            yield Finding(
                entry(f"{at}.customTags", name), "needs one of literal, environment, header, formatter"
            )


def _override(it: MetricsOverride, at: str) -> Findings:
    for name, tag in it.tag_overrides.items():
        place = entry(f"{at}.tagOverrides", name)
        if not name:
            yield warning(f"{at}.tagOverrides", "the name of a tag should not be empty")
        if tag.operation is TagOperation.UPSERT and not tag.value:
            yield Finding(f"{place}.value", "value must be set when operation is UPSERT")
        if tag.operation is TagOperation.REMOVE and tag.value:
            yield Finding(f"{place}.value", "value must not be set when operation is REMOVE")
