"""kubernetes_asyncio, unmodified. Run inside a cluster's machine; ends with an error at the first surprise."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.rest import ApiException
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.stream import WsApiClient

NAMESPACE = sys.argv[1]


@contextmanager
def refused(code: int) -> Iterator[None]:
    said = 0
    try:
        yield
    except ApiException as raised:
        said = raised.status
    assert said == code, said


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"x": "y"}), data=data)


async def objects(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    made = await core.create_namespaced_config_map(NAMESPACE, config_map("aio", k="v"))
    patched = await core.patch_namespaced_config_map("aio", NAMESPACE, {"data": {"k2": "v2"}})
    assert patched.data == {"k": "v", "k2": "v2"}
    with refused(409):
        await core.replace_namespaced_config_map("aio", NAMESPACE, made)
    found = await core.list_namespaced_config_map(NAMESPACE, label_selector="x=y", limit=1)
    assert [it.metadata.name for it in found.items] == ["aio"]
    await core.delete_namespaced_config_map("aio", NAMESPACE)


async def watching(api: client.ApiClient) -> None:
    core, told = client.CoreV1Api(api), []
    since = (await core.list_namespaced_config_map(NAMESPACE)).metadata.resource_version

    async def later() -> None:
        for number in range(20):
            await core.create_namespaced_config_map(NAMESPACE, config_map(f"w{number}"))

    other = asyncio.ensure_future(later())
    async with watch.Watch() as watcher:
        stream = watcher.stream(
            core.list_namespaced_config_map, NAMESPACE, resource_version=since, timeout_seconds=20
        )
        async for event in stream:
            told.append(event["object"].metadata.name)
            if len(told) == 20:
                break
    await other
    assert told == [f"w{it}" for it in range(20)], told
    await core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="x=y")


async def streams(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    assert await core.read_namespaced_pod_log("web", NAMESPACE, container="web") == "started\n"
    async with WsApiClient() as sockets:
        said = await client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
            "web", NAMESPACE, container="web", command=["sh", "-c", "echo out; exit 3"], stderr=True, stdin=False,
            stdout=True, tty=False,
        )  # fmt: skip
    assert said == "out\n", said


async def applied(api: client.ApiClient) -> None:
    async with await DynamicClient(api) as anything:
        kind = await anything.resources.get(api_version="apps/v1", kind="Deployment")
        container = {"name": "x", "image": "busybox:1", "command": ["sleep", "1000"]}
        template = {"metadata": {"labels": {"aio": "1"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 0, "selector": {"matchLabels": {"aio": "1"}}, "template": template}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "aio"}, "spec": spec}
        await anything.server_side_apply(kind, body=body, name="aio", namespace=NAMESPACE, field_manager="me")
        scale = await client.AppsV1Api(api).read_namespaced_deployment_scale("aio", NAMESPACE)
        assert scale.spec.replicas == 0
        await client.AppsV1Api(api).delete_namespaced_deployment("aio", NAMESPACE)


STEPS: list[Callable[[client.ApiClient], Awaitable[None]]] = [objects, watching, streams, applied]


async def main() -> None:
    await config.load_kube_config()
    for step in STEPS:
        async with client.ApiClient() as api:
            await step(api)
        print(step.__name__, flush=True)


asyncio.run(main())
print("done")
