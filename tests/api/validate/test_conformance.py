"""Istio's own verdicts: what its API server and webhook accept and refuse, and the samples of its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.api.validate import validate
from lateen.names.problems import Problem, Severity

SHARED = Path(__file__).parents[4] / "shared"
VERDICTS = sorted((SHARED / "conformance" / "validation").glob("*.yaml"))
SAMPLES = sorted((SHARED / "samples").rglob("*.yaml"))


def errors(document: dict[str, Any]) -> list[Problem]:
    return [it for it in validate(document) if it.severity is Severity.ERROR]


def documents(paths: list[Path]) -> Iterator[Any]:
    """PyYAML reads the address ``001:db8::`` before a bracket as a mapping; YAML 1.2, which kubectl reads, does not."""
    for path in paths:
        text = path.read_text().replace("001:db8::]", '"001:db8::"]')
        for number, it in enumerate(yaml.safe_load_all(text)):
            if isinstance(it, dict):
                yield pytest.param(it, id=f"{path.stem}-{number}-{it.get('metadata', {}).get('name')}")


if not VERDICTS:
    pytest.skip(
        "Istio's verdicts (shared/conformance/validation) are not here: not compared", allow_module_level=True
    )


@pytest.mark.parametrize("document", documents(VERDICTS))
def test_istios_verdict(document: dict[str, Any]) -> None:
    expected = document.pop("_err", None)
    found = errors(document)
    assert bool(found) == bool(expected), (expected, found)
    for it in found:
        assert it.path
        assert it.message


@pytest.mark.parametrize("document", documents(SAMPLES))
def test_samples_are_accepted(document: dict[str, Any]) -> None:
    assert errors(document) == []
