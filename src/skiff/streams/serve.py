"""Which stream is meant? Logs, exec, attach and port-forward of a pod."""

from __future__ import annotations

from aiohttp import web

from skiff.api import Node
from skiff.errors import ApiError
from skiff.queries import truth
from skiff.streams import forward, logs, remote
from skiff.streams.upgrade import is_spdy
from skiff.streams.websocket import is_websocket


async def route(
    request: web.Request, node: Node, namespace: str, pod: str, sub: str, container: str
) -> web.StreamResponse:
    """Answer a streaming request. ApiError as long as nothing was sent."""
    if sub == "log":
        if request.method != "GET":
            raise ApiError(405, "MethodNotAllowed", "logs can only be read")
        return await logs.serve(request, node, namespace, pod, container)
    _require_upgrade(request)
    if sub == "portforward":
        return await forward.serve(request, node, namespace, pod)
    tty = truth(request, "tty")
    if sub == "attach":
        session = await node.attach(namespace, pod, container)
    else:
        command = request.query.getall("command", [])
        if not command:
            raise ApiError(400, "BadRequest", "you must specify at least one command for the container")
        session = await node.exec(namespace, pod, container, command, tty=tty)
    return await remote.serve(request, session)


def _require_upgrade(request: web.Request) -> None:
    if not is_websocket(request) and not is_spdy(request):
        said = "unable to upgrade: the request asks neither for a websocket nor for SPDY/3.1"
        raise ApiError(400, "BadRequest", said)
