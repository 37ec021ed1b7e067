"""What the log says of those who are refused on 15012: their own address, not the front's."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest
import structlog

from lateen.envoy.resource import CLUSTER
from lateen.pki import messages
from lateen.testing.ads import Delta


@pytest.mark.finding("security 21")
async def test_refusals_name_the_callers_address(api_server: Any, install: Any, run: Any) -> None:
    await install()
    async with run() as plane:
        credentials = grpc.ssl_channel_credentials(plane.authority.roots_pem)
        options = [("grpc.ssl_target_name_override", "istiod.istio-system.svc")]
        with structlog.testing.capture_logs() as told:
            async with grpc.aio.secure_channel(
                f"127.0.0.1:{plane.ports.secure}", credentials, options
            ) as channel:
                stream = Delta(channel)
                await stream.ask(CLUSTER)
                with pytest.raises(EOFError, match="client certificate"):
                    await stream.hear()
                with pytest.raises(grpc.aio.AioRpcError, match="no bearer token"):
                    await channel.unary_unary(messages.METHOD)(b"", timeout=20)
        refused = {it["event"]: it["peer"] for it in told if "peer" in it}
        assert refused == {"a proxy was turned away": "127.0.0.1", "a certificate was refused": "127.0.0.1"}
