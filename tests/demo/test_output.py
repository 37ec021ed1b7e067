"""Does the demo notice that nobody reads, and clean up all the same?"""

from __future__ import annotations

import os

import pytest

from lateen.demo.output import NobodyReadsError, Output


@pytest.mark.parametrize("forgiving", [False, True])
def test_a_closed_pipe_is_told_once_at_most(forgiving: bool) -> None:
    reads, writes = os.pipe()
    with os.fdopen(writes, "w", buffering=1) as file:
        it = Output(file)
        it.write("heard\n")
        assert os.read(reads, 100) == b"heard\n"
        os.close(reads)
        it.forgiving = forgiving
        if forgiving:
            it.write("unheard\n")
        else:
            with pytest.raises(NobodyReadsError):
                it.write("unheard\n")
        it.write("unheard\n")
        it.flush()
