"""Who gets a certificate? Callers who prove by a token which pod they are; the names are theirs, whatever they ask for."""

from __future__ import annotations

import asyncio
import collections
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Never

import aiohttp
import grpc
import structlog
from prometheus_client import Counter

from lateen.authority.holder import LONGEST, AuthorityHolder
from lateen.authority.tokens import Caller, NotAuthenticatedError, Reviewer
from lateen.kube.client import KubeError
from lateen.names.identity import Identity
from lateen.names.metrics import Workload
from lateen.pki import messages
from lateen.pki.authority import RefusedError, signed

_log = structlog.get_logger("lateen.authority")

#: A pod asks long after it was created, but not always after we heard of it.
KNOWN_WITHIN_S = 1.0
LARGEST_REQUEST = 64 * 1024
#: Signatures at once, and requests that may wait for anything: more are told to come again.
_AT_ONCE, MOST_WAITING = 4, 500
#: Of one address: pods of a whole node may hide behind it.
MOST_OF_ONE = 64

REQUESTS = Counter("citadel_server_csr_count", "Certificate signing requests received.")
ISSUED = Counter("citadel_server_success_cert_issuance_count", "Certificates issued.")
REFUSED = Counter(
    "citadel_server_authentication_failure_count", "Requests whose caller could not prove who they are."
)
UNREADABLE = Counter("citadel_server_csr_parsing_err_count", "Requests that are none, or not acceptable.")


class CertificateService:
    """``istio.v1.auth.IstioCertificateService``."""

    def __init__(
        self, authority: AuthorityHolder, reviewer: Reviewer, trust_domain: Callable[[], str],
        workload_of: Callable[[Caller], Workload | None], encrypted: Callable[[str], bool],
        address: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self._authority, self._reviewer = authority, reviewer
        self._trust_domain, self._workload_of, self._encrypted = trust_domain, workload_of, encrypted
        self._address = address  # where a peer really is
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting: collections.Counter[str] = collections.Counter()  # by address

    def handler(self) -> grpc.GenericRpcHandler:
        """For ``grpc.aio.Server.add_generic_rpc_handlers``."""
        service, method = messages.METHOD.strip("/").split("/")
        return grpc.method_handlers_generic_handler(
            service, {method: grpc.unary_unary_rpc_method_handler(self._create)}
        )

    async def _create(self, raw: bytes, context: Any) -> bytes:
        REQUESTS.inc()
        encrypted, address = self._encrypted(context.peer()), self._address(context.peer())
        if self._waiting.total() >= MOST_WAITING or self._waiting[address] >= MOST_OF_ONE:
            await _refuse(
                context, address, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests wait: try again"
            )
        self._waiting[address] += 1
        try:
            return await self._answer(raw, context, address, encrypted=encrypted)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    async def _answer(self, raw: bytes, context: Any, address: str, *, encrypted: bool) -> bytes:
        if not encrypted:
            await _refuse(
                context,
                address,
                grpc.StatusCode.UNAUTHENTICATED,
                "tokens are taken by TLS only: use port 15012",
            )
        if len(raw) > LARGEST_REQUEST:
            await _refuse(
                context,
                address,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"a request has at most {LARGEST_REQUEST} bytes",
            )
        try:
            caller = await self._reviewer.review(_bearer(context))
        except NotAuthenticatedError as wrong:
            REFUSED.inc()
            await _refuse(
                context, address, grpc.StatusCode.UNAUTHENTICATED, f"request authenticate failure: {wrong}"
            )
        except (KubeError, aiohttp.ClientError, OSError, TimeoutError) as wrong:
            said = str(wrong) or type(wrong).__name__
            await _refuse(
                context,
                address,
                grpc.StatusCode.UNAVAILABLE,
                f"Kubernetes could not be asked about the token: {said}",
            )
        # The database is this loop's own: what it knows is read here, and only the signing leaves the loop.
        identity = Identity(self._trust_domain(), caller.namespace, caller.service_account)
        workload = await self._workload(caller)
        try:
            csr, seconds = messages.decode_request(raw)
            async with self._turns:
                chain = await asyncio.to_thread(self._signed, csr, seconds, identity, workload)
        except (RefusedError, messages.MalformedError) as wrong:
            UNREADABLE.inc()
            await _refuse(context, address, grpc.StatusCode.INVALID_ARGUMENT, f"CSR signing error: {wrong}")
        ISSUED.inc()
        return messages.encode_response([*chain, self._authority.roots_pem])

    async def _workload(self, caller: Caller) -> Workload:
        """Who the certificate says its owner is. A token need not name a pod: then the account stands for it."""
        until = asyncio.get_running_loop().time() + KNOWN_WITHIN_S
        while (found := self._workload_of(caller)) is None:
            if not caller.pod or asyncio.get_running_loop().time() > until:
                return Workload(caller.service_account, caller.namespace)
            await asyncio.sleep(0.05)  # a pod that was just made: its watch event is on the way
        return found

    def _signed(self, csr: bytes, seconds: int, identity: Identity, workload: Workload) -> tuple[bytes, ...]:
        # A number that no timedelta holds is a wish for the longest life, too.
        ttl = timedelta(seconds=min(seconds, LONGEST.total_seconds())) if seconds > 0 else LONGEST
        return signed(
            self._authority.signing.issuer, csr, identity, workload.packed(), ttl=ttl, serial=secrets.randbits(127) | 1,
            now=datetime.now(UTC),
        )  # fmt: skip


async def _refuse(context: Any, address: str, status: grpc.StatusCode, why: str) -> Never:
    _log.warning("a certificate was refused", peer=address, status=status.name, reason=why)
    await context.abort(status, why)
    raise AssertionError("abort raises")


def _bearer(context: Any) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            kind, _, token = str(value).partition(" ")
            if kind.lower() == "bearer" and token.strip():
                return token.strip()
    raise NotAuthenticatedError("no bearer token was sent")
