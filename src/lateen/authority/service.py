"""Who gets a certificate? Callers who prove by a token which pod they are; the names are theirs, whatever they ask for."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import structlog
from prometheus_client import Counter

from lateen.authority import messages
from lateen.authority.store import Authority
from lateen.authority.tokens import Caller, NotAuthenticatedError, Reviewer
from lateen.kube.client import KubeError
from lateen.names.identity import Identity
from lateen.names.metrics import Workload
from lateen.pki.authority import RefusedError, signed

_log = structlog.get_logger("lateen.authority")

LONGEST = timedelta(hours=24)
_LARGEST_REQUEST = 64 * 1024
_AT_ONCE = 4

REQUESTS = Counter("citadel_server_csr_count", "Certificate signing requests received.")
ISSUED = Counter("citadel_server_success_cert_issuance_count", "Certificates issued.")
REFUSED = Counter(
    "citadel_server_authentication_failure_count", "Requests whose caller could not prove who they are."
)


class CertificateService:
    """``istio.v1.auth.IstioCertificateService``."""

    def __init__(
        self, authority: Authority, reviewer: Reviewer, trust_domain: Callable[[], str],
        workload_of: Callable[[Caller], Workload | None],
    ) -> None:  # fmt: skip
        self._authority, self._reviewer = authority, reviewer
        self._trust_domain, self._workload_of = trust_domain, workload_of
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def handler(self) -> grpc.GenericRpcHandler:
        """For ``grpc.aio.Server.add_generic_rpc_handlers``."""
        service, method = messages.METHOD.strip("/").split("/")
        return grpc.method_handlers_generic_handler(
            service, {method: grpc.unary_unary_rpc_method_handler(self._create)}
        )

    async def _create(self, raw: bytes, context: Any) -> bytes:
        REQUESTS.inc()
        try:
            caller = await self._reviewer.review(_bearer(context))
        except NotAuthenticatedError as wrong:
            REFUSED.inc()
            _log.warning("a certificate was refused", peer=context.peer(), reason=str(wrong))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"request authenticate failure: {wrong}")
        except (KubeError, OSError, TimeoutError) as wrong:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, f"Kubernetes could not be asked about the token: {wrong}"
            )
        if len(raw) > _LARGEST_REQUEST:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"a request has at most {_LARGEST_REQUEST} bytes"
            )
        try:
            csr, seconds = messages.request(raw)
            async with self._turns:
                chain = await asyncio.to_thread(self._signed, caller, csr, seconds)
        except (RefusedError, messages.MalformedError) as wrong:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"CSR signing error: {wrong}")
        ISSUED.inc()
        return messages.response([*chain, self._authority.root_pem])

    def _signed(self, caller: Caller, csr: bytes, seconds: int) -> tuple[bytes, ...]:
        identity = Identity(self._trust_domain(), caller.namespace, caller.service_account)
        workload = self._workload_of(caller) or Workload(caller.service_account, caller.namespace)
        ttl = min(timedelta(seconds=seconds) if seconds > 0 else LONGEST, LONGEST)
        return signed(
            self._authority.issuer, csr, identity, workload.packed(), ttl=ttl, serial=secrets.randbits(127) | 1,
            now=datetime.now(UTC),
        )  # fmt: skip


def _bearer(context: Any) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            kind, _, token = str(value).partition(" ")
            if kind.lower() == "bearer" and token.strip():
                return token.strip()
    raise NotAuthenticatedError("no bearer token was sent")
