"""The page about ports says what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lateen.names import listening

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security" / "ports.md"


@pytest.mark.finding("security 20")
def test_the_page_is_made_of_the_table() -> None:
    assert PAGE.read_text() == listening.page()


def test_no_port_is_named_twice() -> None:
    for ports in listening.TABLES.values():
        numbers = [it.number for it in ports]
        assert len(set(numbers)) == len(numbers)
