# ruff: noqa: INP001, E501
"""How long does it take until a proxy may be told? Views of a large mesh, first and after one change.

    .venv/bin/python bench/compile.py [services] [endpoints of each] [namespaces]

Prints milliseconds of CPU; run it on a quiet machine. Nothing here is a limit.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator

from lateen.app.control_plane import COLLECT_AFTER
from lateen.compile.view import view
from lateen.envoy.resource import View
from lateen.incremental import Change, Database
from lateen.names.keys import ProxyKey
from lateen.registry.facts import new_database
from lateen.testing.mesh import changed, endpoint_slice, pod, service, sidecar


def objects(services: int, endpoints: int, namespaces: int) -> Iterator[Change]:
    """Every service has pods in two versions, a VirtualService for every tenth, a DestinationRule for every fifth."""
    for at in range(services):
        name, namespace = f"s{at}", f"n{at % namespaces}"
        yield from changed(
            service(name, {"http": 80}, f"10.96.{at // 250}.{at % 250 + 1}", namespace=namespace, target=8080)
        )
        addresses = [f"10.{at % 250}.{at // 250}.{one + 1}" for one in range(endpoints)]
        pods = [(f"{name}-{one}", address) for one, address in enumerate(addresses)]
        for one, (pod_name, address) in enumerate(pods):
            yield from changed(pod(pod_name, address, name, namespace=namespace, version=f"v{one % 2 + 1}"))
        yield from changed(endpoint_slice(name, {"http": 8080}, *pods, namespace=namespace))
        if at % 5 == 0:
            yield from changed(
                _rule(
                    "DestinationRule",
                    name,
                    namespace,
                    f"host: {name}, subsets: [{{name: v1, labels: {{version: v1}}}}]",
                )
            )
        if at % 10 == 0:
            yield from changed(
                _rule(
                    "VirtualService",
                    name,
                    namespace,
                    f"hosts: [{name}], http: [{{route: [{{destination: {{host: {name}, subset: v1}}}}]}}]",
                )
            )


def _rule(kind: str, name: str, namespace: str, spec: str) -> str:
    return f"{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}"


def timed(what: str, work: Callable[[], object]) -> None:
    """Do it and say how long it took."""
    begun = time.process_time()
    work()
    print(f"{what:<60} {(time.process_time() - begun) * 1000:10.2f} ms")


def main() -> None:
    """All figures."""
    gc.set_threshold(*COLLECT_AFTER)
    services, endpoints, namespaces = (int(it) for it in [*sys.argv[1:], "1000", "10", "20"][:3])
    found = list(objects(services, endpoints, namespaces))
    db: Database = new_database()
    timed(f"apply {len(found)} objects", lambda: db.apply(found))
    proxies = [
        sidecar(f"s{at}-0", f"10.{at % 250}.{at // 250}.1", namespace=f"n{at % namespaces}", app=f"s{at}")
        for at in range(100)
    ]
    db.apply(proxies)
    keys: list[ProxyKey] = [it.key for it in proxies]
    timed("first view", lambda: view(db, keys[0]))
    timed("second view, of another namespace", lambda: view(db, keys[1]))
    timed("98 more views", lambda: [view(db, it) for it in keys[2:]])
    made: View = view(db, keys[0])
    print(f"one view: {sum(len(it) for it in made.values())} resources, "
          f"{sum(len(one.body) for it in made.values() for one in it.values()) / 1e6:.1f} MB")  # fmt: skip
    watches = [db.watch(view, it) for it in keys]
    fewer = [(f"s7-{one}", f"10.7.0.{one + 1}") for one in range(endpoints - 1)]
    change = changed(endpoint_slice("s7", {"http": 8080}, *fewer, namespace=f"n{7 % namespaces}"))
    timed("one EndpointSlice: apply", lambda: db.apply(change))
    timed("one EndpointSlice: first view", lambda: watches[0].value)
    timed("one EndpointSlice: 99 more views", lambda: [it.value for it in watches[1:]])
    weight = changed(
        _rule(
            "VirtualService",
            "s10",
            f"n{10 % namespaces}",
            "hosts: [s10], http: [{timeout: 1s, route: [{destination: {host: s10}}]}]",
        )
    )
    timed("one VirtualService: apply", lambda: db.apply(weight))
    timed("one VirtualService: 100 views", lambda: [it.value for it in watches])
    more = changed(
        _rule("VirtualService", "new", "n1", "hosts: [s11], http: [{route: [{destination: {host: s11}}]}]")
    )
    timed("a new VirtualService: apply", lambda: db.apply(more))
    timed("a new VirtualService: 100 views", lambda: [it.value for it in watches])
    another = changed(service("new", {"http": 80}, "10.96.250.1", namespace="n1", target=8080))
    timed("a new Service: apply", lambda: db.apply(another))
    timed("a new Service: 100 views", lambda: [it.value for it in watches])
    idle = changed(pod("lonely", "10.250.250.250", "nobody", namespace="n1"))
    timed("a Pod that no service has: apply", lambda: db.apply(idle))
    timed("a Pod that no service has: 100 views", lambda: [it.value for it in watches])


if __name__ == "__main__":
    main()
