"""What a step that fails makes of the report."""

from __future__ import annotations

import io

import aiohttp
import pytest
from rich.console import Console

from lateen.demo.run import Verdicts
from lateen.kube.errors import KubeError


@pytest.mark.finding("issue 7 part 7")
@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (KubeError(429, "TooManyRequests", "too many [/requests]"), "too many [/requests]"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_api_server_that_fails_is_a_verdict(problem: Exception, said: str) -> None:
    def fails() -> str:
        raise problem

    shown = io.StringIO()
    verdicts = Verdicts(Console(file=shown), check=True)
    assert not verdicts.step("A1", "first", fails)
    assert verdicts.step("A2", "second", lambda: "fine")
    assert verdicts.failed == ["A1"]
    assert f"FAIL A1   first: {said} (" in shown.getvalue()
