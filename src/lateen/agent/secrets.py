"""How does Envoy get its secrets? Files, one Secret each, renamed into place so that it never sees half of one.

The folder lies in the pod's memory; only this user may read what is in it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lateen.envoy import wellknown

_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def write_identity(chain: str, key: str) -> None:
    """The workload's certificate with its intermediates, and its key; PEM."""
    pair = {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
    _write(wellknown.WORKLOAD_SECRET, {"tls_certificate": pair})


def write_roots(roots: str) -> bool:
    """What the workload trusts, from a bundle of PEM. False, and nothing changes, when no certificate is in it."""
    blocks = list(dict.fromkeys(_BLOCK.findall(roots)))
    if not blocks:
        return False
    # The same as before may be written once more: Envoy sees no difference.
    trusted = {"trusted_ca": {"inline_string": "\n".join([*blocks, ""])}}
    _write(wellknown.ROOT_SECRET, {"validation_context": trusted})
    return True


def _write(name: str, content: Mapping[str, Any]) -> None:
    secret = {"@type": _SECRET, "name": name, **content}
    replace(Path(wellknown.secret_path(name)), json.dumps({"resources": [secret]}))


def replace(path: Path, text: str) -> None:
    """The file has the old content or the new one at every moment, and is for nobody else."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)
