# ruff: noqa: INP001, E501
"""What does skiff cost? Acknowledged writes, reads, watches, its start, a pod and its memory, beside what the clients can do at all.

    .venv/bin/python bench/skiff.py [requests]      # as root, on a quiet machine

Prints a table; each rate stands beside the same client's against a server that does nothing (aiohttp with TLS, one fixed
answer), so that it is known what is the client's. Processor time is the server's, and steadier than the clock. No limits.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Instead of this folder, where "skiff" would be this file.
sys.path[0] = str(Path(__file__).parent.parent / "tests" / "skiff")

NAMESPACE = "default"
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
STATIC_PORT = 6500
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
WORKERS, WATCHERS, TOLD = 4, 50, 100
TICKS = os.sysconf("SC_CLK_TCK")


def configmap(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "x" * 200}}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "command": ["sleep", "1000"]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }  # fmt: skip


# --- clients: run in the cluster's own machine ------------------------------------------------------


def processor(pid: int) -> float:
    """Seconds that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def session(server: str, folder: str) -> Any:
    import aiohttp

    tls = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    tls.load_cert_chain(f"{folder}/admin.crt", f"{folder}/admin.key")
    return aiohttp.ClientSession(server, connector=aiohttp.TCPConnector(ssl=tls, limit=0))


async def by_asyncio(server: str, folder: str, verb: str, number: int, prefix: str) -> float:
    """Seconds for so many requests by four tasks."""

    async def work(of: int) -> None:
        for at in range(number // WORKERS):
            name = f"{prefix}-{of}-{at}"
            match verb:
                case "create":
                    asked = http.post(MAPS, json=configmap(name))
                case "pods":  # that no node runs
                    asked = http.post(PODS, json=pod(name, schedulerName="nobody"))
                case "list":
                    asked = http.get(PODS)
                case _:
                    asked = http.get(f"{MAPS}/{prefix}-0-0")
            async with asked as answer:
                assert answer.status in (200, 201), await answer.text()
                await answer.read()

    async with session(server, folder) as http:
        begun = time.monotonic()
        await asyncio.gather(*(work(it) for it in range(WORKERS)))
        return time.monotonic() - begun


def by_official(server: str, folder: str, verb: str, number: int, prefix: str) -> float:
    """The same with threads of the official client."""
    from kubernetes import client

    made = client.Configuration(host=server)
    made.ssl_ca_cert, made.cert_file, made.key_file = (
        f"{folder}/{it}" for it in ("ca.pem", "admin.crt", "admin.key")
    )

    def work(of: int) -> None:
        api = client.CoreV1Api(client.ApiClient(made))
        for at in range(number // WORKERS):
            if verb == "create":
                api.create_namespaced_config_map(NAMESPACE, configmap(f"{prefix}-{of}-{at}"))
            else:
                api.read_namespaced_config_map(f"{prefix}-0-0", NAMESPACE)

    threads = [threading.Thread(target=work, args=(it,)) for it in range(WORKERS)]
    begun = time.monotonic()
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    return time.monotonic() - begun


async def ready(server: str, folder: str, number: int) -> float:
    """Seconds from the creation of a pod until a watch tells that it is Ready: the median of so many, one after the other."""
    took = []
    async with session(server, folder) as http:
        for at in range(number):
            begun, name = time.monotonic(), f"p{at}"
            async with http.post(PODS, json=pod(name)) as answer:
                since = (await answer.json())["metadata"]["resourceVersion"]
            asked = {"watch": "1", "resourceVersion": since, "fieldSelector": f"metadata.name={name}"}
            async with http.get(PODS, params=asked) as answer:
                while not is_ready(json.loads(await answer.content.readline())["object"]):
                    pass
            took.append(time.monotonic() - begun)
            async with http.delete(f"{PODS}/{name}") as answer:
                await answer.read()
            await asyncio.sleep(0.3)
    return statistics.median(took)


def is_ready(obj: dict[str, Any]) -> bool:
    conditions = obj.get("status", {}).get("conditions", [])
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


async def fan_out(server: str, folder: str) -> float:
    """Seconds until fifty watchers have heard of a hundred writes."""
    ready = 0

    async def watch(http: Any, version: str) -> None:
        nonlocal ready
        async with http.get(MAPS, params={"watch": "1", "resourceVersion": version}) as answer:
            ready += 1
            for _ in range(TOLD):
                assert await answer.content.readline()

    async with session(server, folder) as http:
        async with http.get(MAPS, params={"limit": "1"}) as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        watching = [asyncio.create_task(watch(http, version)) for _ in range(WATCHERS)]
        while ready < WATCHERS:
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        for at in range(TOLD):
            async with http.post(MAPS, json=configmap(f"fan-{at}")) as answer:
                await answer.read()
        await asyncio.gather(*watching)
        return time.monotonic() - begun


def client_main(server: str, folder: str, pid: str, what: str, number: str) -> None:
    before = processor(int(pid))
    kind, _, verb = what.partition(" ")
    if kind == "fan":
        took = asyncio.run(fan_out(server, folder))
    elif kind == "ready":
        took = asyncio.run(ready(server, folder, int(number)))
    elif kind == "asyncio":
        took = asyncio.run(by_asyncio(server, folder, verb, int(number), "asyncio"))
    else:
        took = by_official(server, folder, verb, int(number), "official")
    print(json.dumps([took, processor(int(pid)) - before]))


def static_main(home: str) -> None:
    """A server that does nothing: what a client does beside it, no other server makes faster."""
    from aiohttp import web

    from skiff.auth.pki import ClusterPki

    body = json.dumps(
        {
            **configmap("a"),
            "metadata": {"name": "a", "namespace": NAMESPACE, "uid": "u", "resourceVersion": "1"},
        }
    ).encode()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(
            body=body, content_type="application/json", status=201 if request.method == "POST" else 200
        )

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    tls = ClusterPki.load_or_create(Path(home) / "pki").server_context(["127.0.0.1"])
    web.run_app(app, host="127.0.0.1", port=STATIC_PORT, ssl_context=tls, access_log=None, print=None)


# --- the table ---------------------------------------------------------------------------------------


def main(number: int) -> None:
    from cluster import Cluster

    it = Cluster()
    try:
        it.machine()
        row("skiff start, new: until the node is Ready", f"{timed(lambda: it.run('skiff', 'start')):.2f} s")
        pid = int((it.home / "daemon.pid").read_text().split()[0])
        time.sleep(2)
        row("memory of the daemon, nothing in it", memory(it, pid))
        rates(it, number)
        [took, used] = measured(it, "fan", 0, "6443", in_machine(it, "skiff.daemon"))
        row(f"{WATCHERS} watchers hear of {TOLD} writes", f"{took:.2f} s", f"{used:.2f} s")
        it.kubectl("delete", "--raw", MAPS)
        [took, _] = measured(it, "ready", 12, "6443", in_machine(it, "skiff.daemon"))
        row("a pod: from create to Ready (median of 12)", f"{took * 1000:.0f} ms")
        for what, many in (("asyncio pods", 500), ("asyncio list", 40)):
            [took, used] = measured(it, what, many, "6443", in_machine(it, "skiff.daemon"))
            name = "create pods that no node runs" if many == 500 else "list these 500"
            row(f"{name}, {WORKERS} at a time", f"{many / took:.0f}/s", f"{used / many * 1e6:.0f} us each")
        row("memory of the daemon, after all this", memory(it, pid))
        it.run("skiff", "stop")
        row("skiff start, again", f"{timed(lambda: it.run('skiff', 'start')):.2f} s")
    finally:
        it.end()


def rates(it: Any, number: int) -> None:
    static = it.process(sys.executable, str(Path(__file__)), "static", str(it.home))
    it.until(
        lambda: it.run("sh", "-c", f"ss -ltn | grep {STATIC_PORT}", check=False).stdout, "the static server"
    )
    skiff, other = in_machine(it, "skiff.daemon"), in_machine(it, "skiff.py")
    for what, share in (
        ("asyncio create", 1),
        ("asyncio get", 1),
        ("official create", 2),
        ("official get", 2),
    ):
        took, used = measured(it, what, number // share, "6443", skiff)
        limit, _ = measured(it, what, number // share, str(STATIC_PORT), other)
        many = number // share
        row(
            f"{what}, {WORKERS} at a time",
            f"{many / took:.0f}/s",
            f"{used / many * 1e6:.0f} us each",
            f"{many / limit:.0f}/s",
        )
    static.kill()


def measured(it: Any, what: str, number: int, port: str, pid: str) -> list[float]:
    said = it.run(
        sys.executable,
        str(Path(__file__)),
        "client",
        f"https://127.0.0.1:{port}",
        str(it.home),
        pid,
        what,
        str(number),
        timeout=600,
    )
    found: list[float] = json.loads(said.stdout.splitlines()[-1])
    return found


def in_machine(it: Any, word: str) -> str:
    """The pid of a program as the private machine counts: the oldest whose command line has the word."""
    return str(it.run("pgrep", "-o", "-f", word).stdout.split()[0])


def memory(it: Any, pid: int) -> str:
    lines = it.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith("Vm")}
    return f"{found['VmRSS']} MB (most: {found['VmHWM']} MB)"


def timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def row(*cells: str) -> None:
    print("| " + " | ".join((*cells, *[""] * (4 - len(cells)))) + " |", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["client", *given]:
            client_main(*given)
        case ["static", home]:
            static_main(home)
        case given:
            print(
                "| what | clock | processor of the daemon | the same client with a server that does nothing |\n|---|---|---|---|"
            )
            main(int((given or ["2000"])[0]))
