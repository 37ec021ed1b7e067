"""Which meshes can there be? Random objects, biased to coincidence: few names and few values, so that they meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from lateen.api import mesh_config
from lateen.api.core import EndpointSlice, Pod, Service
from lateen.api.decode import decode
from lateen.api.destination_rule import DestinationRule
from lateen.api.gateway import Gateway
from lateen.api.meta import Fact
from lateen.api.networking import VirtualService
from lateen.api.security import PeerAuthentication
from lateen.incremental import Change
from lateen.names.keys import ObjectKey
from lateen.registry.facts import ONLY
from lateen.testing.mesh import router, sidecar

NAMESPACES = ("a", "b")
NAMES = ("x", "y")
VERSIONS = ("v1", "v2")
#: Proxies themselves listen on some of them.
PORTS = (
    ("http", 80),
    ("tcp", 90),
    ("any", 80),
    ("grpc", 70),
    ("http", 15001),
    ("tcp", 15006),
    ("grpc", 15090),
)
HOSTS = ("x", "y", "x.b", "x.a.svc.cluster.local", "*.a.svc.cluster.local", "other.example", "*")
#: What an ExternalName says.
ELSEWHERE = ("example.com", "x.a.svc.cluster.local", "y.b.svc.cluster.local")
EXPORTS: tuple[list[str], ...] = ([], ["*"], ["."], ["b"], ["~"])
SELECTORS: tuple[dict[str, str], ...] = ({}, {"app": "x"}, {"app": "y"}, {"version": "v1"})

PODS = [
    (name, namespace, f"10.0.{at}.{number}")
    for at, namespace in enumerate(NAMESPACES)
    for number, name in enumerate(NAMES, 1)
]
#: Those who look: a sidecar for each pod, and a gateway in the root namespace.
PROXIES = [
    *(sidecar(name, address, namespace=namespace, app=name) for name, namespace, address in PODS),
    router("gateway", "10.0.9.1", {"istio": "gateway"}),
]  # fmt: skip
KEYS = [it.key for it in PROXIES]

_choose = st.sampled_from


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def _many(it: st.SearchStrategy[Any], most: int = 2, least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(it, min_size=least, max_size=most)


_text = st.one_of(
    st.builds(lambda it: {"exact": it}, _choose(["/", "/a", "v1"])),
    st.builds(lambda it: {"prefix": it}, _choose(["/", "/a"])),
    st.just({"regex": "/a.*"}), st.just({}),
)  # fmt: skip
_destination = st.fixed_dictionaries(
    {"host": _choose(HOSTS[:4])},
    optional={"subset": _choose(VERSIONS), "port": st.fixed_dictionaries({"number": _choose([70, 80, 90])})},
)
_match = _maybe(
    uri=_text, headers=st.dictionaries(_choose(["h", "k"]), _text, max_size=2), port=_choose([80, 70]), method=_text,
    sourceLabels=_choose(SELECTORS), sourceNamespace=_choose(NAMESPACES), gateways=_choose([["mesh"], ["x"], ["./x", "mesh"]]),
    ignoreUriCase=st.booleans(), withoutHeaders=st.dictionaries(_choose(["h"]), _text, max_size=1),
    queryParams=st.dictionaries(_choose(["q"]), _text, max_size=1),
)  # fmt: skip
_headers = _maybe(
    request=_maybe(set=st.dictionaries(_choose(["h", "Host"]), _choose(["1", "2"]), max_size=2),
                   remove=_choose([["k"], ["h", "k"]])),
    response=_maybe(add=st.dictionaries(_choose(["h"]), _choose(["1", "2"]), max_size=1)),
)  # fmt: skip
_percentage = st.fixed_dictionaries({"value": _choose([0.0, 50.0, 100.0])})
_extras = _maybe(
    timeout=_choose(["1s", "0s"]), headers=_headers, mirror=_destination,
    retries=st.fixed_dictionaries({"attempts": _choose([0, 2])}, optional={"retryOn": _choose(["5xx", "503", ""])}),
    rewrite=_maybe(uri=_choose(["/", "/b"]), authority=_choose(["x", "other"])),
    fault=_maybe(
        delay=st.fixed_dictionaries({"fixedDelay": st.just("1s")}, optional={"percentage": _percentage}),
        abort=st.fixed_dictionaries({"httpStatus": st.just(503)}, optional={"percentage": _percentage}),
    ),
    corsPolicy=st.just({"allowOrigins": [{"exact": "https://a"}], "maxAge": "1h"}), match=_many(_match),
)  # fmt: skip
_weighted = st.fixed_dictionaries(
    {"destination": _destination}, optional={"weight": _choose([0, 50]), "headers": _headers}
)
_http = st.one_of(
    st.builds(
        lambda route, more: {"route": route, **more},
        _many(_weighted, 2, 1),
        _extras,
    ),
    st.builds(lambda match, how: {"match": match, "redirect": how}, _many(_match),
              _choose([{"uri": "/new"}, {"prefixRewrite": "/new"}, {"derivePort": "FROM_REQUEST_PORT"}])),
    st.builds(lambda match, name, home: {"match": match, "delegate": {"name": name, "namespace": home}}, _many(_match),
              _choose(NAMES), _choose(NAMESPACES)),
    st.builds(lambda match: {"match": match, "directResponse": {"status": 201}}, _many(_match)),
)  # fmt: skip
_tcp = st.builds(
    lambda route, match: {"route": route, "match": match},
    _many(st.fixed_dictionaries({"destination": _destination, "weight": _choose([0, 50])}), 2, 1),
    _many(_maybe(port=_choose([90, 80]), sourceLabels=_choose(SELECTORS)), 1),
)
_virtual_service = st.fixed_dictionaries(
    # One without hosts is for others to delegate to.
    {
        "hosts": st.one_of(_many(_choose(HOSTS), 2, 1), st.just([])),
        "http": _many(_http),
        "tcp": _many(_tcp, 1),
    },
    optional={"gateways": _choose([["mesh"], ["./x"], ["a/x", "mesh"]]), "exportTo": _choose(EXPORTS)},
)
_pool = _maybe(
    tcp=_maybe(maxConnections=_choose([1, 5]), connectTimeout=st.just("1s"), idleTimeout=st.just("9s")),
    http=_maybe(http1MaxPendingRequests=st.just(3), h2UpgradePolicy=_choose(["UPGRADE", "DEFAULT"])),
)
_balancing = st.one_of(
    st.builds(lambda it: {"simple": it}, _choose(["RANDOM", "ROUND_ROBIN", "PASSTHROUGH", "LEAST_REQUEST"])),
    st.builds(lambda it: {"consistentHash": it}, _choose([{"httpHeaderName": "h"}, {"useSourceIp": True}])),
    st.just({"simple": "ROUND_ROBIN", "warmupDurationSecs": "10s"}),
)  # fmt: skip
_level = {
    "connectionPool": _pool, "loadBalancer": _balancing,
    "outlierDetection": st.just({"consecutive5xxErrors": 3, "minHealthPercent": 50}),
    "tls": st.builds(lambda it: {"mode": it}, _choose(["DISABLE", "ISTIO_MUTUAL", "SIMPLE"])),
}  # fmt: skip
_policy = st.fixed_dictionaries(
    {},
    optional={
        **_level,
        "portLevelSettings": _many(
            st.fixed_dictionaries({"port": st.just({"number": 80})}, optional=_level), 1
        ),
    },
)
_destination_rule = st.fixed_dictionaries(
    {
        "host": _choose(HOSTS[:5]),
        "subsets": st.lists(
            st.fixed_dictionaries({"name": _choose(VERSIONS), "labels": _choose(SELECTORS)}, optional={"trafficPolicy": _policy}),
            max_size=2, unique_by=lambda it: str(it["name"]),
        ),
    },
    optional={"trafficPolicy": _policy, "exportTo": _choose(EXPORTS)},
)  # fmt: skip
_modes = _choose(["UNSET", "STRICT", "PERMISSIVE", "DISABLE"])
_authentication = _maybe(
    selector=st.builds(lambda it: {"matchLabels": it}, _choose(SELECTORS)), mtls=st.builds(lambda it: {"mode": it}, _modes),
    portLevelMtls=st.dictionaries(_choose(["80", "8080"]), st.builds(lambda it: {"mode": it}, _modes), min_size=1, max_size=2),
)  # fmt: skip
_gateway = st.builds(
    lambda servers, selector: {"servers": servers, "selector": selector},
    _many(
        st.builds(
            lambda port, hosts, redirect: {
                "port": {"number": port, "name": f"p{port}", "protocol": "HTTP"}, "hosts": hosts,
                **({"tls": {"httpsRedirect": True}} if redirect else {}),
            },
            _choose([80, 81, 15021]),
            _many(_choose(["*", "./*", "b/*", "other.example", "*.a.svc.cluster.local"]), 2, 1), st.booleans(),
        ),
        2, 1,
    ),
    _choose([{"istio": "gateway"}, {"istio": "other"}, {}]),
)  # fmt: skip
_service_ports = st.lists(
    _choose(PORTS), min_size=1, max_size=3, unique_by=(lambda it: it[0], lambda it: it[1])
)


def _service(
    address: str, ports: list[tuple[str, int]], selector: dict[str, str], target: int
) -> dict[str, Any]:
    if address in ELSEWHERE:  # without ports, one of them is an alias
        written = [{"name": n, "port": p} for n, p in ports] if target else []
        return {"type": "ExternalName", "externalName": address, "ports": written, "selector": selector}
    listed = [{"name": name, "port": number, "targetPort": target or number} for name, number in ports]
    return {"clusterIP": address, "selector": selector, "ports": listed}


_services = st.builds(
    _service, _choose(["10.96.0.1", "10.96.0.2", "None", *ELSEWHERE]), _service_ports,
    _choose([*SELECTORS, {"istio": "gateway"}]), _choose([0, 8080])
)  # fmt: skip
_ISTIO: dict[type[Fact], tuple[str, st.SearchStrategy[dict[str, Any]]]] = {
    VirtualService: ("networking.istio.io/v1", _virtual_service), DestinationRule: ("networking.istio.io/v1", _destination_rule),
    Gateway: ("networking.istio.io/v1", _gateway), PeerAuthentication: ("security.istio.io/v1", _authentication),
    Service: ("v1", _services),
}  # fmt: skip


def _change(document: dict[str, Any]) -> Change:
    fact = decode(document)
    assert isinstance(fact, Fact), fact
    return Change(type(fact), fact.key, fact)


def _metadata(name: str, namespace: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, **more}


_named = st.tuples(
    _choose(NAMES), st.one_of(_choose(NAMESPACES), _choose(NAMESPACES), st.just("istio-system"))
)
_times = _choose(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])


def _of_kind(table: type[Fact]) -> st.SearchStrategy[Change]:
    version, specs = _ISTIO[table]

    def made(named: tuple[str, str], when: str, spec: dict[str, Any]) -> Change:
        metadata = _metadata(*named, creationTimestamp=when)
        return _change({"apiVersion": version, "kind": table.__name__, "metadata": metadata, "spec": spec})

    return st.builds(made, _named, _times, specs)


def _pod(which: tuple[str, str, str], version: str, meshed: bool) -> Change:
    name, namespace, address = which
    marks = {"app": name, "version": version, **({"security.istio.io/tlsMode": "istio"} if meshed else {})}
    return _change({
        "apiVersion": "v1", "kind": "Pod", "metadata": _metadata(name, namespace, labels=marks),
        "spec": {"serviceAccountName": name}, "status": {"phase": "Running", "podIP": address},
    })  # fmt: skip


def _slice(
    of: str, namespace: str, ports: list[tuple[str, int]], pods: list[tuple[str, str, str]], ready: bool
) -> Change:
    return _change({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": _metadata(f"{of}-1", namespace, labels={"kubernetes.io/service-name": of}),
        "ports": [{"name": name, "port": number} for name, number in ports],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod, "namespace": home}}
            for pod, home, address in pods
        ],
    })  # fmt: skip


_settings = _maybe(
    outboundTrafficPolicy=st.builds(lambda it: {"mode": it}, _choose(["ALLOW_ANY", "REGISTRY_ONLY"])),
    enableAutoMtls=st.booleans(), accessLogFile=_choose(["", "/dev/stdout"]), trustDomain=_choose(["cluster.local", "td"]),
    trustDomainAliases=_choose([[], ["old"]]), domain=_choose(["cluster.local", "corp.example"]),
    connectTimeout=_choose(["1s", "10s"]), defaultServiceExportTo=_choose(EXPORTS),
    defaultVirtualServiceExportTo=_choose(EXPORTS), defaultDestinationRuleExportTo=_choose(EXPORTS),
    rootNamespace=_choose(["istio-system", "a"]),
    defaultConfig=_choose([{}, {"gatewayTopology": {"numTrustedProxies": 1, "proxyProtocol": {}}}]),
)  # fmt: skip
_config = st.builds(lambda it: Change(mesh_config.MeshConfig, ONLY, mesh_config.decode(it)), _settings)
_gone = st.builds(
    lambda table, named: Change(table, ObjectKey(named[1], named[0]), None), _choose([*_ISTIO, Pod]), _named
)
_slice_gone = st.builds(
    lambda name, home: Change(EndpointSlice, ObjectKey(home, f"{name}-1"), None),
    _choose(NAMES),
    _choose(NAMESPACES),
)

changes: st.SearchStrategy[Change] = st.one_of(
    *(_of_kind(it) for it in _ISTIO), _of_kind(Service), st.builds(_pod, _choose(PODS), _choose(VERSIONS), st.booleans()),
    st.builds(_slice, _choose(NAMES), _choose(NAMESPACES), _service_ports, _many(_choose(PODS), 3), st.booleans()),
    _config, _gone, _slice_gone,
)  # fmt: skip
#: Several objects at once, as a burst is one revision.
batches: st.SearchStrategy[list[Change]] = st.lists(changes, min_size=1, max_size=8)
histories: st.SearchStrategy[list[list[Change]]] = st.lists(batches, min_size=1, max_size=6)


def torn(history: list[list[Change]], order: Sequence[type]) -> list[list[Change]]:
    """The same history as independent watches tell it: of each burst one kind after the other."""
    return [
        piece for batch in history for table in order if (piece := [it for it in batch if it.table is table])
    ]


#: In which order kinds arrive.
orders: st.SearchStrategy[Sequence[type]] = st.permutations(
    [*_ISTIO, Pod, EndpointSlice, mesh_config.MeshConfig]
)
