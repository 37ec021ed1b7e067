"""What is pinned is pinned by its bytes, and whoever ships it can say under which terms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]


def entries(name: str) -> dict[str, str]:
    """Each pinned package with its whole entry."""
    found = re.split(r"^(?=\S)", (HERE / name).read_text(), flags=re.MULTILINE)
    return {it.split("==")[0]: it.strip() for it in found if it.strip() and not it.startswith("#")}


@pytest.mark.finding("security 28")
@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_package_is_pinned_by_hash(lock: str) -> None:
    found = entries(lock)
    assert found
    assert [name for name, it in found.items() if "--hash=sha256:" not in it or "==" not in it] == []


@pytest.mark.finding("security 28")
def test_what_builds_and_tests_is_apart_and_agrees_with_what_runs() -> None:
    runs, builds = entries("requirements.lock"), entries("requirements-dev.lock")
    assert {"pytest", "mypy", "ruff", "hatchling"}.isdisjoint(runs)
    assert {name: builds.get(name) for name in runs} == runs


@pytest.mark.finding("security 28")
def test_the_list_of_licences_names_what_runs_in_its_versions() -> None:
    listed = re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \|$", (HERE / "LICENSES.md").read_text(), flags=re.MULTILINE
    )
    pins = {it: re.search(r"==(\S+)", entry) for it, entry in entries("requirements.lock").items()}
    assert {
        (re.sub(r"[-_.]+", "-", name).lower(), version) for name, version, _ in listed if name != "package"
    } == {(re.sub(r"[-_.]+", "-", name).lower(), found[1]) for name, found in pins.items() if found}
    assert (HERE / "LICENSE").read_text().lstrip().startswith("Apache License")
