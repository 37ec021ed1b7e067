"""What ``lateen problems`` and the foot of ``proxy-status`` say."""

from __future__ import annotations

import pytest

from lateen.cli import problems, proxy_status

LEFT_OUT = {"kind": "VirtualService", "namespace": "shop", "name": "web", "path": "spec.hosts", "message": "is required",
            "severity": "Error"}  # fmt: skip
IDLE = {**LEFT_OUT, "kind": "Telemetry", "path": "", "message": "has no effect yet", "severity": "Warning"}
OF_THE_MESH = {**IDLE, "kind": "ConfigMap", "namespace": "", "name": "istio"}


def test_a_row_names_severity_object_field_and_words() -> None:
    assert problems.row(LEFT_OUT) == ("Error", "VirtualService web.shop", "spec.hosts", "is required")
    assert problems.row(OF_THE_MESH) == ("Warning", "ConfigMap istio", "-", "has no effect yet")


@pytest.mark.finding("newcomer D.6")
def test_the_foot_counts_and_is_silent_without_any() -> None:
    assert proxy_status.footnote([]) == ""
    assert proxy_status.footnote([LEFT_OUT]) == '1 error in what was applied: "lateen problems" lists them'
    assert proxy_status.footnote([LEFT_OUT, IDLE, IDLE]).startswith("1 error and 2 warnings in")
