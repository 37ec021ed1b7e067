"""HTTP through the API server's port-forward: what a pod's answer holds, and whether it is whole.

The websocket form ``v4.channel.k8s.io``: channel 0 is data, 1 errors; each begins with the port in two bytes.
"""

from __future__ import annotations

import struct

import aiohttp

from lateen.kube.errors import KubeError

PROTOCOL = "v4.channel.k8s.io"
#: Whole configurations of Envoys come this way; what is larger is no answer of ours.
_LARGEST = 512 * 1024 * 1024


class CutOffError(ConnectionError):
    """The answer ended before it was whole."""


async def received(socket: aiohttp.ClientWebSocketResponse, port: int) -> bytes:
    """All data of one forwarded connection; KubeError when the other side tells of one."""
    parts: dict[int, list[bytes]] = {0: [], 1: []}
    greeting = struct.pack("<H", port)
    greeted: set[int] = set()
    size = 0
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        size += len(data)
        if size > _LARGEST:
            raise KubeError(502, "PortForward", f"the pod's answer has more than {_LARGEST} bytes")
        if channel not in greeted:
            greeted.add(channel)
            data = data.removeprefix(greeting)
        parts.setdefault(channel, []).append(data)
    if said := b"".join(parts[1]):
        raise KubeError(502, "PortForward", said.decode(errors="replace"))
    return b"".join(parts[0])


def http_body(raw: bytes) -> bytes:
    """The body of an HTTP/1.1 response that ended with its connection; KubeError when it is none or an error.

    CutOffError when it is shorter than it says.
    """
    if not raw:
        raise CutOffError("the connection to the pod ended before it answered")
    head, blank, body = raw.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)
    if len(status) < 2 or not status[1].isdigit():
        raise KubeError(502, "PortForward", "the pod did not answer by HTTP on this port")
    if not blank:
        raise CutOffError("the pod's answer ends within its headers")
    headers = dict(_header(line) for line in head.split(b"\r\n")[1:])
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        body = _unchunked(body)
    elif (length := headers.get(b"content-length", b"")).isdigit() and len(body) < int(length):
        raise CutOffError(f"the pod's answer has {len(body)} of {int(length)} bytes")
    if int(status[1]) >= 400:
        said = body.decode(errors="replace")[:300] or head.split(b"\r\n")[0].decode(errors="replace")
        raise KubeError(int(status[1]), "PodError", said)
    return body


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()


def _unchunked(body: bytes) -> bytes:
    found: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        try:
            length = int(body[at:end].split(b";")[0], 16)
        except ValueError as wrong:
            raise KubeError(502, "PortForward", "the pod's answer is in chunks without length") from wrong
        if not length:
            return b"".join(found)
        chunk = body[end + 2 : end + 2 + length]
        if len(chunk) < length:
            break
        found.append(chunk)
        at = end + 4 + length
    raise CutOffError("the pod's answer ends within a chunk")
