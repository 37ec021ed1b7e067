"""What exists: services, workloads and endpoints of small meshes."""

from __future__ import annotations

import pytest

from lateen.api.core import Pod, Service
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.ports import Protocol
from lateen.registry import endpoints, services, workloads
from lateen.registry.services import Resolution
from lateen.testing.mesh import changed, endpoint_slice, mesh, pod, removed, service

REVIEWS = ServiceKey("default", "reviews.default.svc.cluster.local")
PORTS = {"http": 9080}


def test_endpoints_are_ready_addresses_with_their_workloads() -> None:
    db = mesh(
        service("reviews", PORTS), pod("reviews-1", "10.1.0.1", "reviews"), pod("reviews-2", "10.1.0.2", "reviews", in_mesh=False),
        endpoint_slice("reviews", PORTS, ("reviews-2", "10.1.0.2"), ("reviews-1", "10.1.0.1")),
    )  # fmt: skip
    found = endpoints.endpoints(db, REVIEWS, "http")
    assert [(it.address, it.port, it.in_mesh) for it in found] == [
        ("10.1.0.1", 9080, True),
        ("10.1.0.2", 9080, False),
    ]
    assert endpoints.identities(db, REVIEWS) == ("spiffe://cluster.local/ns/default/sa/reviews",)
    assert endpoints.endpoints(db, REVIEWS, "other") == ()


def test_scaling_reads_endpoints_only() -> None:
    db = mesh(service("reviews", PORTS), pod("reviews-1", "10.1.0.1", "reviews"), pod("reviews-2", "10.1.0.2", "reviews"),
              endpoint_slice("reviews", PORTS, ("reviews-1", "10.1.0.1")))  # fmt: skip
    watch, names = db.watch(endpoints.endpoints, REVIEWS, "http"), db.watch(services.keys)
    assert (len(watch.value), names.value) == (1, (REVIEWS,))
    assert db.apply(
        changed(endpoint_slice("reviews", PORTS, ("reviews-1", "10.1.0.1"), ("reviews-2", "10.1.0.2")))
    ) == [watch]
    assert len(watch.value) == 2
    assert {it.query.name for it in db.executed} == {"endpoints", "described"}


def test_a_pod_is_reached_on_the_ports_of_services_that_select_it() -> None:
    db = mesh(
        service("reviews", {"http-x": 80}, target=9080),
        pod("reviews-1", "10.1.0.1", "reviews"),
        service("other", {"http": 1}),
    )
    [it] = workloads.served_ports(db, ObjectKey("default", "reviews-1"))
    assert (it.number, it.protocol, it.service, it.service_port) == (9080, Protocol.HTTP, REVIEWS, 80)


def test_a_named_target_port_is_found_in_the_pod() -> None:
    text = service("reviews", {"http": 80}).replace("targetPort: 80", "targetPort: web")
    db = mesh(text, pod("reviews-1", "10.1.0.1", "reviews", ports={"web": 9080}))
    assert [it.number for it in workloads.served_ports(db, ObjectKey("default", "reviews-1"))] == [9080]


def test_services_are_headless_or_names_elsewhere() -> None:
    db = mesh(service("a", PORTS, address="None"), """
        apiVersion: v1
        kind: Service
        metadata: {name: b}
        spec: {type: ExternalName, externalName: example.com}
    """)  # fmt: skip
    found = {key.hostname.partition(".")[0]: services.service(db, key) for key in services.keys(db)}
    assert [it.resolution if it else None for _, it in sorted(found.items())] == [
        Resolution.HEADLESS,
        Resolution.DNS,
    ]
    assert services.by_hostname(db, "a.default.svc.cluster.local") == ServiceKey(
        "default", "a.default.svc.cluster.local"
    )
    assert services.by_hostname(db, "c.default.svc.cluster.local") is None


def test_of_an_address_in_two_slices_the_first_by_name_counts() -> None:
    first = endpoint_slice("reviews", PORTS, ("reviews-1", "10.1.0.1"))
    second = first.replace("reviews-x", "reviews-y").replace("reviews-1", "reviews-2")
    for order in ((first, second), (second, first)):
        db = mesh(service("reviews", PORTS), pod("reviews-1", "10.1.0.1", "reviews"), *order)
        (found,) = endpoints.endpoints(db, REVIEWS, "http")
        assert found.workload is not None


def backed(*backends: str) -> str:
    return f"""
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        addressType: IPv4
        metadata: {{name: reviews-x, labels: {{kubernetes.io/service-name: reviews}}}}
        ports: [{{name: http, port: 9080}}]
        endpoints: [{", ".join(backends)}]
        """


def of_pod(name: str, uid: str = "", address: str = "10.1.0.1") -> str:
    return f"{{addresses: [{address}], targetRef: {{kind: Pod, name: {name}, uid: '{uid}'}}}}"


def named(
    name: str, uid: str, account: str = "reviews", address: str = "10.1.0.1", phase: str = "Running"
) -> str:
    return f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}, uid: '{uid}', labels: {{security.istio.io/tlsMode: istio}}, creationTimestamp: '{uid}'}}
        spec: {{serviceAccountName: {account}}}
        status: {{phase: {phase}, podIP: '{address}'}}
        """


@pytest.mark.finding("architecture 2")
def test_an_endpoint_waits_until_its_pod_is_known() -> None:
    db = mesh(service("reviews", PORTS), backed(of_pod("reviews-1", "1")))
    watch, late = db.watch(endpoints.endpoints, REVIEWS, "http"), db.watch(endpoints.waiting, REVIEWS)
    assert (watch.value, late.value) == ((), ("10.1.0.1",))
    assert watch in db.apply(
        changed(named("reviews-1", "1", address=""))
    )  # it has no address yet, the slice has
    assert [(it.address, it.in_mesh) for it in watch.value] == [("10.1.0.1", True)]
    assert late.value == ()
    db.apply([removed(Pod, "reviews-1")])
    assert watch.value == ()


@pytest.mark.finding("architecture 2")
@pytest.mark.parametrize("pod_first", [True, False])
def test_a_pod_that_took_the_name_of_another_is_another(pod_first: bool) -> None:
    """A StatefulSet's pod comes back as another account; neither is taken for the other, whichever is heard of first."""
    db = mesh(service("reviews", PORTS), named("reviews-0", "1", "old"), backed(of_pod("reviews-0", "1")))
    watch = db.watch(endpoints.endpoints, REVIEWS, "http")
    steps = [named("reviews-0", "2", "new", "10.1.0.2"), backed(of_pod("reviews-0", "2", "10.1.0.2"))]
    first, second = steps if pod_first else steps[::-1]
    db.apply(changed(first))
    assert watch.value == ()
    db.apply(changed(second))
    assert [(it.address, it.workload and it.workload.service_account) for it in watch.value] == [
        ("10.1.0.2", "new")
    ]


@pytest.mark.finding("architecture 2")
def test_an_address_written_by_hand_is_that_of_a_pod_of_the_namespace() -> None:
    by_hand = "{addresses: [10.1.0.1]}"
    db = mesh(service("reviews", PORTS), backed(by_hand))
    watch = db.watch(endpoints.endpoints, REVIEWS, "http")
    assert [it.workload for it in watch.value] == [None]  # outside of the mesh, as far as anybody knows
    db.apply(
        changed(named("a", "1", "ended", phase="Succeeded"), named("b", "2", "old"), named("c", "3", "new"))
    )
    assert [it.workload and it.workload.service_account for it in watch.value] == ["new"]
    db = mesh(service("reviews", PORTS), backed(by_hand), pod("a", "10.1.0.1", "a", namespace="elsewhere"))
    assert [it.workload for it in endpoints.endpoints(db, REVIEWS, "http")] == [None]


def test_an_address_that_is_no_pod_needs_none() -> None:
    db = mesh(
        service("reviews", PORTS),
        backed("{addresses: [10.1.0.1], targetRef: {kind: VirtualMachine, name: a}}"),
    )
    assert [it.workload for it in endpoints.endpoints(db, REVIEWS, "http")] == [None]


@pytest.mark.finding("architecture 4")
def test_a_port_may_have_the_number_of_one_of_udp() -> None:
    dns = """
        apiVersion: v1
        kind: Service
        metadata: {name: reviews}
        spec: {clusterIP: 10.96.0.1, ports: [{name: dns, port: 53, protocol: UDP}, {name: tcp-dns, port: 53}]}
        """
    found = services.service(mesh(dns), REVIEWS)
    assert found
    assert [it and it.name for it in (found.port(53), found.port(54))] == ["tcp-dns", None]


def alias(name: str, of: str, ports: str = "", namespace: str = "default") -> str:
    return f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: {name}, namespace: {namespace}}}
        spec: {{type: ExternalName, externalName: {of}, ports: [{ports}], selector: {{app: reviews}}}}
        """


@pytest.mark.finding("conformance F1")
@pytest.mark.finding("architecture 13")
def test_an_alias_has_the_ports_of_its_service() -> None:
    here = ".default.svc.cluster.local"
    db = mesh(
        service("reviews", PORTS), pod("reviews-1", "10.1.0.1", "reviews"),
        alias("a", REVIEWS.hostname), alias("b", f"a{here}.", "{name: http, port: 8888}"),
        alias("c", f"b{here}", namespace="elsewhere"),
        alias("out", "example.com", "{name: http, port: 80}"), alias("d", f"out{here}"), alias("e", f"gone{here}", "{name: http, port: 81}"),
        *(alias(it, f"{other}{here}", "{name: http, port: 82}") for it, other in ("xy", "yz", "zx", "wx")),
        alias("me", f"me{here}"),
        *(alias(f"long{at}", f"long{at + 1}{here}") for at in range(services.LONGEST_CHAIN)),
        alias(f"long{services.LONGEST_CHAIN}", REVIEWS.hostname),
    )  # fmt: skip

    def found(host: str, namespace: str = "default") -> tuple[str, list[int]]:
        it = services.service(db, ServiceKey(namespace, f"{host}.{namespace}.svc.cluster.local"))
        assert it
        name = it.alias_of.hostname.partition(".")[0] if it.alias_of else it.external_name
        assert services.meant(db, it.key) == (it.alias_of or it.key)
        assert (it.resolution is Resolution.ALIAS) is (it.alias_of is not None)
        return name, [one.number for one in it.ports]

    assert found("a") == found("b") == found("c", "elsewhere") == ("reviews", [9080])
    assert (found("out"), found("d"), found("e")) == (
        ("example.com", [80]),
        ("out", [80]),
        (f"gone{here}", [81]),
    )
    for name, other in ("xy", "yz", "zx", "wx"):  # circles, and a way into one
        assert found(name) == (f"{other}{here}", [82])
    assert found("me") == (f"me{here}", [])
    assert found("long1") == ("reviews", [9080])
    assert found("long0") == (f"long1{here}", [])
    # An alias selects no pods, whatever is written.
    assert [it.service for it in workloads.served_ports(db, ObjectKey("default", "reviews-1"))] == [REVIEWS]


@pytest.mark.finding("conformance F1")
def test_an_alias_follows_its_service() -> None:
    db = mesh(alias("a", REVIEWS.hostname), service("b", PORTS))
    key = ServiceKey("default", "a.default.svc.cluster.local")
    seen = db.watch(services.service, key)
    assert seen.value
    assert seen.value.alias_of is None
    assert db.apply(changed(service("reviews", PORTS))) == [seen]
    assert seen.value.alias_of == REVIEWS
    assert db.apply(changed(service("reviews", {"tcp": 7}))) == [seen]
    assert [it.number for it in seen.value.ports] == [7]
    assert db.apply([removed(Service, "reviews")]) == [seen]
    assert seen.value.alias_of is None


@pytest.mark.finding("architecture 15")
def test_identities_are_of_all_trust_domains() -> None:
    db = mesh(
        "{kind: MeshConfig, trustDomain: new, trustDomainAliases: [old, new, older]}", service("reviews", PORTS),
        pod("reviews-1", "10.1.0.1", "reviews"), endpoint_slice("reviews", PORTS, ("reviews-1", "10.1.0.1")),
    )  # fmt: skip
    assert endpoints.identities(db, REVIEWS) == tuple(
        f"spiffe://{it}/ns/default/sa/reviews" for it in ("new", "old", "older")
    )


@pytest.mark.finding("conformance F24")
@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ("", "a-7d9f-x"),
        ("labels: {pod-template-hash: 7d9f}\n  ownerReferences: [{kind: ReplicaSet, name: a-7d9f, controller: true}]", "a"),
        ("ownerReferences: [{kind: StatefulSet, name: db, apiVersion: apps/v1, controller: true}]", "db"),
        ("ownerReferences: [{kind: Job, name: nightly-28471920, controller: true}]", "nightly"),
        ("ownerReferences: [{kind: Rollout, name: r, controller: true}, {kind: Other, name: o}]", "r"),
        ("ownerReferences: [{kind: Other, name: o}]", "a-7d9f-x"),
        ("labels: {service.istio.io/workload-name: chosen}\n  ownerReferences: [{kind: Job, name: j, controller: true}]", "chosen"),
    ],
)  # fmt: skip
def test_a_workload_is_called_after_what_made_its_pods(metadata: str, name: str) -> None:
    db = mesh(f"""
apiVersion: v1
kind: Pod
metadata:
  name: a-7d9f-x
  namespace: default
  {metadata}
status: {{podIP: 10.1.0.1}}
""")
    found = workloads.described(db, ObjectKey("default", "a-7d9f-x"))
    assert found is not None
    assert found.name == name
