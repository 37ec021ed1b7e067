"""The CA as it is now. Its Secret may change: then everybody learns the new root before anybody is signed by it.

A leaf of the old CA is good until it ends, so the old root stays trusted for as long as the longest life of a leaf.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Never

import aiohttp
import structlog
from cryptography import x509
from prometheus_client import Gauge

from lateen.authority.store import Authority, existing
from lateen.kube.client import KubeClient, KubeError
from lateen.pki.authority import RefusedError
from lateen.pki.certificates import pem

_log = structlog.get_logger("lateen.authority")

#: The longest life of a certificate that is asked for (``lateen.authority.service``).
LONGEST = timedelta(hours=24)
#: From a new root in the ConfigMaps to its use: the kubelet brings them to pods within a minute and a half.
SPREAD = timedelta(minutes=2)
_LOOK_S = 15.0

ROOT_ENDS = Gauge(
    "citadel_server_root_cert_expiry_timestamp", "When the signing certificate ends (Unix time)."
)


class AuthorityHolder:
    """Who signs now, and whom everybody trusts. ``listeners`` hear when either has changed."""

    def __init__(self, first: Authority, older: bytes = b"", *, now: datetime | None = None) -> None:
        self.signing = first
        self.listeners: list[Callable[[], None]] = []
        self._next: tuple[Authority, datetime] | None = None
        until = (now or datetime.now(UTC)) + LONGEST
        self._older = dict.fromkeys((it for it in certificates(older) if it not in _roots(first)), until)
        ROOT_ENDS.set(first.issuer.certificate.not_valid_after_utc.timestamp())

    @property
    def roots_pem(self) -> bytes:
        """All roots that are trusted, that of the signing CA first."""
        coming = _roots(self._next[0]) if self._next else ()
        return pem(*dict.fromkeys((*_roots(self.signing), *coming, *self._older)))

    def heard(self, found: Authority, now: datetime) -> None:
        """What the Secret says."""
        latest = self._next[0] if self._next else self.signing
        if _mark(found) == _mark(latest):
            return
        trusted = set(certificates(self.roots_pem))
        _log.warning("the CA's Secret has changed", secret=found.source)
        ended = self.signing.issuer.certificate.not_valid_after_utc <= now
        self._next = (found, now if ended or set(_roots(found)) <= trusted else now + SPREAD)
        self._told()
        self.passed(now)

    def passed(self, now: datetime) -> None:
        """Time went by."""
        gone = [it for it, until in self._older.items() if until <= now]
        for it in gone:
            del self._older[it]
        if self._next and self._next[1] <= now:
            old, self.signing, self._next = self.signing, self._next[0], None
            for it in _roots(old):
                if it not in _roots(self.signing):
                    self._older[it] = now + LONGEST
            ROOT_ENDS.set(self.signing.issuer.certificate.not_valid_after_utc.timestamp())
            _log.warning("certificates are signed by the new CA", secret=self.signing.source)
        elif not gone:
            return
        self._told()

    def _told(self) -> None:
        for it in self.listeners:
            it()

    async def follow(self, client: KubeClient, namespace: str) -> Never:
        """Until cancelled. A Secret that is gone or broken changes nothing, and is told once."""
        told = ""
        while True:
            await asyncio.sleep(_LOOK_S * random.uniform(0.8, 1.2))
            wrong = ""
            try:
                found = await existing(client, namespace)
                if found:
                    self.heard(found, datetime.now(UTC))
                else:
                    wrong = "it is gone: a control plane that starts now would make another root"
            except RefusedError as refused:
                wrong = str(refused)
            except (KubeError, aiohttp.ClientError, OSError, TimeoutError):
                pass  # Kubernetes is away: others tell it
            if wrong and wrong != told:
                _log.error("the CA's Secret cannot be used: the last one stays in force", reason=wrong)
            told = wrong
            self.passed(datetime.now(UTC))


def certificates(text: bytes) -> tuple[x509.Certificate, ...]:
    """Of a file; none when it cannot be read."""
    try:
        return tuple(x509.load_pem_x509_certificates(text)) if text.strip() else ()
    except ValueError:
        return ()


def _mark(it: Authority) -> tuple[x509.Certificate, ...]:
    return (it.issuer.certificate, *it.issuer.chain, *_roots(it))


def _roots(it: Authority) -> Iterable[x509.Certificate]:
    return certificates(it.root_pem)
