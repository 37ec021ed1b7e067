"""What exists: services, workloads and endpoints of small meshes."""

from __future__ import annotations

from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.ports import Protocol
from lateen.registry import endpoints, services, workloads
from lateen.registry.services import Resolution
from lateen.testing.mesh import changed, endpoint_slice, mesh, pod, service

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
